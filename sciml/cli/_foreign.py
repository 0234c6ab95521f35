"""What `sciml info` says of files that are no data sets of this package: what they are, and what brings them in."""

from __future__ import annotations

import shlex
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from sciml.errors import FileFormatError, InputError

MOST_NAMES = 1000
MOST_UNPACKED = 64 << 20  # bytes of a compressed archive that are gone through for names
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_foreign(path: Path) -> bool:
    """Whether a file, or a folder of Zarr, is none of this package's own."""
    if path.is_file():
        if path.stat().st_size == 0 or path.suffix == ".zarr":
            return False
        with path.open("rb") as file:
            if file.read(8) != _HDF5:
                return path.suffix not in (".h5", ".hdf5", ".nc")
    elif not path.is_dir():
        return False
    try:
        import sciml.data

        sciml.data.open(path).close()
    except InputError:
        from sciml.data import importers

        found = importers.recognise(path)  # of a damaged file no more is known than that it is HDF5
        return found is not None and bool(found.needs or found.certainty > 1)
    return False


def describe(path: Path) -> dict[str, Any]:
    """The facts about foreign files as JSON values.

    Raises:
        InputError: no layout fits, and it is no archive.
    """
    from sciml.data import importers

    found = importers.recognise(path)
    size = path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    content: dict[str, Any] = {"path": str(path), "bytes": size}
    if found is None:
        from sciml.data.importers._serving import WAYS
        from sciml.data.importers._source import Source

        kind = Source(path).signature() if path.is_file() else ""
        names = None if kind in WAYS else archived(path)
        if names is None:
            importers.draft(path)  # says what it holds, and that no layout fits
            raise InputError(f"{path}: no known layout")
        return {
            "kind": "archive",
            **content,
            "names": names,
            "command": f"unpack it, then: sciml info {_word(path.parent)}",
        }
    name = f"{path.stem if path.is_file() else path.resolve().name}.h5"
    source = _word(path)
    commands = [f"sciml import {source} --out {_word(Path(name))}"]
    if found.needs:
        commands = [f"sciml import --explain {source} > map.toml", f"{commands[0]} --map map.toml"]
    return {
        "kind": "foreign", **content, "layout": found.layout, "title": found.title, "facts": dict(found.facts),
        "needs": found.needs, "commands": commands,
    }  # fmt: skip


def _word(path: Path) -> str:
    return shlex.quote(str(path))


class _Limited:
    """A stream that ends after so many bytes."""

    def __init__(self, file: Any):
        self.file, self.left = file, MOST_UNPACKED

    def read(self, count: int) -> bytes:
        part = self.file.read(min(count, self.left))
        self.left -= len(part)
        return part


def archived(path: Path) -> list[str] | None:
    """Names in a zip or tar archive, at most so many, without unpacking it; None where it is neither.

    Raises:
        FileFormatError: a damaged one.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(512)
    try:
        if start.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                return [ascii(n)[1:-1] for n in archive.namelist()[:MOST_NAMES]]
        if start[257:262] == b"ustar":
            with path.open("rb") as file:
                return _of_tar(file)
        opener = _opener(start)
        if opener is not None:
            with opener(path) as file:
                return _of_tar(_Limited(file))
    except FileFormatError:
        raise
    except Exception as error:  # whatever is said about a damaged archive
        first = (str(error).splitlines() or [""])[0][:120]
        raise FileFormatError(f"{path}: a damaged archive ({type(error).__name__}: {first})") from None
    return None


def _opener(start: bytes) -> Any:
    if start.startswith(b"\x1f\x8b"):
        import gzip

        return gzip.open
    if start.startswith(b"BZh"):
        import bz2

        return bz2.open
    if start.startswith(b"\xfd7zXZ\x00"):
        import lzma

        return lzma.open
    return None


def _of_tar(file: Any) -> list[str]:
    names: list[str] = []
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                names.append(ascii(member.name)[1:-1])
                if len(names) >= MOST_NAMES:
                    break
    except tarfile.ReadError:
        if not names:
            raise
    return names


def show(content: dict[str, Any]) -> None:
    from sciml.cli import _show

    console = _show.console()
    if content["kind"] == "archive":
        names = content["names"]
        shown = names[:20] + ([f"... ({len(names)} names and maybe more)"] if len(names) > 20 else [])
        items = [("size", _show.size(content["bytes"])), ("holds", "\n".join(shown)), ("next", content["command"])]
        console.print(_show.facts(f"{content['path']}: an archive", items))
        return
    items = [("size", _show.size(content["bytes"]))]
    items += [(name, _text(value)) for name, value in content["facts"].items()]
    if content["needs"]:
        items.append(("to be told", content["needs"]))
    items.append(("to read it", "\n".join(content["commands"])))
    console.print(_show.facts(f"{content['path']}: {content['title']}", items))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
