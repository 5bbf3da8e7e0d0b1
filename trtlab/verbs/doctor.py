"""``doctor``: what this machine can do, and for what it cannot the reason and the remedy."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Literal

from trtlab.backends import base
from trtlab.backends.base import Ability, BackendStatus
from trtlab.environment import capture, gpu_state, version
from trtlab.errors import StoreError
from trtlab.precision import modelopt
from trtlab.record import Environment
from trtlab.shown import Shown
from trtlab.store import Store, home_folder
from trtlab.units import text_from_bytes
from trtlab.verbs.build import distributions
from trtlab.verbs.choose import status_of

_LAB = ("jupyterlab", "ipywidgets", "anywidget", "plotly", "pandas", "netron", "jinja2")


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis(Shown):
    """What ``doctor`` found. ``store`` says what is wrong with the store, or is empty.

    ``modelopt`` is the version in ModelOpt's own environment, None where there is none.
    """

    environment: Environment
    backends: tuple[BackendStatus, ...]
    modelopt: str | None
    modelopt_folder: str
    missing: tuple[str, ...]
    store_home: str
    store_free_bytes: int | None
    store_error: str

    def rows(self) -> list[tuple[str, str]]:
        """Return label and text, most important first."""
        e = self.environment
        rows = [
            ("machine", f"{e.cpu}, {e.cores} cores, {text_from_bytes(e.memory_bytes)}, {e.os}"),
            ("GPU", self._gpu_text()),
            ("Python", f"{e.python}, trtlab {e.packages.get('trtlab', 'not installed')}"),
        ]
        for backend in self.backends:
            rows.append((backend.name, _backend_text(backend)))
            rows += [(f"  {backend.name}", line) for line in _cannot(backend)]
        rows.append(("ModelOpt", self._modelopt_text()))
        lab = "complete" if not self.missing else f"missing: {', '.join(self.missing)}"
        hint = "" if not self.missing else " → pip install -e '.[lab]'"
        rows.append(("workbench packages", lab + hint))
        free = f"{self.store_home}, {text_from_bytes(self.store_free_bytes)} free"
        rows.append(("store", self.store_error or free))
        return rows

    def _gpu_text(self) -> str:
        e, gpu = self.environment, gpu_state()
        if not gpu.usable:
            return f"none usable: {gpu.reason}" + (f" ({e.gpu})" if e.gpu else "")
        major, minor = gpu.compute_capability or (0, 0)
        driver = f", driver {e.driver}" if e.driver else ""
        return f"{e.gpu}, compute capability {major}.{minor}{driver}"

    def _modelopt_text(self) -> str:
        if self.modelopt is None:
            return f"not installed → {modelopt.HINT}  ({modelopt.SIZE})"
        return f"{self.modelopt}, in {self.modelopt_folder}"


def doctor() -> Diagnosis:
    """Look at this machine. Never raises for what it finds: that is its result."""
    statuses = [status_of(name) for name in base.NAMES]
    home, free, wrong = home_folder(), None, ""
    try:
        home = Store().home
        free = shutil.disk_usage(home).free
    except StoreError as error:
        wrong = str(error)
    return Diagnosis(
        environment=capture(d for name in base.NAMES for d in distributions(name)),
        backends=tuple(statuses),
        modelopt=modelopt.version(),
        modelopt_folder=str(modelopt.folder()),
        missing=tuple(name for name in _LAB if version(name) is None),
        store_home=str(home),
        store_free_bytes=free,
        store_error=wrong,
    )


def _backend_text(status: BackendStatus) -> str:
    if status.version is None:
        fault = next(iter(status.abilities.values())).build
        return f"not usable: {fault.reason} → {fault.hint}"
    words = {
        "builds": _recipes(status, "build"),
        "inspects": "layers" * status.inspect.can,
        "runs": _recipes(status, "run"),
    }
    can = [f"{verb} {what}" for verb, what in words.items() if what]
    return f"{status.version} ({', '.join(status.targets)}): {'; '.join(can) or 'nothing here'}"


def _recipes(status: BackendStatus, what: Literal["build", "run"]) -> str:
    return ", ".join(r for r, a in status.abilities.items() if getattr(a, what).can)


def _cannot(status: BackendStatus) -> list[str]:
    """Return a line for each reason: most often several recipes have the same."""
    if status.version is None:
        return []
    lines: dict[tuple[str, Ability], list[str]] = {}
    for recipe, ability in status.abilities.items():
        if not ability.build.can:
            lines.setdefault(("does not build", ability.build), []).append(recipe)
        elif not ability.run.can:
            lines.setdefault(("does not run", ability.run), []).append(recipe)
    every = len(status.abilities)
    return [
        f"{verb}{'' if len(recipes) == every else ' ' + ', '.join(recipes)}: "
        f"{ability.reason} → {ability.hint}"
        for (verb, ability), recipes in lines.items()
    ]
