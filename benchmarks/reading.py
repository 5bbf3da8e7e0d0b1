"""Recorded engines into a DataFrame: our reader against ``json.load`` of the same files.

Layers and profile of each TREx set are opened, checked, joined by name and tabled; ``json.load``
opens and decodes them alone. Both are timed pair by pair, after pandas was imported. The sets are
no part of the project: without them only generated layers are read.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.figures import Figure, median_figure, seconds
from trtlab.verbs.read import read

PAIRS = 101
LAYERS = 10_000
ROUNDS = 7
SETS = Path(__file__).resolve().parents[2] / "shared" / "data" / "engines"


def figures() -> list[Figure]:
    """Read every set that there is, and many layers that were made up."""
    assert pd.DataFrame({"imported": [1]}).size
    found = []
    for folder in sorted(SETS.glob("*")):
        files = [*folder.glob("*.engine.graph.json"), *folder.glob("*.engine.profile.json")]
        if len(files) == 2:
            found.append(_against_json(folder.name, files))
    if not found:
        print(f"Recorded sets are not read: there is no folder {SETS.name} with them.")
    with tempfile.TemporaryDirectory() as folder:
        made = long_engine(Path(folder), LAYERS)
        many = [seconds(lambda: _frame(made)) for _ in range(ROUNDS)]
    name = f"{LAYERS:,} layers with times into a DataFrame"
    return [*found, median_figure(name, many, "s", 1.0)]


def _against_json(name: str, files: Sequence[Path]) -> Figure:
    ratios = []
    for pair in range(PAIRS):
        actions = [lambda: _frame(files), lambda: _loaded(files)]
        order = (0, 1) if pair % 2 else (1, 0)
        took = {i: seconds(actions[i]) for i in order}
        ratios.append(took[0] / took[1])
    return median_figure(f"into a DataFrame / json.load, {name}", ratios, "×", 5.0)


def _frame(files: Sequence[Path]) -> pd.DataFrame:
    return read(*files).df


def _loaded(files: Sequence[Path]) -> list[Any]:
    loaded = []
    for path in files:
        with path.open() as file:
            loaded.append(json.load(file))
    return loaded


def long_engine(folder: Path, count: int) -> list[Path]:
    """Write layers as TensorRT 10 describes them, and their profile; returns both files."""
    tensor = {"Location": "Device", "Dimensions": [8, 64, 56, 56]}
    tensor["Format/Datatype"] = "Channel major FP16 format where channel % 8 == 0"
    layers = [
        {
            "Name": f"conv{i} + relu{i}",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": f"t{i}", **tensor}],
            "Outputs": [{"Name": f"t{i + 1}", **tensor}],
            "ParameterType": "Convolution",
            "Kernel": [3, 3],
            "Stride": [1, 1],
            "Groups": 1,
            "Weights": {"Type": "Half", "Count": 36864},
            "Activation": "RELU",
            "TacticName": "sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc",
            "TacticValue": "0x5b8bf1b8028629d9",
            "StreamId": 0,
            "Metadata": f"[ONNX Layer: conv{i}]\x1e[ONNX Layer: relu{i}]",
        }
        for i in range(count)
    ]
    times = {"timeMs": 0.5, "averageMs": 0.05, "medianMs": 0.05, "percentage": 0.01}
    rows = [{"count": 10}, *({"name": layer["Name"], **times} for layer in layers)]
    paths = [folder / "layers.json", folder / "profile.json"]
    names = ["t0", f"t{count}"]
    paths[0].write_text(json.dumps({"Layers": layers, "Bindings": names}))
    paths[1].write_text(json.dumps(rows))
    return paths
