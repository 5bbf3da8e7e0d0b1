"""``Workbench``: one screen where toggles drive builds, curves, layers and fusion."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as w

from trtlab.app import bars, notices
from trtlab.app.jobs import Jobs
from trtlab.app.panels import TABS
from trtlab.app.panels.base import Panel, Screen
from trtlab.app.problems import problem_of, unexpected
from trtlab.app.rail import Rail
from trtlab.app.saving import save
from trtlab.app.state import CONTROLS, Problem, State
from trtlab.app.still import Still
from trtlab.app.welcome import first_screen
from trtlab.errors import SpecError, TrtlabError
from trtlab.exporters.python_cell import python_cell
from trtlab.formats.bundle import read_bundle
from trtlab.model.types import Model
from trtlab.precision.recipes import recipe_of
from trtlab.record import Bundle, Run
from trtlab.spec import TENSORRT, Setup
from trtlab.store import Store
from trtlab.units import bytes_from_text, ints_from_text, text_from_file_size
from trtlab.verbs.read import read, run_of
from trtlab.verbs.run import known_run

SHIPPED = Path(__file__).parent / "recorded.trtlab"
"""Runs that this project made: TensorRT-RTX builds, and measurements on a CPU."""

LEAST_HEIGHT = 620
_RECORDINGS = (".trtlab", ".json", ".log", ".txt")


class Workbench(Screen):
    """The workbench as a widget: the last expression of a cell shows it.

    Everything that it does is a public call of trtlab; *Copy as Python* shows which.

    Args:
        model: A path, ``zoo:NAME``, a bundle's path, or a ``Model``; "" begins with the first
            screen.
        precision: Recipe to begin with.
        batches: Smallest, optimal and largest batch of the engine.
        measure_at: Batch sizes to measure; None is the optimal one.
        workspace: Workspace limit, such as ``"256MiB"``; None is TensorRT's default.
        quick: Short measuring windows; the records are labelled.
        theme: ``light`` or ``dark``; None follows the page.
        height: Height in pixels, at least 620; its corner can be dragged.
        store: Where results are kept; default is this machine's store.

    Raises:
        SpecError: a setting is wrong.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Model = "",
        *,
        precision: str = "fp32",
        batches: tuple[int, int, int] = (1, 8, 16),
        measure_at: Sequence[int] | None = None,
        workspace: str | int | None = None,
        quick: bool = True,
        theme: str | None = None,
        height: int = 780,
        store: Store | None = None,
    ) -> None:
        if theme not in (None, "light", "dark") or height < LEAST_HEIGHT:
            raise SpecError(
                f"A workbench cannot be {height} px high in theme {theme!r}.",
                hint=f"Use light, dark or None, and {LEAST_HEIGHT} px or more.",
            )
        recipe_of(precision)
        # It checks the batches as an engine needs them.
        Setup(builder="tensorrt_rtx", runner=None, batches=batches)
        state = State(
            store=store,
            builder="",  # the first that builds here, once the machine was asked
            precision=precision,
            batches=tuple(batches),
            measure_at=tuple(measure_at or (batches[1],)),
            workspace_bytes=None if workspace is None else bytes_from_text(workspace),
            quick=quick,
            theme=theme or "light",
            theme_choice=theme or "host",
        )
        self.jobs = Jobs(state)
        self._panels: dict[str, Panel] = {}
        self._place = w.VBox()
        self._first = _drawn(state, first_screen, "machine", "opened", "busy", "history")
        super().__init__(state, self._parts(state), self.act)
        self._still = Still(state)
        self.frame.still = self._still.name
        self.add_class("trtlab-workbench")
        self.layout.height = f"{height}px"
        state.listen(self._show_panel, "tab", "selected")
        state.listen(self._answer_known, *CONTROLS)
        state.listen(self._follow_recording, "selected", "recorded")
        state.listen(self._ask_picture, "selected", "baseline", "busy", "theme")
        self.jobs.look()
        if isinstance(model, Model):
            self.jobs.open(model)
        elif source := os.fspath(model):
            state.update(source=source)
            self.act("open", source)

    @classmethod
    def recorded(cls, path: str | os.PathLike[str] | None = None, **settings: Any) -> Workbench:
        """Return the workbench filled from a bundle: that of the package, or the one named.

        Nothing is built or run; *Make it live* begins that.

        Raises:
            RecordError: the file is no bundle, or damaged.
        """
        bench = cls(**settings)
        bench.show_bundle(read_bundle(Path(path or SHIPPED)))
        return bench

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of this screen, in the order they came."""
        return self.state.runs

    def show_bundle(self, bundle: Bundle) -> None:
        """Show the runs of a bundle instead of what is shown."""
        state = self.state
        if not bundle.runs:
            raise SpecError(f"{bundle.name} holds no run.", hint="Open another bundle.")
        state.take_graphs(bundle.graphs)
        runs = tuple(as_recorded(run) for run in bundle.runs)
        last = runs[-1]
        others = [r for r in runs if r.model == last.model and r.batch == last.batch]
        others = [r for r in others if r.recipe != last.recipe and r.measurement is not None]
        environment = last.line.environment
        where = environment.gpu or environment.cpu or "another machine"
        day = (environment.created or "")[:10]
        state.update(
            runs=runs,
            workspaces=bundle.workspaces,
            selected=last,
            baseline=others[0] if others else None,
            recorded=", ".join(filter(None, (f"Recorded on {where}", day))),
            source=last.line.origin or last.model.name,
            tab="overview",
            opened=None,
            graph=bundle.graphs.get(last.model.hash or ""),
            status="Recorded",
            problem=None,
        )

    def __repr__(self) -> str:
        # What is seen where no widget can be shown: ipywidgets would print every part.
        name = self.state.opened.name if self.state.opened else self.state.source or "no model"
        return f"Workbench({name}, {len(self.state.runs)} runs)"

    def close(self) -> None:
        """Stop the running job and take the widget away."""
        if "jobs" in self.__dict__:  # ipywidgets closes what was refused before it was made
            self.jobs.close()
        super().close()

    # The parts of the screen

    def _parts(self, state: State) -> list[w.Widget]:
        head = w.HBox(
            [
                _drawn(state, bars.facts, "opened", "machine", "builder", "target", "runner",
                       "selected", "recorded", "looked"),
                _drawn(state, bars.status, "status", "busy", "problem"),
                _drawn(state, bars.looks, "theme", "large"),
            ]
        )  # fmt: skip
        head.add_class("trtlab-head")
        gone = w.HTML(
            "<div class='trtlab-gone' role='alert'>The kernel is gone or was restarted: run the "
            "cell again. Runs are in the store.</div>"
        )
        job = w.VBox(
            [
                _drawn(state, notices.job_head, "busy", "job_title"),
                _drawn(state, notices.job_bars, "busy", "job"),
                _drawn(state, notices.job_points, "busy", "job_points"),
            ]
        )
        job.add_class("trtlab-job")
        job.add_class("trtlab-card")
        state.listen(lambda: _seen(job, state.busy), "busy")
        notes = [
            job,
            _drawn(state, self._problem, "problem", "selected"),
            _drawn(state, lambda s: notices.sweep_card(s, s.asked), "sweeping", "asked", "busy",
                   "machine", "opened"),
            _drawn(state, lambda s: bars.key_list(s) if s.helping else "", "helping", "keys"),
            _drawn(state, notices.saved_line, "saved"),
        ]  # fmt: skip
        panel = w.VBox([*notes, self._place])
        panel.add_class("trtlab-panel")
        right = w.VBox(
            [
                _drawn(state, bars.runbar, "selected", "baseline", "runs"),
                _drawn(state, lambda s: bars.tab_bar(s, TABS), "tab", "selected"),
                panel,
                _drawn(state, bars.footer, "selected"),
            ]
        )
        right.add_class("trtlab-right")
        body = w.HBox([Rail(state, self.act), right])
        body.add_class("trtlab-body")
        return [head, gone, body]

    def _problem(self, state: State) -> str:
        shown = ""
        if state.selected is not None and not state.selected.failure:
            shown = f"run {state.number(state.selected)}, {state.selected.label}"
        return notices.problem_card(state.problem, shown)

    def _show_panel(self) -> None:
        state = self.state
        if state.selected is None:
            self._place.children = (self._first,)
            return
        panel = self._panels.get(state.tab)
        if panel is None:
            made = next((p for p in TABS if p.name == state.tab), TABS[0])
            panel = self._panels[made.name] = made(state)
        if self._place.children != (panel,):
            self._place.children = (panel,)

    def _follow_recording(self) -> None:
        """Let the controls say what the recorded run was asked to be: none can be turned."""
        run = self.state.selected
        if self.state.recorded and run is not None:
            self.state.update(**controls_of(run))

    def _answer_known(self) -> None:
        """Show at once what is known of the settings; nothing is built for it."""
        state = self.state
        if state.busy or state.recorded or state.opened is None:
            return
        known = state.known()
        if known is not None and known is not state.selected:
            state.add(known)

    def _ask_picture(self) -> None:
        if not self.state.busy and self.state.selected is not None:
            self.frame.send({"kind": "picture"})

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        display(bundle[0] if isinstance(bundle, tuple) else bundle, raw=True)
        self._still.show()

    # What buttons and keys mean

    def act(self, act: str, value: str = "") -> None:
        """Do what a button or key means; an error is shown in place, never raised.

        Args:
            act: Its meaning: ``build``, ``tab``, ``select`` …
            value: Of what: a tab's name, a run's number.
        """
        state = self.state
        if act == "stop":
            self.jobs.stop()  # before the lock, which a panel that is being drawn may hold
        with state.lock:
            try:
                done = getattr(self, f"_do_{act.replace('-', '_')}", None)
                if done is not None:
                    done(value)
                elif act.startswith("sweep-") and state.sweeping:
                    self._answer_sweep(act.removeprefix("sweep-"), value)
                else:
                    self._offer(act, value)
            except TrtlabError as error:
                state.update(problem=problem_of(error, state))
            except Exception as error:  # noqa: BLE001 - no traceback reaches a user
                state.update(problem=unexpected(error))

    def _offer(self, act: str, value: str) -> None:
        """Let the panels do it, the visible one first."""
        seen = self._panels.get(self.state.tab)
        several = [*((seen,) if seen else ()), *self._panels.values()]
        any(panel.act(act, value) for panel in several)

    def _do_ready(self, _value: str) -> None:
        """The page has come up: nothing to do, but it proves that both ends hear each other."""

    def _do_picture(self, value: str) -> None:
        self._still.take(value)

    def _do_look(self, _value: str) -> None:
        self.state.update(looked=self.state.looked + 1)

    def _do_tab(self, value: str) -> None:
        if self.state.selected is not None and value in {panel.name for panel in TABS}:
            self.state.update(tab=value)

    def _do_select(self, value: str) -> None:
        run = self.state.numbered(value)
        if run is not None:
            self.state.update(selected=run)

    def _do_pin(self, value: str) -> None:
        run = self.state.numbered(value) if value else self.state.selected
        if run is not None:
            self.state.update(baseline=run)

    def _do_unpin(self, _value: str) -> None:
        self.state.update(baseline=None)

    def _do_build(self, _value: str) -> None:
        if self._may_build():
            self.jobs.measure(self.state.setups())

    def _may_build(self) -> bool:
        state = self.state
        return not (state.busy or state.wrong or state.recorded or state.opened is None)

    def _do_stop(self, _value: str) -> None:
        if self.state.busy:
            self.state.update(status="Stopping")
        else:  # a second Esc soon after one that closed something
            self._do_escape("")

    def _do_escape(self, _value: str) -> None:
        self.state.update(sweeping=False, helping=False, saved="")
        self._do_dismiss("")

    def _do_dismiss(self, _value: str) -> None:
        if self.state.problem is not None:
            self.state.update(problem=None, status="Recorded" if self.state.recorded else "Ready")

    def _do_help(self, _value: str) -> None:
        self.state.update(helping=not self.state.helping)

    def _do_keys(self, value: str) -> None:
        self.state.update(keys=value == "true")

    def _do_theme(self, _value: str) -> None:
        other = "dark" if self.state.theme == "light" else "light"
        self.state.update(theme=other, theme_choice=other)

    def _do_large(self, _value: str) -> None:
        self.state.update(large=not self.state.large)

    def _do_open(self, value: str) -> None:
        """Open a model, a bundle, or what trtexec exported; several files with commas between."""
        if self.state.busy:
            return
        if value.startswith("~"):
            value = str(Path(value).expanduser())
        if value.endswith(_RECORDINGS) or _is_folder(value):
            self._open_recording(value)
            return
        self.state.update(source=value, problem=None)
        self.jobs.open(value)

    def _open_recording(self, value: str) -> None:
        paths = [value] if _is_folder(value) or Path(value).is_file() else value.split(",")
        found = read(*(Path(path.strip()).expanduser() for path in paths))
        if isinstance(found, Bundle):
            self.show_bundle(found)
            return
        run = run_of(found)
        # One engine more beside those that were opened before: to be compared.
        before = self.state.runs if self.state.recorded else ()
        self.show_bundle(Bundle(run.model.name, (*before, run), self.state.workspaces))

    def _do_failed(self, value: str) -> None:
        self.state.update(problem=Problem(value, field="source"))

    def _do_too_large(self, value: str) -> None:
        name, _, size = value.rpartition("\n")
        self.state.update(
            problem=Problem(
                f"{name} was not uploaded: it takes {text_from_file_size(int(size))}",
                what="A page sends a file to the kernel as one message; uploads end at 10 MB.",
                hint="Type its path on the kernel's machine under Model instead.",
                field="source",
            )
        )

    def _do_demo(self, _value: str) -> None:
        if self.state.busy:
            return
        self.show_bundle(read_bundle(SHIPPED))

    def _do_live(self, _value: str) -> None:
        state = self.state
        run = state.selected
        if run is None or run.line.origin is None:
            raise SpecError(
                "The recording does not say where its model is.",
                hint="Open the model's file under Model.",
            )
        state.update(recorded="", status="Ready", machine=None, **controls_of(run))
        self.jobs.open_and_measure(run.line.origin)

    # Settings that a button sets

    def _do_set_workspace(self, value: str) -> None:
        self.state.update(workspace_bytes=int(value), problem=None)

    def _do_set_workspace_build(self, value: str) -> None:
        self._do_set_workspace(value)
        self._do_build("")

    def _do_set_largest(self, value: str) -> None:
        smallest, best, _ = self.state.batches
        largest = int(value)
        sizes = tuple(b for b in self.state.measure_at if b <= largest) or (min(best, largest),)
        self.state.update(
            batches=(smallest, min(best, largest), largest), measure_at=sizes, problem=None
        )

    def _do_search_workspace(self, _value: str) -> None:
        if self._may_build() and self.state.builder in TENSORRT:
            self.jobs.search_workspace()

    def _do_per_node(self, value: str) -> None:
        run = self.state.numbered(value) or self.state.selected
        if run is not None and not self.state.recorded:
            self.jobs.find_node_errors(run)

    def _do_recall(self, value: str) -> None:
        self.jobs.recall(int(value))

    # Sweeping

    def _do_sweep(self, _value: str) -> None:
        if not self._may_build():
            return
        state = self.state
        smallest, _, largest = state.batches
        sizes = [size for size in (1, 2, 4, 8, 16, 32, 64, 128) if smallest <= size <= largest]
        asked = {
            "precision": ",".join(dict.fromkeys(("fp32", state.precision))),
            "batch": ",".join(map(str, sizes)),
            "workspace": "",
        }
        state.update(sweeping=not state.sweeping, asked=self._counted(asked))

    def _answer_sweep(self, name: str, value: str) -> None:
        asked = {k: v for k, v in self.state.asked.items() if k != "wrong"}
        if name in ("batch", "workspace"):
            asked[name] = value
        else:
            chosen = [r for r in asked["precision"].split(",") if r and r != name]
            asked["precision"] = ",".join([*chosen, *([name] if value == "true" else [])])
        self.state.update(asked=self._counted(asked))

    def _counted(self, asked: dict[str, str]) -> dict[str, str]:
        """Return the answers with how many points they make, and how many are known."""
        state = self.state
        try:
            setups = self._swept(asked)
        except TrtlabError as error:
            return {**asked, "wrong": str(error).replace("\n  → ", " "), "points": "0"}
        model = state.opened
        known = sum(model is not None and known_run(model, s, state.store) is not None
                    for s in setups)  # fmt: skip
        return {**asked, "points": str(len(setups)), "known": str(known)}

    def _swept(self, asked: dict[str, str]) -> list[Setup]:
        state = self.state
        batches: Sequence[int | None] = ints_from_text(asked["batch"])
        if state.setup().batch is None:
            batches = (None,)
        texts = [part for part in asked["workspace"].split(",") if part.strip()]
        limits: list[int | None] = [bytes_from_text(part) for part in texts]
        limits = limits or [state.workspace_bytes]
        recipes = [r for r in asked["precision"].split(",") if r]
        smallest, _, largest = state.batches
        sizes = [b for b in batches if b is not None]
        if sizes and not smallest <= min(sizes) <= max(sizes) <= largest:
            raise SpecError(
                f"The engine is built for batch {smallest} to {largest}.",
                hint="Widen min and max in the rail, or sweep within them.",
            )
        return [
            state.setup(
                batch,
                precision=recipe,
                workspace_bytes=limit if state.builder in TENSORRT else None,
            )
            for recipe in recipes
            for limit in limits
            for batch in batches
        ]

    def _do_sweep_start(self, _value: str) -> None:
        if self._may_build():
            setups = self._swept(self.state.asked)
            self.state.update(sweeping=False)
            self.jobs.measure(setups)

    # Taking away

    def _do_copy_python(self, _value: str) -> None:
        run = self.state.selected
        if run is not None:
            self.frame.send({"kind": "copy", "text": python_cell(run)})
            self.state.update(saved=f"Copied: run {self.state.number(run)} as Python")

    def _do_copied(self, _value: str) -> None:
        self.state.update(saved="Copied")

    def _do_save(self, value: str) -> None:
        path = save(value, self.state)
        size = text_from_file_size(path.stat().st_size)
        self.state.update(saved=f"Saved {path} ({size}), beside the notebook")

    def _do_csv(self, _value: str) -> None:
        self._do_save("csv")


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except OSError:  # no name that a disk knows
        return False


def as_recorded(run: Run) -> Run:
    """Return a run marked recorded, be it this machine that made it: it is shown from a file."""

    def marked(record: Any) -> Any:
        return None if record is None else replace(record, source="recorded")

    return replace(
        run,
        line=marked(run.line),
        plan=marked(run.plan),
        ran=marked(run.ran),
        measurement=marked(run.measurement),
        profile=marked(run.profile),
        accuracy=marked(run.accuracy),
    )


def controls_of(run: Run) -> dict[str, Any]:
    """Return the controls that would ask for a run again."""
    setup = run.setup
    batch = setup.batch or 1
    return {
        "precision": run.recipe,
        "workspace_bytes": setup.workspace_bytes,
        "measure_at": (batch,),
        "batches": setup.batches or (batch, batch, batch),
        "builder": setup.builder,
        "target": setup.target or "",
        "runner": setup.runner or "",
        "streams": setup.streams,
        "threads": setup.threads,
        "provider": setup.provider,
        "tf32": bool(setup.tf32),
        "shapes_text": ",".join(
            f"{name}:{'x'.join(map(str, shape))}" for name, shape in setup.shapes.items()
        ),
        "quick": setup.quick,
        "calibration": setup.calibration or "",
        "data": setup.data or "",
    }


def _drawn(state: State, draw: Callable[[State], str], *names: str) -> w.HTML:
    """Return a part of the screen that is drawn again when one of these traits changes."""
    part = w.HTML()

    def show() -> None:
        part.value = draw(state)
        _seen(part, bool(part.value))

    state.listen(show, *names)
    return part


def _seen(part: w.Widget, is_seen: bool) -> None:
    part.layout.display = None if is_seen else "none"
