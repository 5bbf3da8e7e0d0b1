"""The source text of a network function, checked to stand on its own and to be its own."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from trtlab.errors import SpecError

_FUTURE = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as in a notebook
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag
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
    except (OSError, TypeError, SyntaxError) as error:
        raise SpecError(f"The text of {name} is not to be had.", hint=_HINT) from error
    definition = body[0] if len(body) == 1 else None
    generates = code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE)
    if not isinstance(definition, ast.FunctionDef) or definition.decorator_list or generates:
        raise SpecError(f"{name} is no plain function.", hint=_HINT)
    arguments = definition.args
    written = bool(arguments.defaults or any(arguments.kw_defaults))
    if not _is_current(code) or written != bool(function.__defaults__ or function.__kwdefaults__):
        raise SpecError(
            f"The text of {name} changed since it was defined.", hint="Define or import it again."
        )
    extra = code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    if code.co_argcount != 2 or written or extra:
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
    return text


def _is_current(code: CodeType) -> bool:
    """Whether the file, or notebook cell, that a function came from still makes this function.

    As a whole: what stands around a function has a part in how it is compiled.
    """
    lines = "".join(linecache.getlines(code.co_filename))
    try:
        whole = compile(
            lines, code.co_filename, "exec", code.co_flags & _FUTURE, dont_inherit=True
        )
    except (SyntaxError, ValueError):
        return False
    return any(_same(found, code) for found in _codes(whole) if _place(found) == _place(code))


def _place(code: CodeType) -> tuple[str, int]:
    return code.co_name, code.co_firstlineno


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


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
