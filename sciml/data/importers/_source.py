"""What somebody points to: one file, or a folder and what lies below it. Layouts reach files through it alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from sciml.data import _files
from sciml.errors import FileFormatError, InputError

MOST_FILES, DEEPEST = 200_000, 8
MOST_TEXT = 1 << 31
#: how a file of each kind begins
SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": "HDF5", b"CDF\x01": "NetCDF-3", b"CDF\x02": "NetCDF-3", b"CDF\x05": "NetCDF-3",
    b"PK\x03\x04": "zip", b"PAR1": "Parquet", b"ARROW1": "Arrow", b"SQLite format 3": "SQLite", b"GRIB": "GRIB",
    b"SIMPLE  =": "FITS", b"$MeshFormat": "Gmsh", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf'\x1c": "7-zip",
    b"\x93NUMPY": "NumPy array", b"MATLAB 5.0": "MATLAB 5", b"MATLAB 7.3": "MATLAB 7.3", b"<?xml": "XML",
    b"<VTKFile": "VTK XML", b"# vtk DataFile": "legacy VTK", b"\x80\x02": "pickle", b"\x80\x03": "pickle",
    b"\x80\x04": "pickle", b"\x80\x05": "pickle", b"%PDF": "PDF", b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG",
}  # fmt: skip
#: what zip archives hold that are files of their own kind, by a name among their first
IN_ZIP = {
    b"[Content_Types].xml": "Office", b"xl/workbook": "Office", b"opendocument": "OpenDocument",
    b"/data.pkl": "PyTorch",
}  # fmt: skip


class Source:
    """A file, or a folder with its files by their relative names, in order; hidden ones are left out.

    Args:
        path: as somebody gave it.

    Raises:
        InputError: nothing is there, it cannot be read, or it holds more than can be looked through.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.root = Path(_files.absolute(path, "source"))
        self.left: list[str] = []  # what is to be said of its folders, once their names are known
        if not self.root.exists():
            raise InputError(f"{self.root}: no such file or folder")
        self.is_folder = self.root.is_dir()
        if not self.is_folder and not self.root.is_file():
            raise InputError(f"{self.root}: neither a file nor a folder")

    def __repr__(self) -> str:
        return f"Source({str(self.root)!r})"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of all files, relative to the folder, with "/"; of a file its own name."""
        if not self.is_folder:
            return (self.root.name,)
        found: list[str] = []
        left: list[str] = []
        for folder, folders, files in os.walk(self.root, followlinks=False):
            here = os.path.relpath(folder, self.root)
            depth = 0 if here == "." else here.count(os.sep) + 1
            shown = sorted(f for f in folders if not f.startswith("."))
            linked = [f for f in shown if os.path.islink(os.path.join(folder, f))]
            left += [f"{os.path.join(here, f)}/".removeprefix("./") for f in (linked if depth < DEEPEST else shown)]
            folders[:] = [f for f in shown if f not in linked] if depth < DEEPEST else []
            prefix = "" if here == "." else here.replace(os.sep, "/") + "/"
            found += [prefix + f for f in files if not f.startswith(".")]
            if len(found) > MOST_FILES:
                raise InputError(f"{self.root}: more than {MOST_FILES} files, expected a folder of one data set")
        if left:
            self.left.append(f"{len(left)} folders that are links, or too deep, are left out: {', '.join(left[:4])}")
        return tuple(sorted(found, key=natural))

    def matching(self, *patterns: str) -> list[str]:
        """Names whose last part matches one of the patterns, whatever the case of letters."""
        return [n for n in self.names if any(fnmatch(n.rsplit("/", 1)[-1].lower(), p.lower()) for p in patterns)]

    def groups(self, names: Sequence[str]) -> dict[str, list[str]]:
        """The names by the folder that they are in, "" for the root's own, in order."""
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(name.rpartition("/")[0], []).append(name)
        return dict(sorted(found.items(), key=lambda item: natural(item[0])))

    def path(self, name: str = "") -> Path:
        """Where a file is.

        Raises:
            InputError: a name, or a link, that leads out of the folder.
        """
        if not self.is_folder:
            if name not in ("", self.root.name):
                raise InputError(f"{self.root}: one file alone is read, not {name!r:.80}")
            return self.root
        if not name:
            return self.root
        path, root = self.root / name, os.path.realpath(self.root)
        if path.is_symlink() and not path.exists():
            raise InputError(f"{path}: a link to what is not there; remove it, or put the file itself there")
        if os.path.commonpath([os.path.realpath(path), root]) != root:
            raise InputError(f"{path}: leads out of the folder {self.root}; put the file itself there")
        return path

    def size(self, name: str = "") -> int:
        return self.path(name).stat().st_size

    def open(self, name: str = "") -> BinaryIO:
        """The file, for reading bytes.

        Raises:
            InputError: it cannot be opened.
        """
        path = self.path(name)
        try:
            if not path.is_file():
                raise InputError(f"{path}: not a file")
            return path.open("rb")
        except OSError as error:
            raise InputError(f"{path}: cannot open: {_files.reason(error)}") from None

    def head(self, name: str = "", count: int = 4096) -> bytes:
        """The first bytes."""
        with self.open(name) as file:
            return file.read(count)

    def text(self, name: str = "", most: int = MOST_TEXT) -> str:
        """The file as text: UTF-8, with or without its mark, else UTF-16 where marked, else Latin 1, which takes any.

        Raises:
            FileFormatError: larger than `most` bytes, or with zero bytes in it.
        """
        path, size = self.path(name), self.size(name)
        if size > most:
            raise FileFormatError(f"{path}: {size} bytes of text, expected at most {most}")
        with self.open(name) as file:
            content = file.read()
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            try:
                return content.decode("utf-16")
            except UnicodeDecodeError:
                raise FileFormatError(f"{path}: damaged UTF-16 text") from None
        if b"\0" in content:
            raise FileFormatError(f"{path}: expected text, got bytes")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("latin-1")

    def signature(self, name: str = "") -> str:
        """What kind of file it is by its first bytes, "" where these say nothing."""
        start = self.head(name, 4096)
        if start[257:262] == b"ustar":
            return "tar"
        if start.startswith(b"PK\x03\x04"):
            return next((kind for mark, kind in IN_ZIP.items() if mark in start), "zip")
        return next((kind for mark, kind in SIGNATURES.items() if start.startswith(mark)), "")


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key for sorting in which frame_2 comes before frame_10."""
    parts: list[tuple[int, int, str]] = []
    digits = ""
    for letter in name + "\0":
        if letter.isascii() and letter.isdigit():
            digits += letter
            continue
        if digits:
            parts.append((0, int(digits[:18]), digits))
            digits = ""
        parts.append((1, 0, letter))
    return tuple(parts)
