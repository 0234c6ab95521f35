"""UM2N as the tables have it: `python -m benchmarks._mesh_learned_um2n [SEED]` trains it, or goes on where training was
interrupted. Weights stay in benchmarks/work/mesh/um2n.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._ledger import WORK
from sciml.meshing import UM2N, Sample
from sciml.meshing.fields import Front, Gaussians, Ripples
from sciml.meshing.samples import bumps, squares
from sciml.training.recipe import Running, Steps

SAMPLES = 256
VALIDATION = 16  # of these


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    trained(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
