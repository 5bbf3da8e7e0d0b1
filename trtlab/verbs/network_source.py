"""The source text of a network function, checked to stand on its own."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from trtlab.errors import SpecError

_HINT = "Define it with def, and import and define inside it all that it uses."


def source_of(function: Callable[[Any, Any], Any]) -> str:
    """Return the text of ``def define(trt, network): …``.

    Raises:
        SpecError: it is no plain function, its text is not to be had, or it needs names from
            around it, which do not exist in the worker.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        raise SpecError("The network is no function.", hint=_HINT)
    try:
        text = textwrap.dedent(inspect.getsource(function))
        body = ast.parse(text).body
    except (OSError, TypeError, SyntaxError) as error:
        raise SpecError(f"The text of {code.co_name} is not to be had.", hint=_HINT) from error
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef) or body[0].decorator_list:
        raise SpecError(f"{code.co_name} is no plain function.", hint=_HINT)
    if code.co_argcount != 2:
        raise SpecError(
            f"{code.co_name} takes {code.co_argcount} arguments.",
            hint="It gets two: the TensorRT module and an empty network.",
        )
    foreign = sorted({*code.co_freevars, *_globals_of(code)} - set(dir(builtins)))
    if foreign:
        raise SpecError(
            f"{code.co_name} uses {', '.join(foreign)} from around it, "
            "which its worker does not have.",
            hint=_HINT,
        )
    return text


def _globals_of(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)
