"""Where training runs, and what it borrows from the process: random numbers, gradient mode, rounding of denormals."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from sciml.errors import InputError


def device(name: str | torch.device = "auto") -> torch.device:
    """The device called `name`; "auto" is the first CUDA device where there is one, else the CPU.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        float(torch.zeros(1, device=found))  # what is "meta" holds no values
    except (RuntimeError, AssertionError, TypeError, NotImplementedError, ValueError):
        here = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        raise InputError(f"device: expected auto, {', '.join(here)}, got {str(name)!r}") from None
    return found


def peak_memory(where: torch.device) -> int | None:
    """The most bytes so far, that torch has taken on a GPU or the whole process on a CPU; None where nothing tells."""
    if where.type == "cuda":
        return torch.cuda.max_memory_allocated(where)
    if sys.platform == "linux":  # ru_maxrss there begins at the peak of the process that started this one
        with (
            contextlib.suppress(OSError, ValueError, IndexError),
            open("/proc/self/status", encoding="ascii") as status,
        ):
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def move(batch: Any, where: torch.device, dtype: torch.dtype | None = None) -> Any:
    """A batch on another device: tensors, what has a method `to(device, dtype)`, and dicts, lists and tuples of these.

    Args:
        dtype: of floating-point tensors, where it is to change; whole numbers and truth values stay what they are.
    """
    if isinstance(batch, torch.Tensor):
        kind = batch.dtype
        if dtype is not None and (batch.is_floating_point() or batch.is_complex()):
            kind = dtype.to_complex() if batch.is_complex() else dtype
        return batch.to(where, kind, non_blocking=True)
    if isinstance(batch, dict):
        return {k: move(v, where, dtype) for k, v in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(move(v, where, dtype) for v in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(move(v, where, dtype) for v in batch)
    return batch.to(where, dtype) if callable(getattr(batch, "to", None)) else batch


def to_float64(model: nn.Module) -> nn.Module:
    """A model's weights and buffers as float64 and complex128, in place. (`Module.double` leaves complex weights as
    they are, and `Module.to` would take their imaginary parts away.)"""
    return model._apply(lambda t: move(t, t.device, torch.float64))


def unwrapped(model: nn.Module) -> nn.Module:
    """The module itself where torch.compile has wrapped it: names of weights are those of the class."""
    return getattr(model, "_orig_mod", model)


@contextlib.contextmanager
def borrowed(where: torch.device, seed: int, stream: int = 0, dtype: torch.dtype | None = None) -> Iterator[None]:
    """What training needs of the process, given back as it was, however it ends.

    Inside, torch's random numbers are those of (seed, stream), gradients are on whatever the caller had switched off
    (`no_grad`, `inference_mode`), new weights are float32 whatever the default, and denormal numbers are zero: GELU of
    a large negative number is one, and products of them are many times slower, which late in training can dominate a
    run.

    Args:
        where: the device whose random numbers are borrowed beside the CPU's.
        stream: which of the independent sequences that a seed has.
        dtype: of the numbers that torch makes where none is named.
    """
    before, default = flushes_denormals(), torch.get_default_dtype()
    with torch.random.fork_rng(_cuda(where)), torch.inference_mode(False), torch.enable_grad():
        seed_all(where, seed, stream)
        torch.set_flush_denormal(True)
        torch.set_default_dtype(dtype or default)
        try:
            yield
        finally:
            torch.set_flush_denormal(before)
            torch.set_default_dtype(default)


def flushes_denormals() -> bool:
    """Whether denormal numbers are zero in this thread; torch has no call that tells."""
    return float(torch.tensor([1e-40], dtype=torch.float32, device="cpu") * 1.0) == 0.0


def seed_all(where: torch.device, seed: int, stream: int = 0) -> None:
    """Start the random numbers of the CPU and of `where` from (seed, stream)."""
    if stream:
        seed = int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.default_generator.manual_seed(seed)
    for index in _cuda(where):
        torch.cuda.default_generators[index].manual_seed(seed)


def random_state(where: torch.device) -> dict[str, torch.Tensor]:
    """The states of the random numbers of the CPU and of `where`."""
    found = {"torch": torch.get_rng_state()}
    for index in _cuda(where):
        found["cuda"] = torch.cuda.get_rng_state(index)
    return found


def set_random_state(where: torch.device, state: dict[str, torch.Tensor]) -> None:
    """Put back what `random_state` took; of a run that was on another device, what there is."""
    torch.set_rng_state(state["torch"])
    for index in _cuda(where):
        if "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], index)


def _cuda(where: torch.device) -> list[int]:
    if where.type != "cuda":
        return []
    torch.cuda.init()
    return [torch.cuda.current_device() if where.index is None else where.index]
