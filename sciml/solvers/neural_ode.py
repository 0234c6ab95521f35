"""Learned dynamics of a few modes, in continuous time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from sciml import registry
from sciml.errors import InputError, is_number, positive
from sciml.problem import Case
from sciml.solver import Start
from sciml.solvers import _saved
from sciml.solvers._promotion import standard
from sciml.solvers._proper_modes import ProperModes
from sciml.solvers._reduced_dynamics import Dynamics, curve, linear_guess, slopes_of
from sciml.solvers._reduced_training import Course, Run, check_recipe, train
from sciml.solvers.baselines import Baseline
from sciml.solvers.pinn._files import filled, leaves_of
from sciml.support import Grid
from sciml.training.callbacks import read_metrics
from sciml.training.fitting import held_out
from sciml.training.normalisation import FeatureScaler
from sciml.training.objectives import Growing
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe, Running, Steps
from sciml.training.samples import CaseTable, feature_table, features, open_data, sizes

STEADY = 1e-6  # how far a parameter may change in time, over its size


@registry.solvers.register("neural_ode")
class NeuralODE(Baseline):
    """da/dt = b + A a + f_θ(a, p),  û = ū + Σ_{k ≤ r} a_k φ_k: dynamics of proper orthogonal modes, learned as a vector
    field.

    φ are modes of all training frames by quadrature weights, each field over its spread, and ū their mean. p are the
    problem's dimensionless features of a case that differ between cases, over their spread; time counts in the case's
    own scale. A and b begin as the least squares fit to the slopes of the training courses, and f_θ, a network, as
    zero. All of them are trained on pieces of training courses, by the distance of integral curves from them, in the
    norm of the fields; the pieces grow. Gradients go back through the steps of the integrator.

    Answers are for any times, and go on from any frame: one frame tells the state, wherever the training frames were.
    What the r modes do not hold of a frame is lost.

    Args:
        modes: r, at most.
        width, depth: of the layers of f_θ.
        tolerance: of the integrator's steps in answers, in units of each coefficient's spread.

    Raises:
        InputError: at `fit`, cases of one frame, meshes that differ, or features that change in time.

    Source: R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud, Neural ordinary differential equations, NeurIPS
    (2018); the integrator and its gradients are those of P. Kidger, diffrax.
    """

    name = "neural ODE"
    title = "neural ODE"
    steady = False

    def __init__(self, modes: int = 12, *, width: int = 32, depth: int = 2, tolerance: float = 1e-5):
        super().__init__()
        self.rank, self.width, self.depth = positive("modes", modes), positive("width", width), positive("depth", depth)
        if not is_number(tolerance) or not 0 < tolerance < 1:
            raise InputError(f"tolerance: expected a number between 0 and 1, got {tolerance!r:.80}")
        self.tolerance = float(tolerance)
        self.recipe: Recipe | None = None
        self.history_: list[dict[str, Any]] = []
        self._asked: tuple[Recipe, Running, Callable[..., CaseTable | None]] | None = None

    @staticmethod
    def default_recipe() -> Recipe:
        """What is trained with where nobody says."""
        return Recipe(
            length=Steps(2000), batch=16, objective=Growing(steps=24, until=0.5),
            optimiser=AdamW(lr=6e-3, weight_decay=0.0, average=0.99), precision="float64",
        )  # fmt: skip

    # -- training -----------------------------------------------------------------------------------------------

    def fit(
        self, data: Any, recipe: Recipe | None = None, *, split: str | None = "train",
        validation: str | None = "validation", running: Running | None = None, fields: Sequence[str] | None = None,
    ) -> Self:  # fmt: skip
        """Find the modes of the training split, and train their dynamics.

        Args:
            data: path of a data set, data set or solutions, at any times.
            recipe: how; its objective is `Growing(steps=..)`, frames that the longest pieces span.
            validation: split whose pieces are looked at on the way; None for none.
            running: its folder, where it names one, is where the result is saved; callbacks and progress.
            fields: which fields to answer with; by default the state fields.

        Raises:
            InputError: data or a recipe that cannot be used.
            TrainingError: a loss that is not finite.
        """
        recipe = check_recipe(self.name, self.default_recipe() if recipe is None else recipe)
        running = Running() if running is None else running
        if not isinstance(running, Running):
            raise InputError(f"{self.name}: running is a {type(running).__name__}, expected a sciml.Running")
        if running.resume:
            raise InputError(f"{self.name}: running: keeps no checkpoints, expected no resume")
        dataset, _ = open_data(data)
        self._asked = recipe, running, partial(held_out, dataset, None if split is None else validation)
        try:
            return super().fit(data, recipe, split=split, running=running, fields=fields)
        finally:
            self._asked = None

    @standard
    def _learn(self, train_: CaseTable) -> None:
        assert self._asked is not None
        recipe, running, held_for = self._asked
        held = held_for(train_, None)
        if self.layout.mixed and not isinstance(self.layout.template, Grid):
            raise InputError(f"{self.name}: the meshes of the training cases differ, expected one mesh")
        if int(train_.length.min()) < 2:
            raise InputError(f"{self.name}: a training case has 1 frame, expected 2 or more")
        began = time.perf_counter()
        self._take_parameters(train_)
        every = [self.layout.into(train_.support(i))(train_.frames(i)) for i in range(len(train_.cases))]
        weights = self.layout.template.weights()
        self.proper, whole = ProperModes.of(np.concatenate(every), weights, self.rank)
        if not len(self.proper):
            raise InputError(f"{self.name}: the training frames do not differ")
        self.spread = np.sqrt((whole**2).mean(axis=0))
        courses = self._courses(train_, every)
        slopes = np.concatenate([slopes_of(c.z, c.times) for c in courses])
        energy = self.spread**2 / (self.spread**2).sum()
        pace = float(np.sqrt((slopes**2 @ energy).mean()))
        self.unit = 1.0 / pace if pace > 0 else 1.0
        courses = [Course(c.z, c.times / self.unit, c.p) for c in courses]
        matrix, constant = linear_guess([c.z for c in courses], [c.times for c in courses])
        watched = self._courses(held, None) if held is not None and held.cases else []
        watched = [Course(c.z, c.times / self.unit, c.p) for c in watched if len(c.z) > 1]
        callbacks = list(running.callbacks)
        if running.progress:
            from sciml.training.progress import ProgressDisplay

            callbacks.append(ProgressDisplay(self.name))
        with jax.enable_x64(recipe.precision == "float64"):
            begun = Dynamics.begun(matrix, constant, len(self.centre), self.width, self.depth, recipe.seed)
            self.dynamics, run = train(begun, courses, watched, energy, recipe, callbacks, self.name)
        self.recipe, self.history_ = recipe, run.records
        self.told = _told(run, time.perf_counter() - began)

    def _take_parameters(self, train_: CaseTable) -> None:
        """Which features of the cases make a difference, and their middles and spreads."""
        cases, supports = train_.cases, [train_.support(i) for i in range(len(train_.cases))]
        first = features(cases[0], np.zeros(1), cases[0].scales.time)[0]
        self.names: tuple[str, ...] = (*first, *sizes(supports, train_.problem))
        assert train_.times is not None
        placed = [c.on(s) for c, s in zip(cases, supports, strict=True)]
        raw = np.stack([self._raw(c, t) for c, t in zip(placed, train_.times, strict=True)])
        varies = raw.std(axis=0) > 1e-9 * np.maximum(np.abs(raw).max(axis=0), 1e-300)
        self.varying = tuple(n for n, v in zip(self.names, varies, strict=True) if v)
        self.centre, self.scale = raw.mean(axis=0)[varies], raw.std(axis=0)[varies]
        self.scaler = FeatureScaler.fit(self.names, raw)

    def _raw(self, case: Case, times: np.ndarray) -> np.ndarray:
        """(feature,) of a case, which keep their values at these times."""
        found = feature_table(case, times, case.scales.time, self.names)
        off = np.abs(found - found[0]).max(axis=0) > STEADY * np.maximum(np.abs(found).max(axis=0), 1.0)
        if off.any():
            raise InputError(
                f"{self.name}: {case.problem.name}: {self.names[int(off.argmax())]} changes in time, expected features "
                "that keep their values"
            )
        return found[0]

    def _p(self, case: Case, times: np.ndarray) -> np.ndarray:
        """(parameter,) over their spread."""
        rows = [self.names.index(n) for n in self.varying]
        return (self._raw(case, times)[rows] - self.centre) / self.scale

    def _courses(self, cases: CaseTable, frames: Sequence[np.ndarray] | None) -> list[Course]:
        found = []
        assert cases.times is not None
        for i, (case, times) in enumerate(zip(cases.cases, cases.times, strict=True)):
            support = cases.support(i)
            values = self.layout.into(support)(cases.frames(i)) if frames is None else frames[i]
            z = self.proper.coefficients(values) / self.spread
            found.append(Course(z, (times - times[0]) / case.scales.time, self._p(case.on(support), times)))
        return found

    # -- answers ------------------------------------------------------------------------------------------------

    def _rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        into = [self.layout.into(s.support) for s in starts]
        back = [self.layout.back(s.support) for s in starts]
        scales = [self._scale(s.case, s.support) for s in starts]
        frames = np.stack([move(s.frames[-1] / k) for s, move, k in zip(starts, into, scales, strict=True)])
        p = np.stack([self._p(self._placed(s), np.array([s.time, *t])) for s, t in zip(starts, times, strict=True)])
        unit = np.array([self.unit * s.case.scales.time for s in starts])
        ahead = np.maximum(times - np.array([[s.time] for s in starts]), 0.0) / unit[:, None]
        found = self._curves(self.proper.coefficients(frames) / self.spread, p, ahead)
        for j in range(times.shape[1]):
            answers = []
            for i, start in enumerate(starts):
                if ahead[i, j] <= 1e-9:
                    answers.append(np.array(start.frames[-1], dtype=np.float64))
                else:
                    with np.errstate(invalid="ignore"):  # of a course that is not finite
                        answers.append(back[i](self.proper.frames(found[i, j] * self.spread)) * scales[i])
            yield answers

    def _doubts(self, start: Start, times: np.ndarray | None) -> list[str]:
        assert times is not None
        return self.scaler.doubts(self._raw(start.case, np.array([start.time, *times]))[None])

    @standard
    def _curves(self, z: np.ndarray, p: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(start, time, r)"""
        assert self.recipe is not None
        with jax.enable_x64(self.recipe.precision == "float64"):
            at, numbers, clock = (jnp.asarray(a).astype(jnp.result_type(float)) for a in (z, p, times))
            return np.asarray(_answered(self.dynamics, at, numbers, clock, self.tolerance), np.float64)

    # -- what evaluation and reports ask ------------------------------------------------------------------------

    @property
    def settings(self) -> dict[str, Any]:
        found = {"modes": self.rank, "width": self.width, "depth": self.depth, "tolerance": self.tolerance}
        return found | ({} if self.recipe is None else {"recipe": self.recipe.to_json()})

    @property
    def identity(self) -> dict[str, Any]:
        return self.settings | ({} if self.recipe is None else {"recipe": self.recipe.without_seed().to_json()})

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.history_

    @property
    def training(self) -> dict[str, Any]:
        return self.record

    @property
    def weights(self) -> int:
        if not self.fitted:
            return 0
        return sum(a.size for a in jax.tree.leaves(eqx.filter(self.dynamics, eqx.is_inexact_array)))

    # -- files --------------------------------------------------------------------------------------------------

    def _more(self) -> dict[str, Any]:
        return self.told

    def _arrays(self) -> dict[str, np.ndarray]:
        m = self.proper
        return {
            "mean": m.mean, "modes": m.modes, "reader": m.reader, "sizes": m.sizes, "spread": self.spread,
            "centre": self.centre, "scale": self.scale, **leaves_of("dynamics", self.dynamics),
        }  # fmt: skip

    def _values(self) -> dict[str, Any]:
        assert self.recipe is not None
        return {
            "arguments": {"modes": self.rank, "width": self.width, "depth": self.depth, "tolerance": self.tolerance},
            "recipe": self.recipe.to_json(), "names": list(self.names), "varying": list(self.varying),
            "unit": self.unit, "features": self.scaler.to_json(),
        }  # fmt: skip

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        given = values["arguments"]
        self.rank, self.width, self.depth = (int(given[n]) for n in ("modes", "width", "depth"))
        self.tolerance, self.recipe = float(given["tolerance"]), Recipe.from_json(values["recipe"])
        self.names, self.varying, self.unit = tuple(values["names"]), tuple(values["varying"]), float(values["unit"])
        self.proper = ProperModes(*(arrays[n] for n in ("mean", "modes", "reader", "sizes")))
        self.spread, self.centre, self.scale = (arrays[n] for n in ("spread", "centre", "scale"))
        self.scaler = FeatureScaler.from_json(values["features"])
        r = len(self.spread)
        with jax.enable_x64(self.recipe.precision == "float64"):
            frame = Dynamics.begun(np.zeros((r, r)), np.zeros(r), len(self.centre), self.width, self.depth, 0)
            self.dynamics = filled("dynamics", frame, arrays)

    def save(self, directory: str | Path) -> None:
        super().save(directory)
        _saved.write_metrics(directory, json.loads(json.dumps(self.history_)))

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        found = super().load(directory, device)
        found.history_ = read_metrics(_saved.folder_of(directory) / "metrics.jsonl")
        return found


def _told(run: Run, seconds: float) -> dict[str, Any]:
    last = run.records[-1]["loss"] if run.records else None
    return {"recipe": run.recipe.to_json(), "seconds": seconds, "steps": run.step, "stopped": run.stopped, "loss": last}


@eqx.filter_jit
def _answered(dynamics: Dynamics, z: Any, p: Any, times: Any, tolerance: float) -> Any:
    return jax.vmap(lambda z, p, t: curve(dynamics, z, p, t, tolerance))(z, p, times)
