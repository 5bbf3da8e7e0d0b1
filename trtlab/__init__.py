"""trtlab: a Jupyter workbench for NVIDIA TensorRT.

Specs go in, records come out; backends make records, views only read them. Names are loaded on
first use, so that ``import trtlab`` is quick and loads nothing native.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trtlab.app import panels as panels
    from trtlab.app.netron import netron as netron
    from trtlab.app.workbench import Workbench as Workbench
    from trtlab.dataset.samples import Dataset as Dataset
    from trtlab.errors import TrtlabError as TrtlabError
    from trtlab.verbs.accuracy import accuracy as accuracy
    from trtlab.verbs.benchmark import benchmark as benchmark
    from trtlab.verbs.build import build as build
    from trtlab.verbs.built_precision import built_precision as built_precision
    from trtlab.verbs.compare import compare as compare
    from trtlab.verbs.convert import convert as convert
    from trtlab.verbs.convert_within import convert_within as convert_within
    from trtlab.verbs.doctor import doctor as doctor
    from trtlab.verbs.export import export as export
    from trtlab.verbs.fusion import fusion as fusion
    from trtlab.verbs.inspect import inspect as inspect
    from trtlab.verbs.load import load as load
    from trtlab.verbs.load import with_dynamic_batch as with_dynamic_batch
    from trtlab.verbs.profile import profile as profile
    from trtlab.verbs.read import read as read
    from trtlab.verbs.run import run as run
    from trtlab.verbs.sweep import sweep as sweep
    from trtlab.verbs.workspace import workspace as workspace
    from trtlab.views.figures import figure as figure
    from trtlab.views.pages.report import report as report
    from trtlab.views.widgets.graph_view import graph as graph

_PUBLIC = {
    "Dataset": "trtlab.dataset.samples",
    "TrtlabError": "trtlab.errors",
    "Workbench": "trtlab.app.workbench",
    "accuracy": "trtlab.verbs.accuracy",
    "benchmark": "trtlab.verbs.benchmark",
    "build": "trtlab.verbs.build",
    "built_precision": "trtlab.verbs.built_precision",
    "compare": "trtlab.verbs.compare",
    "convert": "trtlab.verbs.convert",
    "convert_within": "trtlab.verbs.convert_within",
    "doctor": "trtlab.verbs.doctor",
    "export": "trtlab.verbs.export",
    "figure": "trtlab.views.figures",
    "fusion": "trtlab.verbs.fusion",
    "graph": "trtlab.views.widgets.graph_view",
    "inspect": "trtlab.verbs.inspect",
    "load": "trtlab.verbs.load",
    "netron": "trtlab.app.netron",
    "panels": "trtlab.app.panels",
    "profile": "trtlab.verbs.profile",
    "read": "trtlab.verbs.read",
    "report": "trtlab.views.pages.report",
    "run": "trtlab.verbs.run",
    "sweep": "trtlab.verbs.sweep",
    "with_dynamic_batch": "trtlab.verbs.load",
    "workspace": "trtlab.verbs.workspace",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'trtlab' has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name])
    value = module if name == "panels" else getattr(module, name)  # a module itself: its tabs
    globals()[name] = value
    return value


def load_ipython_extension(ipython: Any) -> None:
    """Add ``%trtlab_bench`` and ``%%trtlab_profile``: what ``%load_ext trtlab`` calls."""
    from trtlab.magics import Magics

    Magics(ipython).register()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
