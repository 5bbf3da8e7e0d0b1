"""Makes the runs that ``trtlab.Workbench.recorded()`` shows: ``python docs/record_demo.py``.

On a machine that does nothing else: full windows, about three minutes. The machine's name is not
in the bundle; its processor, versions and load are.
"""

from __future__ import annotations

import trtlab
from trtlab.app.workbench import SHIPPED
from trtlab.formats.bundle import write_bundle
from trtlab.store import Store

RECIPES = ("fp32", "fp16", "fp8", "int8")
BATCHES = (1, 2, 4, 8, 16)
BUILD = {"builder": "tensorrt_rtx", "target": "sm89", "batches": (1, 8, 16)}


def main() -> None:
    """Run, and write the bundle."""
    store = Store()
    runs = []
    for name, recipes, batches in (
        ("zoo:squeezenet", ("fp32",), (1, 8)),
        ("zoo:digits_mobile", RECIPES, BATCHES),
    ):
        for recipe in recipes:
            for batch in batches:
                run = trtlab.run(
                    name, precision=recipe, batch=batch, workspace="256MiB", store=store, **BUILD
                )
                print(run, end="\n\n")
                runs.append(run)
    # The one shown first comes last: INT8 at the optimal batch.
    runs.sort(key=lambda run: (run.recipe == "int8", run.batch == 8))
    curve = trtlab.workspace(
        "zoo:digits_mobile", backend="tensorrt_rtx", target="sm89", batch=(1, 8, 16), store=store
    )
    hashes = {h for run in runs for h in (run.model.hash, run.line.made.hash) if h}
    graphs = {h: graph for h in hashes if (graph := store.graph(h)) is not None}
    path = write_bundle(runs, SHIPPED, workspaces=(curve,), graphs=graphs)
    print(f"{path.name}: {len(runs)} runs, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
