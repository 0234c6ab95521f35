"""Values of one stored variable, read by offset.

What an isolated process found out about a variable (type, shape, where its chunks lie, see `sciml.data.probe`) is all
that is needed to read it with plain system calls. The HDF5 library takes no part in it, so that nothing in a file can
upset this process; and a `Stored` is small, picklable and reads from any process without importing h5py.
"""

from __future__ import annotations

import os
import threading
import zlib
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from sciml.errors import FileFormatError, InputError

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
_MOST_OPEN = 64


@dataclass(frozen=True)
class FileId:
    """Which file, and which state of it: a file that was replaced or changed since is not read."""

    path: str
    device: int
    inode: int
    size: int
    modified: int

    @staticmethod
    def of(path: str, fd: int) -> FileId:
        s = os.fstat(fd)
        return FileId(path, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns)


class _Handle:
    """An open descriptor that closes when nobody holds it any more, so that no thread ever reads from a number that
    has come to mean another file."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


_handles: dict[tuple[int, FileId], _Handle] = {}
_lock = threading.Lock()


def handle(file: FileId) -> _Handle:
    """An open descriptor of `file`, kept for the next call; hold the handle while its `fd` is in use.

    Raises:
        InputError: the file is gone, or is not the one that was checked.
    """
    key = (os.getpid(), file)
    found = _handles.get(key)
    if found is None:
        try:
            found = _Handle(os.open(file.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
        except OSError as error:
            raise InputError(f"{file.path}: cannot open: {error.strerror}") from None
        if FileId.of(file.path, found.fd) != file:
            raise InputError(f"{file.path}: the file has changed since it was opened; open it again")
        with _lock:
            while len(_handles) >= _MOST_OPEN:
                _handles.pop(next(iter(_handles)))
            _handles[key] = found
    return found


def release(file: FileId) -> None:
    """Forget the descriptor that is kept for `file`."""
    with _lock:
        _handles.pop((os.getpid(), file), None)


def _after_fork() -> None:
    """In a forked child: whoever held the lock is not here."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # absent on Windows
    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True, eq=False)
