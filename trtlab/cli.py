"""The command line: run a command, print its answer, end with the right exit code.

Results go to stdout, progress and errors to stderr. Exit codes: 0; 1 the job or the machine
failed; 2 wrong input or usage; 130 on Ctrl-C. Imports wait until they can be interrupted.
"""

from __future__ import annotations

import os
import sys

from trtlab.errors import WRONG_INPUT, StoreError, TrtlabError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from trtlab.commands.answer import Answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        _prepare_streams()
        from trtlab.commands.parser import parser

        options = parser().parse_args(arguments)
        answer: Answer = options.run(options)
        _print(answer, as_json=options.json)
        if answer.error is not None:
            _complain(answer.error)
    except TrtlabError as error:
        _complain(error)
        return 2 if isinstance(error, WRONG_INPUT) else 1
    except BrokenPipeError:
        _drop_stdout()  # the reader (head, less) has gone
        return 0
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user
        import traceback

        words = f"Something unexpected failed: {type(error).__name__}: {error}"
        hint = "This is a fault of trtlab: please report it with its details."
        _complain(TrtlabError(words, hint=hint, details=traceback.format_exc()))
        return 1
    except KeyboardInterrupt as stop:
        _say(str(stop) or "Stopped. What was finished is in the store.")
        return 130
    return answer.code if answer.error is None else 1


def _prepare_streams() -> None:
    """Make every stream writable: closed ones lead nowhere, odd encodings get escapes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # as in: trtlab doctor >&-
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _print(answer: Answer, *, as_json: bool) -> None:
    from trtlab.terminal import harmless

    text = _json(answer.data) if as_json else harmless(answer.text)
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_stdout()
        raise StoreError(
            f"The answer was not written: {error.strerror}.", hint="Send it somewhere else."
        ) from error


def _json(data: object) -> str:
    r"""Return ``data`` as JSON in printable ASCII: what is not becomes ``\uXXXX``."""
    import re

    from trtlab.codec import to_json

    def escaped(match: re.Match[str]) -> str:
        return re.sub("....", r"\\u\g<0>", match[0].encode("utf-16-be").hex())

    # Outside of strings JSON is ASCII, and msgspec writes no spaces there.
    return re.sub("[^ -~]", escaped, to_json(data).decode())


def _drop_stdout() -> None:
    """Keep Python from complaining about what it cannot write while it shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: TrtlabError) -> None:
    _say(f"trtlab: {error.message}")
    if error.hint:
        _say(f"  → {error.hint}")
    if error.details and os.environ.get("TRTLAB_DETAILS"):
        _say(error.details)
    elif error.details:
        _say("  (set TRTLAB_DETAILS=1 to see the details)")


def _say(text: str) -> None:
    from trtlab.terminal import say

    say(text)
