"""``netron``: a model's raw ONNX graph in Netron, without a server and without a network."""

from __future__ import annotations

import threading
from typing import Any

from trtlab.store import Store
from trtlab.units import text_from_bytes
from trtlab.verbs.raw_graph import MOST_VALUES, RawGraph, raw_graph
from trtlab.views.pages.netron_page import NetronPage, netron_page
from trtlab.worker import Progress, silent


def netron(
    model: Any,
    *,
    height: int = 600,
    store: Store | None = None,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
) -> NetronPage:
    """Show a model's ONNX graph in Netron: no server, no port, and no request leaves the page.

    The page holds Netron's own files and the graph. Values of large weights are left out, and the
    page says how many.

    Args:
        model: A ``Model`` or what ``load`` takes.
        height: Height in a notebook, in pixels.
        store: Default is this machine's store.
        progress: Called with phase, steps done and steps in all.
        cancel: Set it to stop.

    Raises:
        ModelError: the model cannot be used.
        SpecError: the height is no number of pixels.
        UnsupportedError: the model is a network function, or Netron is not installed or not in
            a form that can be shown like this.
    """
    graph = raw_graph(model, store=store, progress=progress, cancel=cancel)
    return netron_page(graph.onnx, graph.name, _left_out(graph), height=height)


def _left_out(graph: RawGraph) -> str:
    if not graph.left_out:
        return ""
    return (
        f"{graph.left_out:,} of {graph.tensors:,} stored tensors have more than {MOST_VALUES} "
        f"values: they are shown without these {text_from_bytes(graph.left_out_bytes)}."
    )
