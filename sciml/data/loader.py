"""Batches of windows for training, read by worker processes."""

from __future__ import annotations

import json
import mmap
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from sciml.data._files import import_paths
from sciml.data.windows import Windows
from sciml.errors import InputError, is_whole

_COMMAND = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from sciml.data.loader import serve; serve()"
_AHEAD = 2  # batches in work for each worker


def order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of 0 ... count − 1 of one epoch. It is the order of Philox's raw output, which NumPy keeps the
    same in all versions."""
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch]))
    return np.argsort(bits.random_raw(count), kind="stable")


class Loader:
    """Batches of windows in an order that (seed, epoch, index) fixes, whatever the number of workers.

    Workers are fresh Python processes (never forked), which import NumPy and little else; they read into memory that
    they share with this process. They start with the first epoch and stay until `close`, or until this process ends,
    however it ends. A script needs no `if __name__ == "__main__"` for them.

    Args:
        windows: what to read.
        batch_size: windows in a batch.
        seed: of the order.
        workers: number of processes; 0 reads in this one.
        shuffle: a new random order each epoch; False keeps the order of the windows.
        drop_last: leave out a last batch that is not full.
        again: numbers of windows that come once more in every epoch, as often as they stand there.

    Raises:
        InputError: a number out of range.
    """

    def __init__(
        self,
        windows: Windows,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        again: Any = (),
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("workers", workers, 0)):
            if not is_whole(value) or value < least:
                raise InputError(f"{name}: expected an integer >= {least}, got {value!r}")
        more = np.asarray(again, dtype=np.int64).reshape(-1)
        if more.size and not 0 <= more.min() <= more.max() < len(windows):
            raise InputError(
                f"again: expected numbers of windows below {len(windows)}, got {more.min()} to {more.max()}"
            )
        self.sequence = np.concatenate([np.arange(len(windows)), more])
        if drop_last and batch_size > len(self.sequence):
            raise InputError(
                f"batch_size: {batch_size} is above the {len(self.sequence)} windows, and drop_last is set"
            )
        self.windows, self.batch_size, self.seed = windows, int(batch_size), int(seed)
        self.workers, self.shuffle, self.drop_last = int(workers), shuffle, drop_last
        self._pool: list[_Worker] = []
        self._generation = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.sequence), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def indices(self, epoch: int) -> list[np.ndarray]:
        """The window numbers of every batch of an epoch."""
        sequence = self.sequence
        if self.shuffle:
            sequence = sequence[order(len(sequence), self.seed, int(epoch))]
        return [sequence[k * self.batch_size : (k + 1) * self.batch_size] for k in range(len(self))]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """The batches of an epoch, from batch number `start` on: what `Windows.batch` gives, and "index" (B,).

        Raises:
            InputError: a negative number, or a `start` beyond the epoch.
        """
        if epoch < 0 or not 0 <= start <= len(self):
            raise InputError(f"epoch: expected epoch >= 0 and start from 0 to {len(self)}, got {epoch} and {start}")
        self._generation += 1
        batches = self.indices(epoch)[start:]
        return self._alone(batches) if self.workers == 0 else self._together(batches, self._generation)

    def _alone(self, batches: list[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        for indices in batches:
            yield self.windows.batch(indices) | {"index": indices}

    def _together(self, batches: list[np.ndarray], generation: int) -> Iterator[dict[str, np.ndarray]]:
        pool = self._start()
        for worker in pool:
            worker.drain()
        ahead = min(_AHEAD * len(pool), len(batches))
        for k in range(ahead):
            pool[k % len(pool)].send(batches[k])
        for k, indices in enumerate(batches):
            if generation != self._generation:
                raise RuntimeError("loader: another epoch was started; this iterator cannot go on")
            try:
                values, given = pool[k % len(pool)].receive(indices)
                if k + ahead < len(batches):
                    pool[(k + ahead) % len(pool)].send(batches[k + ahead])
            except BaseException:  # Ctrl-C, too: what the workers would say next could not be told apart
                self.close()
                raise
            yield self.windows.label(indices, values, given) | {"index": indices}

    def _start(self) -> list[_Worker]:
        if not self._pool:
            self._pool = [_Worker(self.windows, self.batch_size) for _ in range(self.workers)]
        return self._pool

    def close(self) -> None:
        """End the workers; a later epoch starts others."""
        for worker in self._pool:
            worker.close()
        self._pool = []

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # the interpreter may be half gone
            pass


class _Worker:
    """One process, the memory shared with it, and the batches that it is at work on (oldest first)."""

    def __init__(self, windows: Windows, batch_size: int) -> None:
        self.windows = windows
        values, given = windows.buffers(0)
        self.slot = max(batch_size * (_row(values) + _row(given)), 1)
        with tempfile.TemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as file:
            try:
                reserve = getattr(os, "posix_fallocate", None)  # absent on macOS
                if reserve is None:
                    file.truncate(self.slot * _AHEAD)
                else:
                    reserve(file.fileno(), 0, self.slot * _AHEAD)
            except OSError as error:
                raise InputError(f"loader: no room for {self.slot * _AHEAD} bytes: {error.strerror}") from None
            self.memory = mmap.mmap(file.fileno(), self.slot * _AHEAD)
            threads = {k: "1" for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
            paths = json.dumps(import_paths())
            self.process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, paths],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | threads,
                pass_fds=(file.fileno(),),
            )
            self.pending: list[int] = []
            self.count = 0
            self._write(pickle.dumps((windows, file.fileno(), self.slot)))
            self._reply()  # it has the memory now

    def send(self, indices: np.ndarray) -> None:
        slot = self.count % _AHEAD
        self._write(struct.pack("<Q", slot) + np.asarray(indices, "<i8").tobytes())
        self.pending.append(slot)
        self.count += 1

    def receive(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The arrays of the oldest batch in work, as copies: its memory is used again."""
        slot = self.pending.pop(0)
        self._reply()
        values, given = _views(self.windows, self.memory, slot * self.slot, len(indices))
        return values.copy(), given.copy()

    def drain(self) -> None:
        """Wait for and forget batches that nobody took."""
        while self.pending:
            self.pending.pop(0)
            self._reply()

    def _write(self, message: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(struct.pack("<Q", len(message)) + message)
            self.process.stdin.flush()
        except BrokenPipeError:
            self._dead()

    def _reply(self) -> None:
        assert self.process.stdout is not None
        head = self.process.stdout.read(8)
        if len(head) < 8:
            self._dead()
        text = self.process.stdout.read(struct.unpack("<Q", head)[0])
        if text:
            raise InputError(text.decode())

    def _dead(self) -> None:
        raise RuntimeError(f"loader: a worker process ended unexpectedly (exit status {self.process.wait()})")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass


def _row(array: np.ndarray) -> int:
    return int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize


def _views(windows: Windows, memory: Any, offset: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of one batch within shared memory."""
    shapes = [(count, *b.shape[1:]) for b in windows.buffers(0)]
    found = []
    for shape in shapes:
        size = int(np.prod(shape, dtype=np.int64))
        found.append(np.frombuffer(memory, np.float32, size, offset).reshape(shape))
        offset += size * 4
    return found[0], found[1]


def serve() -> None:
    """A worker's loop: read requests from stdin until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that trains
    source, out = sys.stdin.buffer, sys.stdout.buffer

    def receive() -> bytes | None:
        head = source.read(8)
        return source.read(struct.unpack("<Q", head)[0]) if len(head) == 8 else None

    def reply(text: str = "") -> None:
        out.write(struct.pack("<Q", len(text.encode())) + text.encode())
        out.flush()

    first = receive()
    if first is None:
        return
    windows, fd, slot_bytes = pickle.loads(first)  # from the parent process, through a private pipe
    memory = mmap.mmap(fd, slot_bytes * _AHEAD)
    os.close(fd)
    reply()
    while (message := receive()) is not None:
        (slot,) = struct.unpack("<Q", message[:8])
        indices = np.frombuffer(message, "<i8", offset=8)
        try:
            windows.fill(indices, *_views(windows, memory, slot * slot_bytes, len(indices)))
            reply()
        except Exception as error:
            reply(str(error) or type(error).__name__)
