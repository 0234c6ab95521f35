"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from sciml.data import _files
from sciml.errors import InputError


def write_text(out: str | os.PathLike[str], text: str) -> Path:
    """Write `text` in UTF-8, as `write_bytes`."""
    return write_bytes(out, text.encode("utf-8"))


def write_bytes(out: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to a temporary file beside `out`, flush it to disk, and rename it to `out`.

    Folders on the way are made; "~" is the home folder, a symbolic link stays, and a file that was there before
    hands on its permissions.

    Raises:
        InputError: `out` cannot be written, or the disk is full; it is then as it was.
    """
    target = Path(_files.given(out, "out"))
    if os.path.isdir(target):
        raise InputError(f"out: expected a file to write, got the folder {target}")
    _files.require_name(str(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: cannot write {target}: {error.strerror or error}") from None
    with _files.replacing(target) as part:
        part.write_bytes(content)
    return target
