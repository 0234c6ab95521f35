"""The command line: `sciml COMMAND ...`, one module a command.

Bad input ends with exit status 2 and one line on standard error that names the argument or file, what was expected
and what was got; a computation that failed with 1; Ctrl-C with 130. Answers go to standard output, progress and
complaints to standard error. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (default: those of the process) and exit."""
    from sciml.cli._errors import explain

    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.unraisablehook = _hear
    _open_streams()
    shown, warnings.showwarning = warnings.showwarning, _complain
    try:
        from sciml.cli._app import app

        code = app(args=given, prog_name="sciml", standalone_mode=False)
        sys.stdout.flush()
        if code == 130:
            raise KeyboardInterrupt
    except SystemExit:
        raise
    except BaseException as error:
        if os.environ.get("SCIML_TRACEBACK") and isinstance(error, Exception):
            raise
        code, line = explain(error, given)
        if isinstance(error, BrokenPipeError):  # the reader of our output went away; do not complain again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if line:
            print(line, file=sys.stderr)
        if code == 130 and arguments is None:
            # Threads of numerical libraries may be in the middle of something, which an orderly end of the interpreter
            # does not survive. Whatever has to be tidied up has been, on the exception's way here.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(130)
    finally:
        warnings.showwarning = shown
    sys.exit(code if isinstance(code, int) else 0)


def _open_streams() -> None:
    """Characters that an output cannot show are replaced, and what is written to a closed one is dropped: neither may
    end a command whose work is done."""
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="replace" if name == "stdout" else "backslashreplace")


def _complain(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning is one line, without the place in the code that it came from."""
    print(f"sciml: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _hear(unraisable: Any) -> None:
    """Ctrl-C that came while Python ran a finaliser, which swallows exceptions, is said once more."""
    if unraisable.exc_type is not None and issubclass(unraisable.exc_type, KeyboardInterrupt):
        _thread.interrupt_main()
    else:
        sys.__unraisablehook__(unraisable)
