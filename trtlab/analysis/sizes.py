"""What lower precision saves in size: model and plan against FP32's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trtlab.record import ModelRef, Plan


@dataclass(frozen=True, slots=True)
class Size:
    """How large a model and its plan are, and against those in FP32.

    Attributes:
        model: Which one it is; its recipe is the precision.
        backend: Who built the plan, and ``target`` what for.
        model_bytes: Of its weights; None if not known.
        plan_bytes: None if not known.
        model_ratio: To the FP32 model's; None where either is not known.
        plan_ratio: To the plan of the FP32 model by the same builder for the same target.
    """

    model: ModelRef
    backend: str
    target: str
    model_bytes: int | None
    plan_bytes: int | None
    model_ratio: float | None
    plan_ratio: float | None


def sizes_against_fp32(plans: Iterable[Plan]) -> tuple[Size, ...]:
    """Compare sizes: one for each model, builder and target, the first plan of each.

    A converted model is held against its parent, if that is FP32 and its plan is among these.
    """
    first: dict[tuple[str | None, str, str], Plan] = {}
    for plan in plans:
        first.setdefault((plan.model.hash, plan.config.backend, plan.target_text), plan)
    full = {key: plan for key, plan in first.items() if plan.model.recipe == "fp32" and key[0]}

    def size(plan: Plan) -> Size:
        backend, target = plan.config.backend, plan.target_text
        origin = plan.model.hash if plan.model.recipe == "fp32" else plan.model.parent
        built = full.get((origin, backend, target))
        any_built = next((p for key, p in full.items() if key[0] == origin), None)
        return Size(
            plan.model,
            backend,
            target,
            plan.weight_bytes,
            plan.plan_bytes,
            _ratio(plan.weight_bytes, any_built.weight_bytes if any_built else None),
            _ratio(plan.plan_bytes, built.plan_bytes if built else None),
        )

    return tuple(size(plan) for plan in first.values())


def _ratio(size: int | None, of: int | None) -> float | None:
    return size / of if size is not None and of else None
