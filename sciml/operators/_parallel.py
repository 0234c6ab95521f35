"""Work shared among threads by samples rather than inside each operation.

A layer is a score of operations of a few tenths of a millisecond. Cut inside, each of them ends with all threads
waiting for the slowest; cut by samples, every thread runs the whole layer on its own share, out of its own cache.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import torch

_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def _forget() -> None:
    """After a fork the child has no threads of its own yet."""
    global _pool, _pool_size
    _pool, _pool_size = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _start(threads: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    if _pool is None or _pool_size < threads:
        if _pool is not None:
            _pool.shutdown(wait=False)
        _pool, _pool_size = ThreadPoolExecutor(threads, thread_name_prefix="sciml-operator"), threads
    return _pool


_LEAST = 1 << 17  # values of a field below which a thread costs more than it brings


def shares(batch: int, work: int, device: torch.device) -> list[slice]:
    """The samples of each thread: as many shares as torch has threads, or one where sharing does not pay.

    Args:
        work: number of values in a field of the whole batch.
    """
    threads = _threads() if device.type == "cpu" else 1
    if threads <= 1 or batch < threads or work < _LEAST:
        return [slice(0, batch)]
    edges = [batch * i // threads for i in range(threads + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


_granted = threading.local()


def _threads() -> int:
    return getattr(_granted, "threads", None) or torch.get_num_threads()


@contextlib.contextmanager
def single() -> Iterator[None]:
    """Operations of this thread run on one core meanwhile, and the other cores are free for threads of ours.

    Beside the BLAS, which keeps one number of threads for the whole process, it is OpenMP that makes this necessary: a
    thread of its pool spins for milliseconds after every small operation that it had a part in.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    _granted.threads = threads
    try:
        yield
    finally:
        _granted.threads = None
        torch.set_num_threads(threads)


def run(work: Callable[[int, slice], Any], parts: list[slice]) -> list[Any]:
    """[work(0, parts[0]), work(1, parts[1]), …], the first here and each other one on a thread of its own, with
    single-threaded operations.

    `work` runs without gradients, in inference mode where the caller is.
    """
    if len(parts) == 1:
        with torch.no_grad():
            return [work(0, parts[0])]
    inference = torch.is_inference_mode_enabled()

    def task(index: int, part: slice) -> Any:
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # OpenMP keeps this number for each thread
        with torch.inference_mode(inference), torch.no_grad():
            return work(index, part)

    with single():
        others = [_start(len(parts) - 1).submit(task, i, part) for i, part in enumerate(parts) if i]
        try:
            first = task(0, parts[0])
        finally:
            wait(others)  # they write into what the caller owns
        return [first, *(other.result() for other in others)]
