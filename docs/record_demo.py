"""Makes the runs that ``trtlab.Workbench.recorded()`` shows: ``python docs/record_demo.py``.

On a machine that does nothing else: full windows, about three minutes. The machine's name is not
in the bundle; its processor, versions and load are.
"""

from __future__ import annotations

import os

import trtlab
from trtlab.app.workbench import SHIPPED
from trtlab.formats.bundle import write_bundle
from trtlab.store import Store

ENGINE = {"builder": "tensorrt_rtx", "target": "sm89", "batches": (1, 8, 16)}
WHAT: tuple[tuple[str, tuple[str, ...], tuple[int, ...], str | None], ...] = (
    # Trained and labelled: what a precision costs in accuracy.
    ("zoo:digits_mobile", ("fp32", "fp16", "fp8", "int8"), (1, 2, 4, 8, 16), None),
    # Known to everybody: what INT8 saves. Its weights are drawn, so its ranges may be too.
    ("zoo:resnet50", ("fp32", "int8"), (1, 2, 4, 8), "random"),
)


def main() -> None:
    """Run, and write the bundle."""
    store = Store()
    runs = []
    for name, recipes, batches, calibration in WHAT:
        for recipe in recipes:
            for batch in batches:
                run = trtlab.run(
                    name,
                    precision=recipe,
                    batch=batch,
                    workspace="256MiB",
                    calibration=calibration if recipe == "int8" else None,
                    store=store,
                    **ENGINE,
                )
                print(run, end="\n\n")
                runs.append(run)
    # The one shown first comes last: resnet50 in INT8 at the optimal batch.
    runs.sort(key=lambda run: (run.model.name, run.recipe == "int8", run.batch == 8))
    curves = [
        trtlab.workspace(
            trtlab.convert(name, recipe, calibration=calibration, store=store),
            backend="tensorrt_rtx",
            target="sm89",
            batch=(1, 8, 16),
            store=store,
        )
        for name, _, _, calibration in WHAT
        for recipe in ("fp32", "int8")
    ]
    hashes = {h for run in runs for h in (run.model.hash, run.line.made.hash) if h}
    graphs = {h: graph for h in hashes if (graph := store.graph(h)) is not None}
    doubts = {c.kind for run in runs if run.measurement for c in run.measurement.caveats}
    print(f"load {os.getloadavg()[0]:.2f}; caveats: {', '.join(sorted(doubts)) or 'none'}")
    path = write_bundle(runs, SHIPPED, workspaces=curves, graphs=graphs)
    print(f"{path.name}: {len(runs)} runs, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
