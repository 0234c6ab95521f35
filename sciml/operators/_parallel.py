"""Work shared among threads by samples rather than inside each operation.

A layer is a score of operations of a few tenths of a millisecond. Cut inside, each of them ends with all threads
waiting for the slowest; cut by samples, every thread runs the whole layer on its own share, out of its own cache.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    if threads <= 1 or batch < threads or work < _LEAST:
        return [slice(0, batch)]
    edges = [batch * i // threads for i in range(threads + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def run(work: Callable[[int, slice], Any], parts: list[slice]) -> list[Any]:
    """[work(0, parts[0]), work(1, parts[1]), …], each on a thread of its own with single-threaded operations.

    `work` runs without gradients, in inference mode where the caller is.
    """
    if len(parts) == 1:
        with torch.no_grad():
            return [work(0, parts[0])]
    threads, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()

    def task(index: int, part: slice) -> Any:
        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)  # of this thread; but torch also takes it as the default of threads to come
        with torch.inference_mode(inference), torch.no_grad():
            return work(index, part)

    results = list(_start(len(parts)).map(task, range(len(parts)), parts))
    torch.set_num_threads(threads)
    return results
