"""Checks of what is typed: paths, names and lists."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from sciml.errors import InputError, suggest


def place(argument: str, path: str | Path) -> Path:
    """The path, `~` expanded."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"{argument}: nobody's home is {str(path).partition('/')[0]!r}, got {path}") from None


def readable_file(argument: str, path: str | Path) -> Path:
    """Return `path` if it names a file with content; `argument` is how the message calls it."""
    if not str(path):
        raise InputError(f"{argument}: expected the path of a file, got nothing")
    target = place(argument, path)
    if target.is_dir():
        raise InputError(f"{argument}: {target} is a folder, expected a file")
    if not target.exists():
        raise InputError(f"{argument}: {target} does not exist, expected a file{_neighbour(target)}")
    if not target.is_file():
        raise InputError(f"{argument}: {target} is not a regular file")
    if target.stat().st_size == 0:
        raise InputError(f"{argument}: {target} is empty, expected a file with content")
    return target


def readable(argument: str, path: str | Path) -> Path:
    """Return `path` if it names a file with content or a folder."""
    target = place(argument, path)
    if target.is_dir():
        return target
    if not target.exists():
        raise InputError(f"{argument}: {target} does not exist, expected a file or a folder{_neighbour(target)}")
    return readable_file(argument, path)


def readable_data(argument: str, path: str | Path) -> Path:
    """Return `path` if it may be a data set: a file with content, or a .zarr folder."""
    target = place(argument, path)
    return readable_folder(argument, target) if target.suffix == ".zarr" else readable_file(argument, target)


def readable_folder(argument: str, path: str | Path) -> Path:
    """Return `path` if it names a folder."""
    target = place(argument, path)
    if not target.exists():
        raise InputError(f"{argument}: {target} does not exist, expected a folder{_neighbour(target)}")
    if not target.is_dir():
        raise InputError(f"{argument}: {target} is a file, expected a folder")
    return target


def run_folder(argument: str, path: str | Path) -> Path:
    """Return `path` if it names the folder of a finished run."""
    target = readable_folder(argument, path)
    if not (target / "config.json").is_file():
        if (target / "checkpoints").is_dir():
            raise InputError(f"{argument}: {target} is a run cut short; go on with sciml train --resume")
        raise InputError(f"{argument}: {target} is no run, expected a folder with config.json")
    missing = missing_parts(target)
    if missing:
        raise InputError(f"{argument}: {target} is incomplete, expected {missing[0]} in it")
    return target


def missing_parts(folder: Path) -> list[str]:
    """Files that the config.json in a folder counts as parts of the run, and that are not there."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        config = {}
    tail = "_sha256"
    known = {str(k) for k in config if str(k).endswith(tail)} if isinstance(config, dict) else set()
    parts = [k.removesuffix(tail) for k in sorted(known - {"config_sha256"})] if known else ["weights", "support"]
    files = [f"{part}.safetensors" for part in sorted(parts, reverse=True)]  # weights before the support
    return [file for file in files if not (folder / file).is_file()]


def run_folders(argument: str, paths: Sequence[str]) -> list[Path]:
    """Return the folders of finished runs, each named once."""
    found = [run_folder(argument, path) for path in paths]
    if len(set(found)) < len(found):
        raise InputError(f"{argument}: expected every run once")
    return found


def new_file(argument: str, path: str | Path, overwrite: bool = False) -> Path:
    """Return `path` if a file may be written there: checked before the work that makes its content."""
    target = place(argument, path)
    if target.is_dir():
        raise InputError(f"{argument}: {target} is a folder, expected a file to write")
    if target.exists() and not overwrite:
        raise InputError(f"{argument}: {target} exists; expected a new file, or --overwrite to replace it")
    _writable(argument, target.parent)
    return target


def new_folder(argument: str, path: str | Path, may_exist: bool = False) -> Path:
    """Return `path` if a folder may be made there."""
    if not str(path):
        raise InputError(f"{argument}: expected the path of a folder, got nothing")
    target = place(argument, path)
    if target.exists() and not target.is_dir():
        raise InputError(f"{argument}: {target} is a file, expected a folder to write")
    if target.is_dir() and any(target.iterdir()) and not may_exist:
        raise InputError(f"{argument}: {target} exists and is not empty; expected a new folder")
    _writable(argument, target.parent)
    return target


def _writable(argument: str, folder: Path) -> None:
    """Check the nearest existing folder above a file that is to be written, without creating anything."""
    for parent in (folder, *folder.parents):
        if parent.exists():
            if not parent.is_dir():
                raise InputError(f"{argument}: {parent} is a file, expected a folder to write in")
            try:  # permissions alone do not tell: read-only and virtual file systems, and the superuser
                tempfile.TemporaryFile(dir=parent).close()
            except OSError as error:
                reason = error.strerror or error
                raise InputError(
                    f"{argument}: cannot write in {parent} ({reason}), expected a writable folder"
                ) from None
            return


def _neighbour(target: Path) -> str:
    try:
        names = [p.name for p in target.parent.iterdir()] if target.parent.is_dir() else []
    except OSError:
        return ""
    import difflib

    near = difflib.get_close_matches(target.name, names, n=1, cutoff=0.6)
    return f"; did you mean {target.parent / near[0]}?" if near else ""


def choice(argument: str, value: str, options: Iterable[str]) -> str:
    """Return `value` if it is one of `options`."""
    known = list(options)
    if value not in known:
        raise InputError(f"{argument}: expected one of {', '.join(known)}, got {value!r}{_near(value, known)}")
    return value


def names(argument: str, value: str) -> list[str]:
    """Names separated by commas, each once."""
    found = [name.strip() for name in value.split(",")]
    if len(set(found)) < len(found) or "" in found:
        raise InputError(f"{argument}: expected names separated by commas, every name once, got {value!r}")
    return found


def choices(argument: str, value: str, options: Sequence[str]) -> list[str]:
    """Return the comma-separated `value` as names that are all among `options`."""
    found = names(argument, value)
    for name in found:
        choice(argument, name, options)
    return found


def at_least(argument: str, value: float | None, least: float) -> None:
    """Check a number where one was given."""
    if value is not None and not (math.isfinite(value) and value >= least):
        raise InputError(f"{argument}: expected a number >= {least:g}, got {value:g}")


def _near(name: str, options: Sequence[str]) -> str:
    tail = suggest(name, options)
    return tail if "did you mean" in tail else ""


def device(argument: str, name: str) -> None:
    """Check the name of a device before the work that it is to do."""
    if name != "auto":
        from sciml.training.devices import device as available

        try:
            available(name)
        except InputError as error:
            raise InputError(f"{argument}: {error}") from None
