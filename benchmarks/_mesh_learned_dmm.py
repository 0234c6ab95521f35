"""The data-free mover as the table has it: `python -m benchmarks._mesh_learned_dmm` trains it on one core in about a
quarter of an hour, going on from benchmarks/work/mesh/dmm where it was interrupted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks._ledger import WORK
from sciml.meshing import DMM, Sample
from sciml.meshing.fields import Front, Gaussians, Ripples
from sciml.meshing.samples import bumps, polygons, squares
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe, Running

FOLDER = WORK / "mesh" / "dmm"
MINUTES = 12.0  # on the processor
SEED = 0  # of what is drawn


def lessons(seed: int = SEED) -> list[Sample]:
    """Sums of Gaussians, of waves, and fronts on squares and convex polygons of up to 900 nodes; most monitors are as
    strong as those that it is judged by."""
    rng, found = np.random.default_rng(seed), []
    for kind in (Gaussians, Ripples, Front):
        found += bumps(squares(rng, 25), rng, each=7, kind=kind)
        for strength in (2.0, 10.0):
            found += bumps(squares(rng, 5), rng, each=3, strength=strength, kind=kind)
        found += bumps(polygons(rng, 20, convex=True), rng, each=4, kind=kind)
    return found


def recipe(minutes: float = MINUTES, seed: int = SEED) -> Recipe:
    return Recipe(
        length=ProcessorMinutes(minutes), batch=8, optimiser=AdamW(lr=3e-3, weight_decay=1e-5), seed=seed
    )  # fmt: skip


def trained(folder: Path = FOLDER, minutes: float = MINUTES, seed: int = SEED) -> DMM:
    """Read from `folder` where it is finished, else trained, going on from there."""
    if (folder / "mover" / "config.json").exists():
        return DMM.load(folder / "mover")
    torch.set_num_threads(1)
    mover = DMM(seed=seed)
    mover.fit(lessons(seed), recipe(minutes, seed), running=Running(out=folder / "run", resume=True, progress=False))
    mover.save(folder / "mover")
    return mover


if __name__ == "__main__":
    trained()
