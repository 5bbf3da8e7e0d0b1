"""``fusion``: which ONNX nodes became which layers of a plan."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtlab.analysis.fusion.fuse import fuse
from trtlab.errors import MismatchError, ModelError, SpecError
from trtlab.model.types import Graph
from trtlab.record import Fusion, LayerProfile, Plan
from trtlab.spec.checks import whole
from trtlab.store import Store
from trtlab.verbs.build import build
from trtlab.verbs.load import graph_of, load
from trtlab.worker import Progress, silent

_LARGEST = 2**31


def fusion(
    plan: Any,
    *,
    model: Any = None,
    profile: LayerProfile | None = None,
    sizes: Mapping[str, int] | None = None,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    **settings: Any,
) -> Fusion:
    """Say what became of every node of a model: fused, folded, removed, or not known.

    The graph is the one that the plan was built from. Where this machine does not have it (a plan
    made elsewhere) it is rebuilt from the layers' names, which ``graph_source`` and a caveat say;
    give ``model`` to use its file.

    Args:
        plan: A ``Plan``, or what ``load`` takes: that is built first.
        model: The ONNX model that a plan from elsewhere was built from; what ``load`` takes.
        profile: Time per layer of this plan, to show beside its layers.
        sizes: Sizes of the named axes that estimates are for, such as ``{"N": 8}``; default is
            the profile's shapes, else the optimal ones of the plan's first optimization profile,
            else 1.
        store: Where plans and graphs are kept; default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop.
        **settings: For the build, as ``build`` takes them.

    Raises:
        SpecError: settings for the build of a plan that is built already, or a size below 1.
        PlanError: the plan does not say its layers.
        MismatchError: the profile is of another plan, or the model is another one.
    """
    store = store or Store()
    if profile is not None and not isinstance(profile, LayerProfile):
        raise SpecError(
            f"A {type(profile).__name__} is no layer profile.",
            hint="Give what trtlab.profile or trtlab.read returned.",
        )
    if not isinstance(sizes or {}, Mapping):
        raise SpecError(f"{sizes!r} names no axes.", hint='Write sizes={"N": 8}.')
    for name, size in (sizes or {}).items():
        whole(f"The size of {name}", size, 1, _LARGEST)
    if isinstance(plan, Plan):
        if settings:
            raise SpecError(
                f"The plan is built already: {', '.join(settings)} cannot change it.",
                hint="Give the model instead of the plan.",
            )
        graph = _graph(plan, model, store, progress, cancel)
    else:
        loaded = load(plan, store=store, progress=progress, cancel=cancel)
        plan = build(loaded, store=store, progress=progress, cancel=cancel, **settings)
        graph = graph_of(loaded, store) if loaded.source == "onnx" else None
    fused = fuse(plan, graph, profile=profile, sizes=sizes)
    if model is not None and not fused.edges and fused.fates:
        raise MismatchError(
            "No layer of the plan names a node of that model.",
            hint="Give the ONNX file that the plan was built from, or leave it out.",
        )
    return fused


def _graph(
    plan: Plan,
    model: Any,
    store: Store,
    progress: Progress,
    cancel: threading.Event | None,
) -> Graph | None:
    """Return the graph that a plan was built from; None where it is not at hand."""
    if model is not None:
        loaded = load(model, store=store, progress=progress, cancel=cancel)
        if plan.model.hash not in (None, loaded.hash):
            raise MismatchError(
                f"The plan was built from another model than {loaded.name}.",
                hint=f"Give the file of {plan.model.name}, or leave model out.",
            )
        return graph_of(loaded, store)
    if plan.model_source == "network":
        return None
    graph = store.graph(plan.model.hash) if plan.model.hash else None
    if graph is None and plan.source == "here" and plan.model_path is not None:
        return _read_again(plan, plan.model_path, store)
    return graph


def _read_again(plan: Plan, path: str, store: Store) -> Graph | None:
    """Return the graph of the file that a plan of this machine came from, if it is the same."""
    if not Path(path).is_file():
        return None
    try:
        loaded = load(path, store=store)
    except ModelError:
        return None
    return graph_of(loaded, store) if loaded.hash == plan.model.hash else None
