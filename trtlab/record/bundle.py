"""``Bundle``: runs from one file, with what is needed to show them elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtlab.model.types import Graph
from trtlab.record.base import source_rows
from trtlab.record.run import Run
from trtlab.record.workspace import WorkspaceCurve
from trtlab.shown import Shown


@dataclass(frozen=True, slots=True, repr=False)
class Bundle(Shown):
    """Runs with their records, and the graphs of their models.

    Attributes:
        name: What it is called: the file's name.
        runs: In the order they were written.
        workspaces: Which workspace limits build.
        graphs: By model hash; without weights.
    """

    name: str
    runs: tuple[Run, ...]
    workspaces: tuple[WorkspaceCurve, ...] = ()
    graphs: Mapping[str, Graph] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text: one row a run."""
        rows = [("bundle", f"{self.name}: {len(self.runs)} runs")]
        for run in self.runs:
            told = dict(run.rows())
            rows.append((f"{run.model.name}, {run.label}", told["latency"]))
        if self.runs:
            rows += source_rows(self.runs[0].source, self.runs[0].line.environment)
        return rows
