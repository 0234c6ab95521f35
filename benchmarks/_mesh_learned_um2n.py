"""UM2N as the tables have it: `python -m benchmarks._mesh_learned_um2n [SEED]` trains it, or goes on where training was
interrupted, and prints what it does on meshes and fields that it has not seen.

Weights stay in benchmarks/work/mesh/um2n.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._ledger import WORK
from sciml.meshing import UM2N, MongeAmpere, Sample, Springs
from sciml.meshing.fields import Front, Gaussians, Ripples
from sciml.meshing.linear_elements import LinearElements
from sciml.meshing.samples import bumps, polygons, rows, squares
from sciml.training.recipe import Running, Steps

SAMPLES = 256
VALIDATION = 16  # of these
HELD_OUT = 30  # fields of every kind of mesh


def samples(seed: int) -> list[Sample]:
    """Squares of 150 to 730 nodes under sums of Gaussians or of waves, or a front, monitors of strength 2 to 10: smooth
    and hard ones, the middle being that of the tables."""
    rng, found = np.random.default_rng([seed, 1]), []
    for number, mesh in enumerate(squares(rng, SAMPLES)):
        kind = (Gaussians, Ripples, Front)[number // 2 % 3]
        found += bumps([mesh], rng, strength=float(np.exp(rng.uniform(np.log(2), np.log(10)))), kind=kind)
    return found


def trained(seed: int = 0, folder: Path = WORK / "mesh" / "um2n", **settings: Any) -> UM2N:
    """Read from the folder, or trained; `training` is its record."""
    kept = folder / f"seed_{seed}"
    if (kept / "config.json").exists():
        return UM2N.load(kept)
    mover, recipe = UM2N(seed=seed, **settings), UM2N.recipe().replace(seed=seed, length=Steps(2400))
    given = samples(seed)
    running = Running(out=folder / f"run_{seed}", resume=True, progress=False)
    mover.fit(given[VALIDATION:], recipe, validation=given[:VALIDATION], running=running)
    mover.save(kept)
    return mover


def held_out(mover: UM2N) -> list[dict[str, Any]]:
    """Beside Monge-Ampère and springs: the share of σ/μ that is left, and the share of the error of linear elements
    that is gone."""
    rng = np.random.default_rng(2**31)
    kinds = {
        "rows of 20": bumps([rows(20)], rng, HELD_OUT),
        "rows of 50": bumps([rows(50)], rng, HELD_OUT),
        "rows of 99": bumps([rows(99)], rng, 3),
        "squares": bumps(squares(rng, HELD_OUT), rng),
        "convex polygons": bumps(polygons(rng, HELD_OUT, convex=True), rng),
        "polygons": bumps(polygons(rng, HELD_OUT), rng),
    }
    found = []
    for kind, given in kinds.items():
        for other in (mover, MongeAmpere(), Springs()):
            left, gone, inverted, safe, seconds = np.array([_figures(other, s) for s in given]).T
            found.append({
                "meshes": kind, "mover": other.name, "fields": len(given), "spread_left": float(left.mean()),
                "error_gone_mean": float(gone.mean()), "error_gone_median": float(np.median(gone)),
                "error_gone_worst": float(gone.min()), "better_share": float((gone > 0).mean()),
                "held_back": int((safe < 1).sum()), "turned_over_before_safeguard": int(inverted.sum()),
                "cpu_seconds": float(seconds.mean()),
            })  # fmt: skip
    return found


def _figures(mover: Any, sample: Sample) -> tuple[float, ...]:
    elements = LinearElements(sample.field)
    before = elements.error(sample.points, sample.cells).l2
    began = time.process_time()
    moved, info = mover.move(sample.points, sample.cells, monitor=sample.monitor)
    seconds = time.process_time() - began
    after = elements.error(moved, sample.cells).l2
    return (
        info.equidistribution / info.equidistribution_before,
        1 - after / before,
        info.inverted,
        info.safeguard,
        seconds,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    mover = trained(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print({k: v for k, v in mover.training.items() if k != "losses"}, mover.count, flush=True)
    for row in held_out(mover):
        print(row, flush=True)
