"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sciml.errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`; when the block ends well, make it durable and rename it to `path`.

    On any failure the temporary file is removed and `path` is as it was.

    Raises:
        InputError: the folder is missing or not writable, or the disk is full; one line that names `path`.
    """
    target = Path(path)
    parent = target.parent
    if target.is_dir():
        raise InputError(f"{target}: is a folder, expected a file name")
    if not parent.is_dir():
        raise InputError(f"{target}: the folder {str(parent)!r} does not exist")
    part = parent / f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part"
    try:
        yield part
        sync(part)
        os.replace(part, target)
        sync(parent)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{target}: cannot write: {reason(error)}") from None
    finally:
        part.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """What the operating system said, also where HDF5 wraps it in its own words."""
    found = re.search(r"errno = (\d{1,3})\b", str(error))
    if found:
        return os.strerror(int(found.group(1)))
    return ((error.strerror or str(error)).splitlines() or ["unknown failure"])[0]


def sync(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def side_car(path: str | os.PathLike[str]) -> Path:
    """Where the volatile facts about a file are kept: `<file>.json`."""
    return Path(f"{os.fspath(path)}.json")


def write_json(path: Path, content: Any) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
