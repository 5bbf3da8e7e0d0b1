"""Run every benchmark and print one table: ``python -m benchmarks [NAME …] [--save]``.

``--save`` writes the result, with machine and load, to ``benchmarks/last.json``; of some named
alone to ``benchmarks/last_NAME.json``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import Figure
from trtlab.environment import capture
from trtlab.views.tables import Table

NAMES = (
    "harness",
    "startup",
    "sweeping",
    "noise",
    "building",
    "reading",
    "comparing",
    "graph",
    "precision",
    "workbench",
)


def main() -> int:
    """Run what is named (default: all); exit 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    figures: list[Figure] = []
    for name in options.names or NAMES:
        figures += importlib.import_module(f"benchmarks.{name}").figures()
    rows = tuple(
        (f.name, f"{f.value:.3g} {f.unit}", f.interval_text(), f"≤ {f.limit:g}", f.verdict())
        for f in figures
    )
    heads = ("Figure", "Measured", "95 %", "Limit", "")
    print(Table(heads, rows, frozenset({1, 2, 3})).text())
    environment = capture(("onnxruntime", "tensorrt-rtx-cu13"))
    print(f"\n{environment.cpu}, {environment.cores} cores, load before {before:.2f}")
    if options.save:
        result = {
            "environment": asdict(environment),
            "load_before": before,
            "load_after": os.getloadavg()[0],
            "figures": [asdict(f) for f in figures],
        }
        path = Path(__file__).parent / f"{'_'.join(['last', *options.names])}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(f.value > f.limit for f in figures))


if __name__ == "__main__":
    raise SystemExit(main())