class Stored:
    """An array in a file.

    Args:
        chunk: chunk shape; None where the values are contiguous.
        offsets: file offset of each chunk, row-major over the chunk grid; or (first, step) if they are equidistant.
        sizes: stored bytes of each chunk; None where nothing is filtered.
        filters: filter codes in the order in which they were applied.
    """

    file: FileId
    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    chunk: tuple[int, ...] | None
    offsets: Any
    sizes: Any = None
    filters: tuple[int, ...] = ()
    grid: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        chunk = self.shape if self.chunk is None else self.chunk
        grid = tuple(-(-n // max(c, 1)) for n, c in zip(self.shape, chunk, strict=True))
        object.__setattr__(self, "grid", grid)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.float64)) * self.dtype.itemsize

    def row_bytes(self) -> int:
        """Bytes of one entry along the first axis."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def row_layout(self) -> tuple[int, int] | None:
        """(offset of row 0, bytes between rows) if every row is stored whole, unfiltered and equidistant, else None."""
        if self.filters or not self.shape:
            return None
        if self.chunk is None:
            return int(self.offsets[0]), self.row_bytes()
        if self.chunk[1:] == self.shape[1:] and self.chunk[0] == 1 and isinstance(self.offsets, tuple):
            return self.offsets
        return None

    def __getitem__(self, key: Any) -> np.ndarray:
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in [k for k in key if not isinstance(k, np.ndarray)]:
            at = next(i for i, k in enumerate(key) if k is Ellipsis)
            key = key[:at] + (slice(None),) * (self.ndim - len(key) + 1) + key[at + 1 :]
        key = key + (slice(None),) * (self.ndim - len(key))
        if not self.ndim:
            return self.rows(0, 1)[()]
        first = key[0]
        if isinstance(first, slice):
            start, stop, step = first.indices(self.shape[0])
            if step < 1:
                return self.rows(0, self.shape[0])[key]
            return self.rows(start, max(stop, start))[(slice(None, None, step), *key[1:])]
        if isinstance(first, int | np.integer):
            k = int(first) + (self.shape[0] if first < 0 else 0)
            if not 0 <= k < self.shape[0]:
                raise IndexError(f"index {first} is out of range for {self.name!r} of length {self.shape[0]}")
            return self.rows(k, k + 1)[(0, *key[1:])]
        picked = np.asarray(first)
        if picked.dtype == bool:
            picked = np.flatnonzero(picked)
        if picked.size == 0:
            return np.empty((0, *self.shape[1:]), self.dtype.newbyteorder("="))[(slice(None), *key[1:])]
        return np.concatenate([self[int(k)][None] for k in picked])[(slice(None), *key[1:])]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Entries start ... stop - 1 along the first axis, in the machine's byte order."""
        shape = (stop - start, *self.shape[1:]) if self.ndim else ()
        out = np.empty(shape, self.dtype)
        if out.size:
            layout = self.row_layout() if self.ndim else (int(self.offsets[0]), self.dtype.itemsize)
            if layout is not None and (layout[1] == self.row_bytes() or stop - start == 1):
                self._read(layout[0] + start * layout[1], out.reshape(-1).view(np.uint8).data)
            else:
                self._gather(start, stop, out)
        return out.astype(self.dtype.newbyteorder("="), copy=False)

    def _gather(self, start: int, stop: int, out: np.ndarray) -> None:
        assert self.chunk is not None
        deep = self.chunk[0]
        for first in range(start // deep, -(-stop // deep)):
            for rest in np.ndindex(*self.grid[1:]):
                block = self._block(int(np.ravel_multi_index((first, *rest), self.grid)))
                low = [c * n for c, n in zip((first, *rest), self.chunk, strict=True)]
                high = [min(a + n, s) for a, n, s in zip(low, self.chunk, self.shape, strict=True)]
                a, b = max(low[0], start), min(high[0], stop)
                ends = list(zip(low[1:], high[1:], strict=True))
                source = (slice(a - low[0], b - low[0]), *(slice(k - j) for j, k in ends))
                target = (slice(a - start, b - start), *(slice(j, k) for j, k in ends))
                out[target] = block[source]

    def _block(self, number: int) -> np.ndarray:
        """One whole chunk."""
        assert self.chunk is not None
        size = int(np.prod(self.chunk, dtype=np.int64)) * self.dtype.itemsize
        equidistant = isinstance(self.offsets, tuple)
        offset = self.offsets[0] + number * self.offsets[1] if equidistant else int(self.offsets[number])
        stored = size if self.sizes is None else int(self.sizes[number])
        raw = bytearray(stored)
        self._read(offset, memoryview(raw))
        data = bytes(raw)
        for code in reversed(self.filters):
            data = self._undo(code, data, size)
        if len(data) != size:
            self._fail(f"chunk {number} holds {len(data)} bytes, expected {size}")
        return np.frombuffer(data, self.dtype).reshape(self.chunk)

    def _undo(self, code: int, data: bytes, size: int) -> bytes:
        if code == DEFLATE:
            engine = zlib.decompressobj()
            try:
                return engine.decompress(data, size + 4)  # + 4: a checksum may come after deflation
            except zlib.error:
                self._fail("compressed data are damaged")
        if code == SHUFFLE:
            width = self.dtype.itemsize
            whole = len(data) // width * width
            turned = np.frombuffer(data, np.uint8, whole).reshape(width, -1).T
            return turned.tobytes() + data[whole:]
        if len(data) < 4 or fletcher32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            self._fail("a checksum does not agree: the data are damaged")
        return data[:-4]

    def _read(self, offset: int, into: memoryview) -> None:
        held = handle(self.file)
        done = 0
        while done < len(into):
            n = os.preadv(held.fd, [into[done : done + (1 << 30)]], offset + done)
            if n <= 0:
                self._fail(f"ends at byte {offset + done}, expected {len(into) - done} more")
            done += n

    def _fail(self, text: str) -> NoReturn:
        raise FileFormatError(f"{self.file.path}: variable {self.name!r}: {text}")


def fletcher32(data: bytes) -> int:
    """The checksum of HDF5's fletcher32 filter: two running sums of big-endian 16-bit words, modulo 65535."""
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2").astype(np.uint64)
    n = words.size
    low = int(words.sum()) if n else 0
    # Σ (n - i) w_i, summed in blocks so that 64 bits suffice
    high = sum(
        int(((n - k - np.arange(words[k : k + 65536].size, dtype=np.uint64)) * words[k : k + 65536]).sum())
        for k in range(0, n, 65536)
    )
    low, high = (s % 65535 or (65535 if s else 0) for s in (low, high))
    return high << 16 | low
