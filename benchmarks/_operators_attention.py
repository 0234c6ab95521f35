"""The cost of attention between points: forward and backward, from 1k to 256k of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks._ledger import HERE, Ledger, quantiles
from benchmarks._operators_pictures import costs
from benchmarks.speed_fno import ALLOCATORS, DEFAULTS, KEPT_BY_PROCESS
from sciml.operators.flare import LatentAttention
from sciml.operators.galerkin_transformer import SoftmaxFreeAttention
from sciml.operators.layers.attention import HeterogeneousAttention, bias, normalised_attention
from sciml.operators.transolver import PhysicsAttention

WIDTH, HEADS, LATENTS = 64, 8, 64
SIZES = tuple(1024 * 2**k for k in range(9))  # 1k to 256k
EXPLICIT = (1024, 2048, 4096, 8192, 16384)  # the matrix between 16k points takes a gigabyte
COMPARED = 16384
REPEATS = 7
LINEAR, WHOLE = "normalised linear, one head", "the same, explicit"


def _layers() -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """(vectors, points, shares) -> vectors, of each kind of attention."""
    torch.manual_seed(0)
    linear, fourier = HeterogeneousAttention(WIDTH, HEADS), SoftmaxFreeAttention(WIDTH, HEADS, 2, "fourier")
    galerkin, slices = SoftmaxFreeAttention(WIDTH, HEADS, 2, "galerkin"), PhysicsAttention(WIDTH, HEADS, 32)
    latent = LatentAttention(WIDTH, HEADS, LATENTS)
    return {
        "normalised linear (GNOT)": lambda x, points, share: linear(x, [(x, share)]),
        "Galerkin": lambda x, points, share: galerkin(x, points, share),
        "Fourier": lambda x, points, share: fourier(x, points, share),
        "slices (Transolver)": lambda x, points, share: slices(x, share),
        "latents (FLARE)": lambda x, points, share: latent(x, bias(share)),
    }


def _linear(x: Tensor, points: Tensor, share: Tensor) -> Tensor:
    return normalised_attention(*_qkv(x), share)


def _explicit(x: Tensor, points: Tensor, share: Tensor) -> Tensor:
    """The same with the matrix between all points."""
    q, k, v = _qkv(x)
    kernel = (q @ k.transpose(-1, -2)) * share[:, None, None, :]
    return kernel @ v / kernel.sum(-1, keepdim=True)


def _qkv(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = (x[:, None] * factor for factor in (1.0, 1.1, 1.2))
    return q.softmax(-1), k.softmax(-1), v


def _inputs(count: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(count)
    x, points, weights = torch.randn(1, count, WIDTH), torch.rand(1, count, 2), torch.rand(1, count) + 0.1
    return x.requires_grad_(), points, weights / weights.sum()


def _seconds(layer: Callable[..., Tensor], inputs: tuple[Tensor, Tensor, Tensor]) -> float:
    inputs[0].grad = None
    began = time.perf_counter()
    layer(*inputs).square().mean().backward()
    return time.perf_counter() - began


def _held(layer: Callable[..., Tensor], inputs: tuple[Tensor, Tensor, Tensor]) -> int:
    """Bytes that are kept for the backward pass, each storage once."""
    seen: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(*inputs)
    return sum(seen.values())


def _measured(quick: bool) -> dict[str, Any]:
    """Rows and ratios, in this process."""
    torch.set_num_threads(1)
    sizes = SIZES[:4] if quick else SIZES
    rows, exponents = [], []
    for name, layer in (_layers() | {LINEAR: _linear, WHOLE: _explicit}).items():
        own = [n for n in (EXPLICIT if layer is _explicit else SIZES) if n in sizes]
        spent, memory = [], []
        for count in own:
            inputs = _inputs(count)
            _seconds(layer, inputs)  # the first is slower
            repeats = 3 if layer is _explicit or count > COMPARED else REPEATS
            spent.append(statistics.median(_seconds(layer, inputs) for _ in range(repeats)))
            memory.append(_held(layer, inputs))
        slopes = [float(np.polyfit(np.log(own), np.log(values), 1)[0]) for values in (spent, memory)]
        for count, seconds, held in zip(own, spent, memory, strict=True):
            rows.append({"row": name, "points": count, "seconds": seconds, "megabytes": held / 1e6})
        exponents.append({"row": name, "points_from": own[0], "points_to": own[-1], "time_exponent": slopes[0],
                          "memory_exponent": slopes[1]})  # fmt: skip
    inputs, ratios = _inputs(2048 if quick else COMPARED), []
    for _ in range(REPEATS):
        plain, whole = _seconds(_linear, inputs), _seconds(_explicit, inputs)
        ratios.append(whole / plain)
    return {"attention": rows, "exponents": exponents, "ratios": ratios}


def measure(ledger: Ledger, work: Any) -> None:
    """Exponents by least squares over all sizes, of medians; and the linear form against the explicit one, in turn; in
    a process that keeps its memory, and in one with the defaults of glibc's malloc, which gives large blocks back."""
    found = {}
    for allocator, settings in ALLOCATORS.items():
        command = [sys.executable, "-m", __name__, *(["--quick"] if work.given.quick else [])]
        environment = os.environ | settings | {"OMP_NUM_THREADS": "1"}
        out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        found[allocator] = json.loads(out.splitlines()[-1])
        for section in ("attention", "exponents"):
            for row in found[allocator][section]:
                ledger.row(section=section, allocator=allocator, **row)
    both = [
        {r["row"]: (r["time_exponent"], r["memory_exponent"]) for r in found[a]["exponents"] if r["row"] != WHOLE}
        for a in (KEPT_BY_PROCESS, DEFAULTS)
    ]
    worst = max(both[0], key=lambda n: max(both[0][n]))
    told = "; ".join(f"{n}: time {t:.2f}, memory {m:.2f}" for n, (t, m) in both[0].items())
    other = max(both[1], key=lambda n: max(both[1][n]))
    note = (
        f"the larger one of {worst}, in a process that keeps its memory ({told}); with the defaults of glibc's malloc "
        f"the largest is {max(both[1][other]):.2f} ({other}), for every call pays for its pages again"
    )
    ledger.check("attention_cost_exponent", max(both[0][worst]), note, note=note)
    ratios = found[KEPT_BY_PROCESS]["ratios"]
    note = f"time of the explicit form over that of the linear one, forward and backward, one head of {WIDTH} channels"
    ledger.check("attention_vs_explicit_16k", statistics.median(ratios), note,
                 spread=quantiles(ratios, f"{REPEATS} repeats in turn"), note=note)  # fmt: skip
    if not work.given.quick:
        rows = [{"section": "attention"} | r for r in found[KEPT_BY_PROCESS]["attention"]]
        costs(rows, HERE.parent / "docs" / "operators_cost.png")


if __name__ == "__main__":
    print(json.dumps(_measured("--quick" in sys.argv)))
