"""The backend for both TensorRT modules: ``tensorrt`` (10.13 to 11.x) and ``tensorrt_rtx``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from trtlab.backends.base import (
    RECIPES,
    Abilities,
    Ability,
    BackendStatus,
    Built,
    Defined,
    Engine,
    Feeds,
    LayerTimes,
    Rejection,
)
from trtlab.backends.tensorrt import builder, engine
from trtlab.backends.tensorrt.bindings import Module
from trtlab.backends.tensorrt.builder import load_plugins
from trtlab.backends.tensorrt.module import import_trt, make_log
from trtlab.backends.tensorrt.reasons import why_not_run
from trtlab.environment import gpu_state
from trtlab.errors import BackendUnavailableError
from trtlab.record import BuilderMessage
from trtlab.spec import BuildConfig, RunConfig
from trtlab.worker import Progress

_YES = Ability(True)


class Backend:
    """Builds plans with one of the two modules; runs them where there is a GPU for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def status(self) -> BackendStatus:
        """Say what can be done here, by making a builder and asking CUDA's driver."""
        try:
            trt = import_trt(self.name)
        except BackendUnavailableError as error:
            no = Ability(False, error.message, error.hint)
            return BackendStatus(self.name, None, (), no, {r: Abilities(no, no) for r in RECIPES})
        reason, hint = why_not_run(self.name, gpu_state())
        run = Ability(False, reason, hint) if reason else _YES
        targets: tuple[str, ...] = () if reason else ("current",)
        if hasattr(trt, "ComputeCapability"):
            members = sorted(trt.ComputeCapability.__members__, key=lambda m: (len(m), m))
            targets += tuple(m.lower() for m in members if m.startswith("SM"))
        # Without a GPU only TensorRT-RTX builds. What it built is told by the build itself.
        build = _YES if targets else run
        return BackendStatus(
            self.name, trt.__version__, targets, build, {r: Abilities(build, run) for r in RECIPES}
        )

    def ability(self, _recipe: str, _config: BuildConfig) -> Abilities:
        """Say that the graph's types are what is built and run; see ``base.Backend.ability``."""
        return Abilities(Ability(True), Ability(True))

    def build(
        self, model: Path, is_network: bool, config: BuildConfig, folder: Path, progress: Progress
    ) -> Built:
        """Parse, or call the network function, and build; see ``base.Backend.build``."""
        return builder.build(self.name, model, is_network, config, folder, progress)

    def messages(self, _words: str) -> tuple[BuilderMessage, ...]:
        """Return nothing: TensorRT's log comes by its logger, not on stderr."""
        return ()

    @contextlib.contextmanager
    def load(self, plan: Path, config: BuildConfig, run: RunConfig) -> Iterator[Engine]:
        """Load a plan on the GPU that CUDA shows first; see ``base.Backend.load``."""
        trt = self._to_run(config)
        with engine.load(trt, make_log(trt), plan, run) as loaded:
            yield loaded

    def layer_times(
        self,
        plan: Path,
        config: BuildConfig,
        run: RunConfig,
        feeds: Feeds,
        runs: int,
        progress: Progress,
    ) -> LayerTimes:
        """Profile with ``IProfiler``; see ``base.Backend.layer_times``."""
        trt = self._to_run(config)
        return engine.layer_times(trt, make_log(trt), plan, run, feeds, runs, progress)

    def _to_run(self, config: BuildConfig) -> Module:
        """Return the module if its engines can run here; says why not before anything is tried."""
        reason, hint = why_not_run(self.name, gpu_state())
        if reason:
            raise BackendUnavailableError(
                f"This plan, built by {self.name} for {config.target_text}, cannot run here: "
                f"{reason}",
                hint=f"{hint.rstrip('.')}; or measure the model here with backend onnxruntime.",
            )
        trt = import_trt(self.name)
        for library in config.plugin_libraries:
            # The verbs let only plans through that this store built with these libraries.
            load_plugins(trt.get_plugin_registry(), library, make_log(trt))
        return trt

    def rejections(self, model: Path, progress: Progress) -> tuple[Rejection, ...]:
        """Return what the parser says against the model."""
        return builder.rejections(self.name, model, progress)

    def network_tensors(self, source: str) -> Defined:
        """Return what a network function defines."""
        return builder.network_tensors(self.name, source)
