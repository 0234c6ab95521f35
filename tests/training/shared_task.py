"""What several processes train together, and one process alone: losses and weights go into a file.

python shared_task.py OUT.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sciml import data
from sciml.problems import DamBreak, DataProblem
from sciml.solvers import ParticleSurrogate, Surrogate
from sciml.support import Grid
from sciml.training import AdamW, Nmse, Recipe, Rollout, Running, Steps, Supervised
from sciml.training.processes import present

QUIET = Running(progress=False)


def waves() -> Any:
    """exp(i(k·x − c t)) of five speeds, on cells; what is faster is larger."""
    problem = DataProblem(name="waves", fields=["a", "b"], parameters=["speed"], dimensions=2)
    grid = Grid((np.linspace(0, 1, 9),) * 2, (True, True))
    x, t, found = 2 * np.pi * grid.points().sum(-1), 0.1 * np.arange(6), []
    for speed in (0.2, 0.3, 0.4, 0.5, 0.35):
        angle = x - 2 * np.pi * speed * t[:, None, None]
        fields = {n: (("time", *grid.dims), 9 * speed**2 * f(angle)) for n, f in (("a", np.cos), ("b", np.sin))}
        found.append(data.solution(problem.case(speed=speed).on(grid), t, fields, grid))
    return data.pack(found, ["train"] * 4 + ["validation"], dtype=None)


def falls() -> Any:
    """Free fall of two columns, of different numbers of particles."""
    t, found = 0.01 * np.arange(7), []
    for width in (0.2, 0.3, 0.25):
        case = DamBreak().case(width=width)
        some = case.problem.particles(case, 0.05)
        fall, zero = -4.905 * t[:, None] ** 2, np.zeros((len(t), len(some.position)))
        fields = {
            "displacement_x": zero, "displacement_y": fall + zero, "velocity_x": zero,
            "velocity_y": -9.81 * t[:, None] + zero,
        }  # fmt: skip
        places = {a: some.position[:, k] + fields[f"displacement_{a}"] for k, a in enumerate("xy")}
        found.append(data.solution(case, t, {n: (("time", "node"), v) for n, v in fields.items()}, places))
    return data.pack(found, ["train"] * 2 + ["validation"], dtype=None)


def recipes() -> dict[str, Recipe]:
    plain = Recipe(length=Steps(12), batch=5, optimiser=AdamW(lr=3e-3), validate_every=6, precision="float64")
    return {
        "samples": plain,
        "one ratio": plain.replace(objective=Supervised(Nmse(floor=0.1))),
        "rollouts": plain.replace(objective=Rollout(steps=2, after=0.5)),
    }


def outcome(surrogate: Surrogate | ParticleSurrogate) -> dict[str, object]:
    weights = torch.cat([torch.view_as_real(w).flatten() if w.is_complex() else w.flatten()
                         for w in surrogate.fitted_as.operator.state_dict().values()])  # fmt: skip
    told = [{k: v for k, v in r.items()} for r in surrogate.metrics]
    return {"metrics": told, "weights": [float(weights.sum()), float(weights.square().sum())]}


def main(out: str) -> None:
    flows, particles = waves(), falls()
    found = {
        name: outcome(Surrogate("fno", width=4, modes=3, layers=1).fit(flows, recipe, running=QUIET))
        for name, recipe in recipes().items()
    }
    few = Recipe(length=Steps(8), batch=3, optimiser=AdamW(lr=3e-3), precision="float64")  # of 10 samples one is left
    for name, recipe in {"particles": few, "particles, one ratio": few.replace(objective=Supervised(Nmse()))}.items():
        model = ParticleSurrogate("grid_particle", width=8, multipliers=(1, 2), cells=8)
        model.fit(particles, recipe, running=QUIET)
        found[name] = outcome(model)
    if present().first:
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
