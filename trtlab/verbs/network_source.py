"""The source text of a network function, checked to stand on its own and to be its own."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from trtlab.errors import SpecError

_HINT = "Define it with def, and import and define inside it all that it uses."


def source_of(function: Callable[[Any, Any], Any]) -> str:
    """Return the text of ``def define(trt, network): …``.

    Raises:
        SpecError: it is no plain function, its text is not to be had or is not that of this
            function any more, or it needs names from around it, which the worker does not have.
    """
    if not isinstance(function, FunctionType):
        raise SpecError("The network is no function.", hint=_HINT)
    name, code = function.__name__, function.__code__
    try:
        # By the code object: of the function, getsource would follow __wrapped__.
        text = textwrap.dedent(inspect.getsource(code))
        body = ast.parse(text).body
        compiled = compile(text, "<network function>", "exec")
    except (OSError, TypeError, SyntaxError) as error:
        raise SpecError(f"The text of {name} is not to be had.", hint=_HINT) from error
    definition = body[0] if len(body) == 1 else None
    generates = code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE)
    if not isinstance(definition, ast.FunctionDef) or definition.decorator_list or generates:
        raise SpecError(f"{name} is no plain function.", hint=_HINT)
    extra = code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if code.co_argcount != 2 or function.__defaults__ or extra:
        raise SpecError(
            f"{name}{inspect.signature(function)} must take two arguments, without defaults.",
            hint="It gets the TensorRT module and an empty network.",
        )
    used = set(_globals_of(code))
    shadowed = {n for n in used if n in function.__globals__ and hasattr(builtins, n)}
    foreign = sorted({*code.co_freevars, *(used - set(dir(builtins))), *shadowed})
    if foreign:
        raise SpecError(
            f"{name} uses {', '.join(foreign)} from around it, which its worker does not have.",
            hint=_HINT,
        )
    own = next(c for c in compiled.co_consts if isinstance(c, CodeType))
    if not _same(own, code):
        raise SpecError(
            f"The text of {name} changed since it was defined.", hint="Define or import it again."
        )
    return text


def _same(a: CodeType, b: CodeType) -> bool:
    """Whether two code objects do the same; files and line numbers do not matter."""

    def plain(code: CodeType) -> list[object]:
        return [repr(c) for c in code.co_consts if not isinstance(c, CodeType)]

    inner = [[c for c in code.co_consts if isinstance(c, CodeType)] for code in (a, b)]
    return (
        (a.co_code, a.co_names, a.co_varnames, plain(a))
        == (b.co_code, b.co_names, b.co_varnames, plain(b))
        and len(inner[0]) == len(inner[1])
        and all(_same(x, y) for x, y in zip(*inner, strict=True))
    )


def _globals_of(code: CodeType) -> Iterator[str]:
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_GLOBAL":
            yield step.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)
