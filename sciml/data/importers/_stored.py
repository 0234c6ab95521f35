"""Arrays of .npy, .npz and .mat files: names, shapes and types at once, values when they are asked for.

Headers are checked against the sizes of files before anything is read, and Python objects (pickles) are never.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from sciml.data._inspect import DEFLATE_RATIO
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError

MOST_HEADER = 10_000
MOST_MEMBERS = 10_000
BOMB_BYTES, BOMB_RATIO = 1 << 32, 100  # what is that large unpacked and shrinks that much is no array of numbers
LITTLE = 1 << 20  # numbers of an array that is looked into to find out what it is


@dataclass(frozen=True)
class Stored:
    """An array in a file.

    Args:
        name: of the variable; of a .npy file its name without the ending.
        file: relative to the source.
        shape, dtype: as stored.
        load: gives the values, in the machine's byte order; large ones of .npy files stay in the file.
        problem: why it cannot be used; "" where it can.
    """

    name: str
    file: str
    shape: tuple[int, ...]
    dtype: np.dtype
    load: Callable[[], np.ndarray]
    problem: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def is_number(self) -> bool:
        return not self.problem and self.dtype.kind in "biufc"

    @property
    def long(self) -> tuple[int, ...]:
        """The shape without axes of length 1."""
        return tuple(n for n in self.shape if n != 1)

    def told(self) -> str:
        return f"{self.name} {'×'.join(map(str, self.shape)) or 'one number'} {self.dtype.name}"


def arrays_of(source: Source, name: str) -> dict[str, Stored]:
    """The arrays of a file.

    Raises:
        FileFormatError: damaged, or not what its ending says.
    """
    ending = name.rpartition(".")[2].lower()
    if ending == "npy":
        return _npy(source, name)
    return _npz(source, name) if ending == "npz" else _mat(source, name)


def _npy(source: Source, name: str) -> dict[str, Stored]:
    path = source.path(name)
    with source.open(name) as file:
        shape, fortran, dtype = _header(file, str(path))
        offset = file.tell()
    stem = name.rpartition("/")[2][:-4]
    if dtype.hasobject:
        return {stem: Stored(stem, name, shape, dtype, _nothing, OBJECTS)}
    expected, size = offset + math.prod(shape) * dtype.itemsize, source.size(name)
    if size != expected:
        why = "truncated?" if size < expected else "more than one array in it?"
        raise FileFormatError(f"{path}: {size} bytes, expected {expected} for {dtype} of shape {shape}; {why}")

    def load() -> np.ndarray:
        order = "F" if fortran else "C"
        if not math.prod(shape):
            return np.empty(shape, dtype.newbyteorder("="))
        values = np.memmap(path, dtype, "r", offset, shape, order)
        if values.nbytes <= 64 << 20 or not dtype.isnative:
            return np.array(values, dtype=dtype.newbyteorder("="))
        return values

    return {stem: Stored(stem, name, shape, dtype, load, _refused(dtype))}


OBJECTS = "holds Python objects (a pickle), which are not read; save plain numbers: np.save(file, array.astype(float))"


def _nothing() -> np.ndarray:
    raise FileFormatError("no array of numbers")


def _refused(dtype: np.dtype) -> str:
    if dtype.hasobject:
        return OBJECTS
    if dtype.names:
        return f"an array of records ({', '.join(dtype.names[:5])}); save a plain array for each"
    return "" if dtype.kind in "biufcUSMm" else f"values of type {dtype}"


def _header(file: Any, path: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=MOST_HEADER)
        elif version in ((2, 0), (3, 0)):
            read: Any = np.lib.format._read_array_header  # type: ignore[attr-defined]  # the public one is of 2.0 alone
            shape, fortran, dtype = read(file, version=version, max_header_size=MOST_HEADER)
        else:
            raise ValueError(f"version {version}")
        shape = tuple(int(n) for n in shape)
        if any(n < 0 for n in shape):
            raise ValueError(f"shape {shape}")
    except FileFormatError:
        raise
    except Exception as error:  # NumPy, and Python's parser, say many things about a damaged header
        first = (str(error).splitlines() or [""])[0][:150]
        raise FileFormatError(f"{path}: damaged or no .npy file ({first})") from None
    return shape, fortran, dtype


def _npz(source: Source, name: str) -> dict[str, Stored]:
    path, size = source.path(name), source.size(name)
    found: dict[str, Stored] = {}
    try:
        with source.open(name) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise FileFormatError(f"{path}: {len(members)} arrays, expected at most {MOST_MEMBERS}")
            if sum(m.compress_size for m in members) > size:
                raise FileFormatError(f"{path}: damaged: parts that lie on each other, or more than its {size} bytes")
            for member in members:
                found |= _member(archive, member, source, name, size)
    except FileFormatError:
        raise
    except Exception as error:  # whatever zipfile says about a damaged archive
        raise FileFormatError(f"{path}: damaged, truncated or no .npz file ({_first(error)})") from None
    if not found:
        raise FileFormatError(f"{path}: holds no array")
    return found


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, source: Source, name: str, size: int
) -> dict[str, Stored]:
    """One array of a .npz file; what is no array is named as such."""
    where, key = f"{source.path(name)}: {member.filename!r:.80}", member.filename.removesuffix(".npy")
    if member.is_dir():
        return {}
    if not member.filename.endswith(".npy"):
        return {key: Stored(key, name, (), np.dtype("V"), _nothing, "no array")}
    if member.file_size > max(member.compress_size, 1) * DEFLATE_RATIO and member.compress_type == zipfile.ZIP_DEFLATED:
        raise FileFormatError(f"{where}: {member.file_size} bytes from {member.compress_size}: damaged")
    if member.file_size > BOMB_BYTES and member.file_size > member.compress_size * BOMB_RATIO:
        raise FileFormatError(
            f"{where}: {member.file_size} bytes from {member.compress_size} are refused; save it as a .npy file"
        )
    with archive.open(member) as file:
        shape, fortran, dtype = _header(file, where)
    if dtype.hasobject:
        return {key: Stored(key, name, shape, dtype, _nothing, OBJECTS)}
    count = math.prod(shape) * dtype.itemsize
    if not 0 < member.file_size - count <= MOST_HEADER + 128:
        raise FileFormatError(f"{where}: {member.file_size} bytes, but shape {shape} of {dtype}; damaged")

    def load() -> np.ndarray:
        try:
            with source.open(name) as raw, zipfile.ZipFile(raw) as again, again.open(member) as file:
                _header(file, where)
                values = np.empty(math.prod(shape), dtype)
                _fill(file, values, where)
                if file.read(1):
                    raise FileFormatError(f"{where}: goes on behind its array; damaged")
        except FileFormatError:
            raise
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise FileFormatError(f"{where}: damaged ({_first(error)})") from None
        return values.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="), copy=False)

    return {key: Stored(key, name, shape, dtype, load, _refused(dtype))}


def _fill(file: Any, values: np.ndarray, where: str) -> None:
    """Read so many bytes, in parts."""
    room, at = values.view(np.uint8).data if values.nbytes else memoryview(b""), 0
    while at < len(room):
        part = file.read(min(len(room) - at, 1 << 24))
        if not part:
            raise FileFormatError(f"{where}: ends after {at} of {len(room)} bytes; truncated")
        room[at : at + len(part)] = part
        at += len(part)


def _mat(source: Source, name: str) -> dict[str, Stored]:
    from sciml.data.importers._matlab import matlab_contents

    found, left = matlab_contents(source, name)
    stored = {k: Stored(k, name, v.shape, v.dtype, lambda v=v: v) for k, v in found.items()}
    others = {k: Stored(k, name, (), np.dtype("V"), _nothing, why) for k, why in left.items() if k not in stored}
    return stored | others


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:150] or type(error).__name__


def little(stored: Stored) -> np.ndarray | None:
    """The values of an array that is small enough to be looked into, as real numbers; None of others."""
    if not stored.is_number or stored.size > LITTLE or not stored.size:
        return None
    values = stored.load()
    if values.dtype.kind == "c":
        return None
    return values.astype(np.float64)


def is_archive_of_arrays(file: BinaryIO) -> bool:
    """Whether a zip file begins with an array."""
    head = file.read(200)
    return head.startswith(b"PK\x03\x04") and b".npy" in head
