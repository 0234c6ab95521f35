"""Movers with weights, as the table has them.

    python -m benchmarks._mesh_learned [ROW ...]

trains all of them, or these, that are not there yet, each on one core; of all it writes the weights that come with
`LocalMover` into the package. Weights stay in benchmarks/work/mesh; training goes on where it was interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._ledger import HERE, WORK, Ledger
from sciml.meshing import UM2N, LocalMover, MeshMover, Sample
from sciml.meshing.fields import Front, Gaussians, Ripples
from sciml.meshing.samples import bumps, polygons, squares
from sciml.training.recipe import Running, Steps

SHIPPED = HERE.parent / "sciml" / "meshing" / "local_mover.json"
SEED = 0
STEPS = 1500
#: row -> settings; the first is what comes with the package
LOCALS: dict[str, dict[str, Any]] = {
    "local, for evenness": {"rounds": 6},
    "local, for the error": {"rounds": 6, "error": 0.5},
    "local, patches alone": {"rounds": 10, "alone": True},
}


def lessons(seed: int = SEED) -> list[Sample]:
    """Squares and convex polygons of 100 to 8,000 nodes under sums of Gaussians or of waves, or a front: nothing that
    is not convex, no graded meshes, no layers."""
    rng = np.random.default_rng([seed, 17])
    small = squares(rng, 22) + polygons(rng, 18, convex=True)
    large = squares(rng, 8, 30, 56) + squares(rng, 4, 70, 90) + polygons(rng, 6, 30, 50, convex=True)
    found = []
    for k, kind in enumerate((Gaussians, Ripples, Front)):
        found += bumps(small, rng, kind=kind) + bumps(large[k::3], rng, kind=kind)
    return found


def local(row: str, folder: Path = WORK / "mesh", steps: int = STEPS) -> LocalMover:
    """Read, or trained."""
    place = folder / "_".join(row.replace(",", "").split())
    if (place / "mover" / "config.json").exists():
        return LocalMover.load(place / "mover")
    torch.set_num_threads(1)
    running = Running(out=place / "run", resume=True, progress=False)
    recipe = LocalMover.recipe().replace(length=Steps(steps))
    mover = LocalMover(**LOCALS[row], seed=SEED).fit(lessons(), recipe, running=running)
    mover.save(place / "mover")
    return mover


def movers(work: Any) -> dict[str, MeshMover]:
    """Row -> trained mover; of a quick run, hardly trained ones."""
    if work.quick:
        return {row: LocalMover(**settings) for row, settings in LOCALS.items()}
    from benchmarks import _mesh_learned_dmm, _mesh_learned_um2n

    found: dict[str, MeshMover] = {row: local(row) for row in LOCALS}
    found["after UM2N"] = _mesh_learned_um2n.trained()
    found["after UM2N, not trained"] = UM2N()
    found["after DMM"] = _mesh_learned_dmm.trained()
    return found


def measure(ledger: Ledger, work: Any) -> None:
    """What training took, a row a mover."""
    for row, mover in movers(work).items():
        told: Any = mover
        if not told.training:
            continue
        record = dict(told.training)
        ledger.row(
            section="training", row=row, weights=told.count, samples=record.get("samples"), steps=record.get("steps"),
            cpu_seconds=record.get("cpu_seconds"), preparing_cpu_seconds=record.get("preparing_cpu_seconds"),
            first_loss=record["losses"][0]["loss"] if record.get("losses") else None,
            last_loss=record["losses"][-1]["loss"] if record.get("losses") else None,
        )  # fmt: skip


def write(mover: LocalMover, path: Path = SHIPPED) -> None:
    """The file of the package: seven digits."""
    weights = {k: np.vectorize(lambda v: float(f"{v:.7g}"))(v.numpy()).tolist() for k, v in _state(mover).items()}
    training = {k: mover.training[k] for k in ("recipe", "samples", "steps", "cpu_seconds")}
    text = json.dumps({"mover": mover.config(), "training": training, "weights": weights}, sort_keys=True)
    path.write_text(text.replace('"network', '\n"network').replace(', "rounds', ',\n"rounds') + "\n")


def _state(mover: LocalMover) -> dict[str, torch.Tensor]:
    return {k: v.detach() for k, v in mover.network.state_dict().items()}


if __name__ == "__main__":
    for name in sys.argv[1:] or LOCALS:
        print(name, local(name).training["cpu_seconds"], flush=True)
    if not sys.argv[1:]:
        write(local(next(iter(LOCALS))))
