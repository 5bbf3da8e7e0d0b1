"""``built_precision``: what a builder really made of a request for a precision."""

from __future__ import annotations

from typing import Any

from trtlab.analysis import built_precision as analysis
from trtlab.analysis.built_precision import BuiltPrecision
from trtlab.record import LayerProfile
from trtlab.store import Store
from trtlab.verbs.fusion import fusion


def built_precision(
    plan: Any, *, profile: LayerProfile | None = None, store: Store | None = None
) -> BuiltPrecision:
    """Say in which precision the layers of a plan compute, against what its model asks for.

    Args:
        plan: A ``Plan``, or what ``load`` takes: that is built first.
        profile: Time per layer of this plan, so that times count too.
        store: Where plans and graphs are kept; default is this machine's store.

    Raises:
        PlanError: the plan does not say its layers.
    """
    found = fusion(plan, profile=profile, store=store)
    return analysis.built_precision(found, found.model.recipe)
