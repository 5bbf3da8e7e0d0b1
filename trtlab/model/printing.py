"""Make text from a file safe to print."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape what a terminal would act on: control characters, bidi marks, lone surrogates.

    Names in a model file are somebody else's text. Records keep them as they are; error messages
    go to terminals, where ``\x1b[2J`` would clear the screen, so there it stays visible instead.

    Args:
        text: Any text.
        keep: Characters to leave alone, such as a newline in a long text.
    """
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii")
        for c in text
    )
