"""``doctor``: what this machine can do, and for what it cannot the reason and the remedy."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from trtlab import worker
from trtlab.backends import base
from trtlab.backends.base import BackendStatus
from trtlab.environment import capture, version
from trtlab.errors import StoreError, TrtlabError
from trtlab.record import Environment, Shown
from trtlab.store import Store, home_folder
from trtlab.units import text_from_bytes
from trtlab.worker import Progress

_LAB = ("jupyterlab", "ipywidgets", "anywidget", "plotly", "pandas", "netron", "jinja2")


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis(Shown):
    """What ``doctor`` found. ``store`` says what is wrong with the store, or is empty."""

    environment: Environment
    backends: tuple[BackendStatus, ...]
    missing: tuple[str, ...]
    store_home: str
    store_free_bytes: int | None
    store_error: str

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        e = self.environment
        rows = [
            ("machine", f"{e.cpu}, {e.cores} cores, {text_from_bytes(e.memory_bytes)}, {e.os}"),
            ("GPU", e.gpu or "none found"),
            ("Python", f"{e.python}, trtlab {e.packages.get('trtlab', 'not installed')}"),
        ]
        for backend in self.backends:
            rows.append((backend.name, _backend_text(backend)))
            rows += [(f"  {backend.name}", line) for line in _cannot(backend)]
        lab = "complete" if not self.missing else f"missing: {', '.join(self.missing)}"
        hint = "" if not self.missing else " → pip install -e '.[lab]'"
        rows.append(("workbench packages", lab + hint))
        free = f"{self.store_home}, {text_from_bytes(self.store_free_bytes)} free"
        rows.append(("store", self.store_error or free))
        return rows


def doctor() -> Diagnosis:
    """Look at this machine. Never raises for what it finds: that is its result."""
    statuses = []
    for name in base.NAMES:
        try:
            statuses.append(worker.run(_status_job, name, timeout=60).result)
        except TrtlabError as error:
            no = base.Abilities(*(base.Ability(False, error.message, error.hint),) * 2)
            statuses.append(BackendStatus(name, None, (), {"fp32": no}))
    home, free, wrong = home_folder(), None, ""
    try:
        home = Store().home
        free = shutil.disk_usage(home).free
    except StoreError as error:
        wrong = str(error)
    return Diagnosis(
        environment=capture(("onnxruntime", "onnxruntime-gpu")),
        backends=tuple(statuses),
        missing=tuple(name for name in _LAB if version(name) is None),
        store_home=str(home),
        store_free_bytes=free,
        store_error=wrong,
    )


def _backend_text(status: BackendStatus) -> str:
    if status.version is None:
        fault = next(iter(status.abilities.values())).build
        return f"not usable: {fault.reason} → {fault.hint}"
    runs = ", ".join(r for r, a in status.abilities.items() if a.run.can)
    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in status.providers)
    return f"{status.version} ({providers}); builds and runs {runs}"


def _cannot(status: BackendStatus) -> list[str]:
    if status.version is None:
        return []
    return [
        f"{recipe} does not {'run' if ability.build.can else 'build'}: {ability.run.reason} "
        f"→ {ability.run.hint}"
        for recipe, ability in status.abilities.items()
        if not ability.run.can
    ]


def _status_job(name: str, progress: Progress) -> BackendStatus:
    progress("ask", 0, 1)
    return base.backend(name).status()
