"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sciml.errors import InputError


def write_text(out: str | Path, text: str) -> Path:
    """Write `text` (UTF-8) to a temporary file beside `out`, flush it to disk, and rename it to `out`.

    Raises InputError naming `out` where its folder cannot hold a file or the disk is full; nothing is left behind.
    """
    target = Path(out)
    if target.is_dir():
        raise InputError(f"out: expected a file to write, got the folder {target}")
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise InputError(f"out: cannot write {target}: {error.strerror or error}") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
    return target
