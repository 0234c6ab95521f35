"""Burgers by DeepXDE (its own process, its own environment): error over processor time, printed as JSON.

    PYTHON_OF_DEEPXDE benchmarks/_deepxde_burgers.py TRUTH.npz --recipe published|double|exact|newton [--seed 0]
        [--seconds 900] [--quick]

∂t u + u ∂x u = ν ∂xx u on [-1, 1], u(x, 0) = −sin πx, u(±1, t) = 0, ν = 0.01/π, t in [0, 1]. TRUTH.npz holds x, t and
u(t, x). DeepXDE is under the LGPL: nothing of the package imports it, this file imports nothing of the package.

Recipes:
    published: DeepXDE's own example: float32, 3 × 20 tanh, 2540 + 80 + 160 points, Adam 15,000 steps, L-BFGS 15,000.
    double:    the same in float64, L-BFGS as long as it gains.
    exact:     float64, initial and boundary values built into the answer, 8,000 Sobol points, 4 × 30 tanh, a shorter
               Adam, L-BFGS with a history of 300 as long as it gains.
    adaptive:  `exact` on 3,000 points that are drawn anew where the residual is large (RAD) before each 1,000 steps of
               L-BFGS: its authors' own advice, and the best that we found for it.
    newton:    `exact`, then its Nyström-Newton-CG.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

os.environ["DDE_BACKEND"] = "pytorch"
os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class Recipe:
    precision: str
    layers: tuple[int, ...]
    points: tuple[int, int, int]  # inside, on the ends, at the start
    sampling: str
    adam: int
    lbfgs: int
    history: int = 100
    exact: bool = False
    nncg: int = 0
    rounds: int = 1  # of L-BFGS; between them points are drawn anew where the residual is large


RECIPES = {
    "published": Recipe("float32", (20,) * 3, (2540, 80, 160), "Hammersley", 15_000, 15_000),
    "double": Recipe("float64", (20,) * 3, (2540, 80, 160), "Hammersley", 15_000, 100_000, 300),
    "exact": Recipe("float64", (30,) * 4, (8000, 0, 0), "Sobol", 3_000, 100_000, 300, exact=True),
    "adaptive": Recipe("float64", (30,) * 3, (3000, 0, 0), "Sobol", 3_000, 1_000, 300, exact=True, rounds=60),
    "newton": Recipe("float64", (30,) * 4, (8000, 0, 0), "Sobol", 3_000, 15_000, 300, exact=True, nncg=2_000),
}
VISCOSITY = 0.01 / np.pi


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth")
    parser.add_argument("--recipe", choices=tuple(RECIPES), default="published")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="of the processor, in training")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()

    def enough(*_: Any) -> None:
        given.seconds = 0.0  # told to end, it ends at the next look and prints what it has

    signal.signal(signal.SIGTERM, enough)
    with contextlib.redirect_stdout(sys.stderr):
        found = run(RECIPES[given.recipe], given)
    print(json.dumps({"recipe": given.recipe, "seed": given.seed, **found}))


def run(recipe: Recipe, given: argparse.Namespace) -> dict[str, Any]:
    import deepxde as dde  # type: ignore[import-not-found]
    import torch
    from deepxde.optimizers.config import LBFGS_options  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    dde.config.set_default_float(recipe.precision)
    dde.config.set_random_seed(given.seed)
    with np.load(given.truth) as file:
        x, t, truth = file["x"], file["t"], file["u"]
    ask = np.stack(np.meshgrid(t, x, indexing="ij")[::-1], axis=-1).reshape(-1, 2)
    began, curve, aside = time.process_time(), [], [0.0]

    class Watch(dde.callbacks.Callback):  # type: ignore[name-defined,misc]
        """The error now and then; what finding it costs does not count."""

        def __init__(self, phase: str, every: int):
            super().__init__()
            self.phase, self.every, self.last = phase, every, -1

        def on_epoch_end(self) -> None:
            step = self.model.train_state.iteration
            if step // self.every == self.last and len(curve) > 0:
                return
            self.last = step // self.every
            before = time.process_time()
            seconds = before - began - aside[0]
            error = _error(self.model.predict(ask), truth)
            losses = self.model.train_state.loss_train
            loss = None if losses is None else float(np.sum(losses))
            curve.append(
                {"phase": self.phase, "step": int(step), "seconds": seconds, "relative_l2": error, "loss": loss}
            )
            print(curve[-1], file=sys.stderr, flush=True)
            recent = [c["loss"] for c in curve if c["phase"] == self.phase][-20:]
            stalled = (
                self.phase == "L-BFGS" and recipe.rounds == 1 and len(recent) == 20 and recent[-1] > 0.99 * recent[0]
            )
            if seconds > given.seconds or stalled:
                self.model.stop_training = True
            aside[0] += time.process_time() - before

    def equation(z: Any, u: Any) -> Any:
        du_x, du_t = dde.grad.jacobian(u, z, i=0, j=0), dde.grad.jacobian(u, z, i=0, j=1)
        return du_t + u * du_x - VISCOSITY * dde.grad.hessian(u, z, i=0, j=0)

    domain = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1))
    ends = dde.icbc.DirichletBC(domain, lambda z: 0, lambda _, on: on)
    start = dde.icbc.IC(domain, lambda z: -np.sin(np.pi * z[:, 0:1]), lambda _, on: on)
    inside, boundary, initial = (n // (10 if given.quick else 1) for n in recipe.points)
    data = dde.data.TimePDE(
        domain, equation, [] if recipe.exact else [ends, start], num_domain=inside, num_boundary=boundary,
        num_initial=initial, train_distribution=recipe.sampling,
    )  # fmt: skip
    network = dde.nn.FNN([2, *recipe.layers, 1], "tanh", "Glorot normal")
    if recipe.exact:
        network.apply_output_transform(
            lambda z, y: -torch.sin(np.pi * z[:, 0:1]) + (1 - z[:, 0:1] ** 2) * z[:, 1:2] * y
        )
    model = dde.Model(data, network)
    model.compile("adam", lr=1e-3)
    model.train(
        iterations=recipe.adam // (100 if given.quick else 1), display_every=1000, callbacks=[Watch("adam", 250)]
    )
    most = 100 if given.quick else recipe.lbfgs
    # A tolerance of zero lets it go on until no step helps.
    dde.optimizers.set_LBFGS_options(maxcor=recipe.history, ftol=0, gtol=1e-14 if recipe.exact else 1e-8, maxiter=most)
    LBFGS_options.update(iter_per_step=min(100, most), fun_per_step=min(125, 2 * most))
    random = np.random.default_rng(given.seed)
    for _ in range(2 if given.quick else recipe.rounds):
        if curve[-1]["seconds"] > given.seconds:
            break
        if recipe.rounds > 1:
            trial = domain.random_points(20 * inside)
            weight = np.abs(model.predict(trial, operator=equation)).ravel()
            weight = weight / weight.mean() + 1.0
            chosen = random.choice(len(trial), inside, replace=False, p=weight / weight.sum())
            data.replace_with_anchors(trial[chosen])
        model.compile("L-BFGS")
        model.train(display_every=1000, callbacks=[Watch("L-BFGS", 500 if recipe.rounds > 1 else 100)])
    if recipe.nncg and curve[-1]["seconds"] < given.seconds:
        dde.optimizers.set_NNCG_options(mu=1e-5, rank=60, updatefreq=20, cgmaxiter=200)
        model.compile("NNCG")
        model.train(iterations=3 if given.quick else recipe.nncg, display_every=100, callbacks=[Watch("NNCG", 5)])
    best = min(curve, key=lambda c: c["relative_l2"])
    return {
        "settings": asdict(recipe), "version": dde.__version__, "torch": torch.__version__, "threads": 1,
        "curve": curve,
        "seconds": time.process_time() - began - aside[0], "relative_l2": curve[-1]["relative_l2"],
        "best_relative_l2": best["relative_l2"], "seconds_to_best": best["seconds"],
    }  # fmt: skip


def _error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(found.reshape(truth.shape) - truth) / np.linalg.norm(truth))


if __name__ == "__main__":
    main()
