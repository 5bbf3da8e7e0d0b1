"""IPython's ``%trtlab_bench`` and ``%%trtlab_profile``: the command line's options, for a cell.

Their options are those of ``trtlab bench`` and ``trtlab profile``, read by the same parser. What
is wrong is raised as IPython's ``UsageError``: it is shown as message and hint without a
traceback, and it stops Run All, so that no later cell takes an older ``_`` for this result.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from trtlab.commands.options import bench_settings, built_plan, profile_settings
from trtlab.commands.parser import parser
from trtlab.errors import SpecError, TrtlabError
from trtlab.record import LayerProfile, Measurement, Plan
from trtlab.terminal import harmless, progress_line
from trtlab.verbs.benchmark import benchmark
from trtlab.verbs.profile import profile

if TYPE_CHECKING:
    from trtlab.worker import Progress


class Magics:
    """The magics of one IPython shell."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def register(self) -> None:
        """Make them known to the shell."""
        add = self._shell.register_magic_function
        add(self.bench, "line", "trtlab_bench")
        add(self.profile, "line_cell", "trtlab_profile")

    def bench(self, line: str) -> Measurement | None:
        """Measure a model: latency, throughput, memory.

        ``%trtlab_bench MODEL [options]`` gives a ``Measurement``: as the last line of a cell it
        is shown, and ``_`` has it. MODEL is a variable of the notebook (a model, a plan, a path),
        else a path or ``zoo:NAME``; write ``./NAME`` for a file that is called like a variable.

        The options are those of ``trtlab bench``; ``%trtlab_bench --help`` lists them::

            %trtlab_bench zoo:squeezenet --batch 8 --streams 2 --quick
            %trtlab_bench zoo:digits_mobile --precision int8 --backend onnxruntime
            %trtlab_bench model --backend tensorrt --workspace 256MiB
            run = %trtlab_bench plan --batch 8
        """
        with _errors_in_place():
            options = self._options("bench", line)
            if options is None:  # it was --help
                return None
            settings = bench_settings(options)
            with progress_line() as progress:
                plan = _plan("bench", options, settings, progress)
                return benchmark(plan, progress=progress, **settings)

    def profile(self, line: str, cell: str | None = None) -> LayerProfile | None:
        """Time every layer of a model or plan.

        ``%%trtlab_profile [options]`` runs the cell and profiles what its last line evaluates
        to: a model, a plan, a path or ``zoo:NAME``. What the cell defines stays defined::

            %%trtlab_profile --batch 8 --quick
            model = trtlab.load("zoo:squeezenet")
            model

        ``%trtlab_profile MODEL [options]`` profiles a variable, a path or ``zoo:NAME``.

        Both give a ``LayerProfile``: it is shown, and ``_`` has it. What is timed is the model,
        from runs of their own, not the code in the cell. The options are those of ``trtlab
        profile``; ``%trtlab_profile --help`` lists them.
        """
        with _errors_in_place():
            # The cell runs once its options are known to be right; until then a name stands there.
            options = self._options("profile", line if cell is None else f"the-cell {line}")
            if options is None:
                return None
            if cell is not None:
                options.model = self._value(cell)
            settings = profile_settings(options)
            with progress_line() as progress:
                plan = _plan("profile", options, settings, progress)
                return profile(plan, progress=progress, **settings)

    def _options(self, command: str, line: str) -> argparse.Namespace | None:
        """Read a line; None after ``--help``, which printed itself.

        Raises:
            SpecError: an option is wrong.
        """
        words = io.StringIO()
        try:
            with contextlib.redirect_stderr(words):
                options = parser().parse_args([command, *shlex.split(line)])
        except ValueError as error:  # a quote that is not closed
            raise SpecError(f"{line!r} was not read: {error}.", hint="Close the quote.") from error
        except SystemExit as end:
            if not end.code:
                return None
            said = words.getvalue().splitlines()[0].removeprefix("trtlab: ")
            hint = f"%trtlab_{command} --help lists the options."
            raise SpecError(f"{said[:1].upper()}{said[1:]}.", hint=hint) from end
        if options.json or getattr(options, "output", None):
            raise SpecError(
                "--json and -o belong to the command line.",
                hint="Leave them out: the magic gives the record itself.",
            )
        options.model = self._shell.user_ns.get(options.model, options.model)
        return options

    def _value(self, cell: str) -> Any:
        """Run a cell in the user's namespace; returns what its last line evaluates to.

        Raises:
            SpecError: the last line is no expression; then nothing was run.
        """
        shell = self._shell
        source = shell.transform_cell(cell)
        name = shell.compile.cache(source)  # so that a traceback in it shows its lines
        tree = shell.compile.ast_parse(source, filename=name)
        if not tree.body or not isinstance(tree.body[-1], ast.Expr):
            raise SpecError(
                "The cell's last line has no value to profile.",
                hint="End the cell with the model or plan, as in: model",
            )
        last = ast.Expression(tree.body.pop().value)
        exec(compile(tree, name, "exec"), shell.user_ns)
        return eval(compile(last, name, "eval"), shell.user_ns)


@contextlib.contextmanager
def _errors_in_place() -> Iterator[None]:
    try:
        yield
    except TrtlabError as error:
        raise UsageError(harmless(str(error))) from error


def _plan(
    command: str, options: argparse.Namespace, settings: dict[str, Any], progress: Progress
) -> Plan:
    """Build the model, or take the plan that was given.

    Raises:
        SpecError: a plan was given, and settings of a build.
    """
    if not isinstance(options.model, Plan):
        return built_plan(options, progress)
    defaults = vars(parser().parse_args([command, ""]))
    asked = {name for name, value in vars(options).items() if value != defaults[name]}
    if vain := sorted(asked - {"model"} - set(settings)):
        words = ", ".join(f"--{name.replace('_', '-')}" for name in vain)
        raise SpecError(
            f"The plan is built already: {words} cannot change it.",
            hint="Give the model instead, or leave the settings out.",
        )
    return options.model
