"""The data-free mover: its training, and how well it does on fields never seen.

`python -m benchmarks._mesh_learned_dmm` trains on one core in about a quarter of an hour, going on from
benchmarks/work/mesh/dmm where it was interrupted, and prints figures on held-out fields.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._ledger import WORK
from sciml.meshing import DMM, MeshMover, MongeAmpere, Sample
from sciml.meshing.fields import Front, Gaussians, Ripples
from sciml.meshing.samples import bumps, polygons, rows, squares
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe, Running

FOLDER = WORK / "mesh" / "dmm"
MINUTES = 12.0  # on the processor
SEED, HELD_OUT = 0, 10_000  # of what is drawn


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


def held_out(seed: int = HELD_OUT, count: int = 20) -> dict[str, list[Sample]]:
    """Fields never seen, on meshes of kinds that were trained on, on finer ones, and on regions that are not convex."""
    rng = np.random.default_rng(seed)
    return {
        "rows_20": bumps([rows(20)], rng, each=count),
        "rows_60": bumps([rows(60)], rng, each=max(count // 4, 1)),
        "unstructured": bumps(squares(rng, count // 2, 20, 30), rng),
        "convex_polygons": bumps(polygons(rng, count // 2, 18, 26, convex=True), rng),
        "polygons": bumps(polygons(rng, count // 2, 18, 26), rng),
    }


def judged(movers: dict[str, MeshMover], samples: list[Sample]) -> dict[str, dict[str, Any]]:
    """Of each mover: means of σ/μ before and after, its worst, how often and how much was held back, time."""
    found = {}
    for name, mover in movers.items():
        infos = [mover.move(s.points, s.cells, monitor=s.monitor)[1] for s in samples]
        found[name] = {
            "before": float(np.mean([i.equidistribution_before for i in infos])),
            "after": float(np.mean([i.equidistribution for i in infos])),
            "worst": max(i.equidistribution for i in infos),
            "cells_turned_over_before_the_safeguard": sum(i.inverted for i in infos),
            "share_gone": float(np.mean([i.safeguard for i in infos])),
            "seconds": float(np.median([i.seconds for i in infos])),
        }
    return found


def main(folder: Path = FOLDER, minutes: float = MINUTES) -> None:
    """Train, and print."""
    mover = trained(folder, minutes)
    print(json.dumps({k: v for k, v in mover.training.items() if k not in ("losses", "recipe")}))
    refined = DMM.load(folder / "mover")
    refined.refine = 20
    movers: dict[str, MeshMover] = {"monge_ampere": MongeAmpere(), "dmm": mover, "dmm_refined": refined}
    for name, samples in held_out().items():
        for who, figures in judged(movers, samples).items():
            print(json.dumps({"meshes": name, "mover": who} | figures), flush=True)


if __name__ == "__main__":
    main()
