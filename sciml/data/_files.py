"""Paths as people give them, and files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sciml.errors import InputError


def given(path: Any, what: str = "path") -> str:
    """A path that a person gave, as text; "~" is their home folder.

    Raises:
        InputError: not a path, or one that no system takes.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InputError(f"{what}: expected a path, got {path!r:.80}")
    name = os.path.expanduser(os.fspath(path))
    if not name or "\0" in name:
        raise InputError(f"{what}: {name!r:.80} is not the name of a file or folder")
    return name


def absolute(path: Any, what: str = "path") -> str:
    """As `given`, from the root of the file system on."""
    name = given(path, what)
    try:
        return os.path.abspath(name)
    except OSError:  # only relative names ask where we are
        raise InputError(f"{name}: the current folder does not exist any more; give an absolute path") from None


def import_paths() -> list[str]:
    """Where Python looks for modules, for a process that starts in another folder."""
    found = []
    for place in sys.path:
        try:
            found.append(place or os.getcwd())
        except OSError:  # the current folder was removed, so nothing can be imported from it
            continue
    return found


def require_name(target: str, extra: str = "") -> None:
    """Raise InputError where the file system does not take the name of `target`, or the same with `extra` behind it."""
    parent, name = os.path.split(target)
    try:
        most = os.pathconf(parent or ".", "PC_NAME_MAX") - len(extra)
    except (OSError, ValueError, AttributeError):
        return
    if len(os.fsencode(name)) > most:
        raise InputError(f"{target:.80}...: a name of {len(os.fsencode(name))} bytes, expected at most {most}")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`; when the block ends well, make it durable and rename it to `path`.

    A symbolic link stays, and the file behind it is replaced; a file that was there before hands on its permissions. On
    any failure the temporary file is removed and `path` is as it was.

    Raises:
        InputError: the folder is missing or not writable, or the disk is full; one line that names `path`.
    """
    name = given(path)
    target = Path(os.path.realpath(absolute(name)))
    parent = target.parent
    require_name(str(target))
    if os.path.isdir(target):
        raise InputError(f"{name}: is a folder, expected a file name")
    if not os.path.isdir(parent):
        shown = os.path.dirname(name) if not os.path.islink(name) else str(parent)
        raise InputError(f"{name}: the folder {shown!r} does not exist")
    part = parent / f".{secrets.token_hex(8)}.part"  # short: the name itself may be as long as the system allows
    try:
        yield part
        if target.exists():
            shutil.copymode(target, part)
        sync(part)
        os.replace(part, target)
        sync(parent)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name}: cannot write: {reason(error)}") from None
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
    """Where the volatile facts about a file are kept: `<file>.json`, beside the file that a link leads to."""
    return Path(f"{os.path.realpath(absolute(path))}.json")


def write_json(path: Path, content: Any) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
