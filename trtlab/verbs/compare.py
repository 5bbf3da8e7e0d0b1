"""``compare``: two measurements, or two engines, side by side."""

from __future__ import annotations

from typing import overload

from trtlab.analysis import compare as measurements
from trtlab.analysis.engines.align import align, unaligned
from trtlab.errors import MismatchError, SpecError
from trtlab.record import Comparison, EngineComparison, Fusion, LayerProfile, Measurement, Plan
from trtlab.store import Store
from trtlab.verbs.fusion import fusion


@overload
def compare(a: Measurement, b: Measurement, *, store: Store | None = None) -> Comparison: ...
@overload
def compare(
    a: Plan | Fusion,
    b: Plan | Fusion,
    *,
    profiles: tuple[LayerProfile, LayerProfile] | None = None,
    store: Store | None = None,
) -> EngineComparison: ...
def compare(
    a: Measurement | Plan | Fusion,
    b: Measurement | Plan | Fusion,
    *,
    profiles: tuple[LayerProfile, LayerProfile] | None = None,
    store: Store | None = None,
) -> Comparison | EngineComparison:
    """Compare two measurements, or two engines layer by layer; ``a`` is the baseline.

    Engines are aligned by ONNX node: each row holds the smallest set of nodes that whole layers
    of both hold, with what is fused together here and apart there, its precision and its time.
    Where the nodes have no common names, layers are aligned by their order, kind and dimensions,
    and the result says so.

    Args:
        a: A measurement, a plan or a fusion.
        b: Another one.
        profiles: Layer times of both engines, as ``profile`` returns them.
        store: Where the graphs of the plans are; default is this machine's store.

    Raises:
        MismatchError: the two are of different kinds, measured times contain different things,
            or a profile is of another engine.
        SpecError: profiles are given with measurements, or are none.
    """
    if profiles and not all(isinstance(p, LayerProfile) for p in profiles):
        raise SpecError(
            f"A {_kind(profiles[0])} and a {_kind(profiles[1])} are no layer times.",
            hint="Give what profile returned for both plans.",
        )
    if isinstance(a, Measurement) and isinstance(b, Measurement):
        if profiles:
            raise SpecError(
                "Layer times belong to engines, not to measurements.",
                hint="Give two plans, or leave profiles out.",
            )
        return measurements.compare(a, b)
    if isinstance(a, Plan | Fusion) and isinstance(b, Plan | Fusion):
        return _engines(a, b, profiles, store)
    raise MismatchError(
        f"A {_kind(a)} and a {_kind(b)} cannot be compared.",
        hint="Give two measurements or two plans.",
    )


def _engines(
    a: Plan | Fusion,
    b: Plan | Fusion,
    profiles: tuple[LayerProfile, LayerProfile] | None,
    store: Store | None,
) -> EngineComparison:
    plans = (a, b) if isinstance(a, Plan) and isinstance(b, Plan) else None
    if plans and any(plan.layers is None for plan in plans):
        return unaligned(plans)
    of_a, of_b = profiles or (None, None)
    return align(_fused(a, of_a, store), _fused(b, of_b, store), plans=plans, profiles=profiles)


def _fused(engine: Plan | Fusion, profile: LayerProfile | None, store: Store | None) -> Fusion:
    if isinstance(engine, Fusion):
        return engine
    return fusion(engine, profile=profile, store=store)


def _kind(record: object) -> str:
    return getattr(record, "kind", type(record).__name__)
