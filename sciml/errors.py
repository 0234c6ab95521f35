"""The errors that a user of sciml meets.

`InputError` and its kin mean: what was given cannot be used, and the message says which argument, what was expected
and what was got. The command line turns them into one line and exit status 2.
"""

from __future__ import annotations

import difflib
import errno
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


class InputError(ValueError):
    """An argument, a setting or a file that cannot be used as given."""


class FileFormatError(InputError):
    """A file whose content is not what its format promises; the message names file and variable."""


class SolverError(RuntimeError):
    """A computation that failed although its input was admissible, for instance a state that became non-finite."""


class ConvergenceError(SolverError):
    """An iteration that found no solution, or a solution whose derivatives cannot be had; the message says which."""


class TrainingError(RuntimeError):
    """Training that had to stop; the message names the step, the tensor and the last good checkpoint."""


def is_number(value: Any) -> bool:
    """Whether `value` is one finite real number; True and False are none."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def is_whole(value: Any) -> bool:
    """Whether `value` is an integer; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def positive(name: str, value: Any, least: int = 1) -> int:
    """`value` as an int ≥ `least`, or an InputError that names the argument."""
    if not is_whole(value) or value < least:
        raise InputError(f"{name}: expected a whole number ≥ {least}, got {value!r}")
    return int(value)


def suggest(name: str, options: Iterable[str]) -> str:
    """The tail of an error message: the option nearest to `name`, or else all of them."""
    options = sorted(options)
    near = difflib.get_close_matches(str(name), options, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(options)}" if options else ""


def in_words(error: BaseException) -> tuple[int, str]:
    """(exit status, one line) of an error that ended a command or a process: 2 for bad input, 1 for what failed."""
    if isinstance(error, InputError):
        return 2, _one_line(str(error))
    if isinstance(error, SolverError | TrainingError):
        return 1, _one_line(str(error))
    if isinstance(error, OSError):
        return 2, _one_line(_system(error))
    if isinstance(error, MemoryError):
        return 1, "out of memory; try a smaller batch size, resolution or number of cases"
    where = "set SCIML_TRACEBACK=1 for where it happened"
    return 1, _one_line(f"internal error, {type(error).__name__}: {error} ({where})")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _system(error: OSError) -> str:
    name = error.filename if error.filename is not None else "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{name}: no space left to write it; expected room on the disk"
    if isinstance(error, FileNotFoundError):
        return f"{name}: expected a file or folder, got nothing of that name"
    if isinstance(error, PermissionError):
        return f"{name}: permission denied; expected a file or folder that this user may use"
    if isinstance(error, NotADirectoryError):
        return f"{name}: a part of this path is a file, expected a folder"
    return f"{name}: {error.strerror or error}"
