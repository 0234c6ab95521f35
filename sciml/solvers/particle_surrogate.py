"""A solver that learns how particles move."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import xarray as xr

from sciml import data as _data
from sciml import registry
from sciml.contracts import Operator, ParticleBatch
from sciml.errors import InputError
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case
from sciml.solver import Restartable, Start, check_times
from sciml.solvers import _saved
from sciml.solvers._frames import history_of, start_of, warn_of
from sciml.solvers._particle_flock import Flight, fly
from sciml.solvers._particle_gradients import ByGradients
from sciml.solvers._titles import title
from sciml.solvers._trained import OfEncoding
from sciml.support import Points
from sciml.training.augmentations import Noise
from sciml.training.callbacks import read_metrics
from sciml.training.devices import device as find_device
from sciml.training.fitting import anew, operator_options
from sciml.training.optimisers import AdamW
from sciml.training.particles import FittedParticles, Nodes, ParticleEncoding, fit_particles
from sciml.training.recipe import Recipe, Running
from sciml.training.stepping import Autoregressive, Stepping


@registry.solvers.register("particle_surrogate")
class ParticleSurrogate(OfEncoding[ParticleEncoding], Restartable, ByGradients):
    """A learned solver of particles: an operator that says how they are accelerated, from how they moved before.

        Δ(t) = x(t) − x(t − Δt),   Δ(t + Δt) = Δ(t) + σ·operator(Δ(t), Δ(t − Δt), ...; neighbours, walls, bodies),
        x(t + Δt) = x(t) + Δ(t + Δt)

    Before a case begins, particles are taken to have flown evenly, as their first velocities say. Operators see
    differences over their spread in the training cases, distances to walls and bodies over the radius, and the
    problem's dimensionless numbers with gravity, standardised. They never see how many particles there are: with
    `nodes`, few of them are moved, and answers at all others are interpolated over first positions by moving least
    squares, whose weights are made once a rollout. A step then costs the same at any number of places.

    Data have fields displacement_x, ..., velocity_x, ... of particles, at equal steps.

    Args:
        operator: a class of `sciml.operators` that takes particles, or its registered name.
        stepping: `Autoregressive(step, history)`: frames of the data that one step spans, and frames that go in, one
            more than there are past velocities; by default 6, as published.
        radius: within which particles are joined; by default 2.5 times the distance of neighbours that take part.
        nodes: particles that take part: a share of them, how many, or None for all (GIOROM: a quarter). A share is of
            the particles of training cases; of denser ones as many to a volume take part.
        choice: of these: "farthest" points, or "random".
        features: names of the problem's numbers that the operator is told; by default all.
        device: where it answers: "auto" (a GPU where there is one), "cpu", "cuda:1".
        options: further arguments of the operator.

    Source: A. Sanchez-Gonzalez et al., Learning to simulate complex physics with graph networks, ICML (2020); few
    particles for many after H. Viswanath et al., arXiv:2407.03925 (2024).
    """

    name = "particle_surrogate"
    #: settings beside the stepping that plans of training may give
    planned = ("radius", "nodes", "choice", "features")

    def __init__(
        self,
        operator: type[Operator] | str,
        stepping: Stepping | None = None,
        *,
        radius: float | None = None,
        nodes: float | int | None = None,
        choice: str = "farthest",
        features: Sequence[str] | None = None,
        device: str = "auto",
        **options: Any,
    ):
        kind = registry.operators.get(operator) if isinstance(operator, str) else operator
        if not (isinstance(kind, type) and issubclass(kind, Operator)):
            raise InputError(f"operator: expected a class of sciml.operators or its name, got {operator!r:.80}")
        if not issubclass(kind.takes, ParticleBatch):
            raise InputError(f"operator: {kind.name} takes no particles, expected gns, giorom or grid_particle")
        self.operator_class: type[Operator] = kind
        stepping = Autoregressive(history=6) if stepping is None else stepping
        if not isinstance(stepping, Autoregressive) or stepping.strides > 1:
            raise InputError(f"stepping: expected Autoregressive with strides=1, got {stepping!r:.80}")
        self.stepping = stepping
        if self.stepping.history < 2:
            raise InputError("stepping: expected a history of two frames at least: one past velocity")
        if features is not None and (isinstance(features, str) or not isinstance(features, Sequence)):
            raise InputError(f"features: expected names, got {features!r}")
        self.radius, self.features = radius, None if features is None else tuple(features)
        self.nodes = Nodes(kind.nodes_share if nodes is None else nodes, choice)
        self.options = operator_options(kind, options)
        self.device = find_device(device)
        self.fitted_as: FittedParticles | None = None

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def history(self) -> int:  # type: ignore[override]
        return self.stepping.history

    @property
    def every(self) -> int:  # type: ignore[override]
        return self.stepping.every

    @property
    def _set(self) -> dict[str, Any]:
        return {
            "stepping": self.stepping.to_json(), "radius": self.radius, "nodes": self.nodes.amount,
            "choice": self.nodes.choice, "features": None if self.features is None else list(self.features),
        }  # fmt: skip

    def settled(self) -> dict[str, Any]:
        """What another surrogate is to be made with to go on from the weights of this one."""
        given = {"radius": self.radius, "nodes": self.nodes.amount, "choice": self.nodes.choice}
        return {"stepping": self.stepping, "features": self.features} | given

    # -- training -----------------------------------------------------------------------------------------------

    def fit(
        self,
        data: Any,
        recipe: Recipe | None = None,
        *,
        split: str | None = "train",
        validation: str | None = "validation",
        subset: Sequence[str] | str | None = None,
        running: Running | None = None,
        fresh: bool = False,
    ) -> Self:
        """Train on a data set; a surrogate that has weights already goes on from them.

        Noise (`sciml.training.Noise`) is a random walk on the past, its level in units of the spread of velocities.

        Args:
            data: path of a data set, a data set, or solutions.
            recipe: what determines the result; `default_recipe()` by default.
            split, validation: names of splits; `validation` may be None or empty.
            subset: train on these subsets only.
            running: how it is done: run directory, resuming, device; changes no result.
            fresh: begin with new weights and scales even where there are some.

        Returns:
            itself, trained.

        Raises:
            InputError: arguments or data that cannot be used.
            TrainingError: a loss that is not finite.
        """
        running = Running() if running is None else running
        former = None if fresh else self.fitted_as
        with torch.inference_mode(False):
            self.fitted_as = fit_particles(
                self.operator_class, self.options, self.stepping, self.nodes, data,
                self.default_recipe() if recipe is None else recipe, running, radius=self.radius, told=self.features,
                split=split, validation=validation, subset=subset, former=former,
            )  # fmt: skip
        return self._settle(running)

    @staticmethod
    def default_recipe() -> Recipe:
        """What particles are trained with where nobody says: small batches, for a sample has thousands of edges, and
        noise, without which rollouts drift."""
        return Recipe(batch=2, optimiser=AdamW(lr=2e-3), augmentations=(Noise(0.05),))

    # -- many steps ---------------------------------------------------------------------------------------------

    def rollout(self, starts: Sequence[Start], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        e = self.encoding
        times = np.asarray(times, dtype=np.float64).reshape(len(starts), -1)
        flights = [Flight.of(e, self._ordered(start)) for start in starts]
        yield from self._flown(flights, times)
        for f in flights:
            if f.failed is not None:
                warnings.warn(f"particle surrogate: {title(f.case)}: {self._failure(f)}", stacklevel=2)

    def _ordered(self, start: Start) -> Start:
        """The start with fields in this solver's order."""
        e = self.encoding
        if not start.fields or tuple(start.fields) == e.fields:
            return start
        for name in e.fields:
            if name not in start.fields:
                raise InputError(f"starts: have fields {', '.join(start.fields)}; {name!r} is missing")
        rows = [start.fields.index(n) for n in e.fields]
        return Start(start.case, start.support, start.frames[:, rows], start.time, start.first, e.fields)

    def _flown(self, flights: Sequence[Flight], times: np.ndarray) -> Iterator[list[np.ndarray]]:
        """Frames of all flights at times (flight, K)."""
        e = self.encoding
        index = np.stack([e.step.index(f.case, t, f.time) for f, t in zip(flights, times, strict=True)])
        if index.min(initial=0) < 0:
            raise InputError("times: expected times from that of the frame on")
        last = int(index.max(initial=0))
        stream = fly(self.operator, e, flights, last, self.device)
        kept: list[dict[int, np.ndarray]] = [{} for _ in flights]
        j = 0
        for number in range(last + 1):
            for i, f in enumerate(flights):
                if number in index[i, j:]:
                    kept[i][number] = f.decoded(e)
            while j < index.shape[1] and (index[:, j] <= number).all():
                yield [known[k] for known, k in zip(kept, index[:, j].tolist(), strict=True)]
                j += 1
                kept = [{k: v for k, v in known.items() if j < index.shape[1] and k >= index[i, j]}
                        for i, known in enumerate(kept)]  # fmt: skip
            if number < last:
                next(stream)

    def _failure(self, f: Flight) -> str:
        assert f.failed is not None
        step, why = f.failed
        unit = f.case.problem.time_unit
        return f"stopped at step {step} (time {f.time + step * self.encoding.step.of(f.case):g} {unit}): {why}"

    # -- the solver interface -----------------------------------------------------------------------------------

    def resume(self, case: Case, frame: Any, times: Any) -> xr.Dataset:
        """The solution at `times` from a given state on; see `Restartable.resume`."""
        self.require(case)
        e = self.encoding
        checked = check_times(case.problem, times)
        assert checked is not None
        start = history_of(start_of(case, frame, e.fields), frame, e.step.of(case), self.history)
        return self._whole(self._answered(Flight.of(e, start), checked))

    def _solve(self, case: Case, times: np.ndarray | None) -> xr.Dataset:
        assert times is not None
        return self._answered(Flight.of(self.encoding, self._begin(case)), times)

    def _outside(self, case: Case, points: np.ndarray) -> np.ndarray:
        """Which points are not of the matter at t = 0, where the problem says where that is."""
        if not isinstance(case.problem, ParticleProblem):
            return super()._outside(case, points)
        distance = np.asarray(case.problem.matter(case).signed_distance(points))
        return distance < -self.encoding.spacing / 2  # about as far as the matter of an outer particle reaches

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xr.Dataset:
        assert times is not None
        return self._answered(Flight.of(self.encoding, self._begin(case), points), times)

    def _begin(self, case: Case) -> Start:
        """The particles of a case, as dense as in training."""
        e, problem = self.encoding, case.problem
        if not isinstance(problem, ParticleProblem):
            raise InputError(f"{problem.name}: the data do not say how a case begins; use resume from a known frame")
        some = problem.particles(case, e.spacing)  # type: ignore[attr-defined]
        still = np.zeros_like(some.velocity.T)
        return Start(case, Points(some.position, some.volume), np.concatenate([still, some.velocity.T])[None], 0.0)

    def _answered(self, f: Flight, times: np.ndarray) -> xr.Dataset:
        e, d = self.encoding, self.encoding.dimensions
        warn_of("particle surrogate", f.case, e.doubts(f.case, np.append(f.time, times)))
        frames = np.stack([several[0] for several in self._flown([f], times[None])])
        status = "ok" if f.failed is None else self._failure(f)
        good = np.isfinite(frames).all((1, 2))
        frames, times = frames[good], times[good]
        position = f.places.T + frames[:, :d]
        low, high = np.array(f.case.geometry.extents, dtype=np.float64).T
        for axis in range(d):
            if e.around[axis]:
                position[:, axis] = low[axis] + np.mod(position[:, axis] - low[axis], high[axis] - low[axis])
        fields = {n: (("time", "node"), np.ascontiguousarray(frames[:, k])) for k, n in enumerate(e.fields)}
        coords = {a: position[:, k] for k, a in enumerate("xyz"[:d])}
        return _data.solution(
            f.case, times, fields, coords, solver=f"particle_surrogate {self.operator_name}", settings=self.settings,
            status=status,
        )  # fmt: skip

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, directory: str | Path) -> None:
        """Write weights, settings and metrics into `directory` (made if missing)."""
        f = self._ready()
        content = {
            "radius": self.radius,
            "features": None if self.features is None else list(self.features),
            "encoding": f.encoding.to_json(),
        }  # fmt: skip
        self._write(directory, content)

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: no such directory.
            FileFormatError: a file that is missing, broken, or does not belong to the others.
        """
        folder = _saved.folder_of(directory)
        with _saved.reading(folder, cls.name, ("weights",)) as (config, parts):
            e = ParticleEncoding.from_json(config["encoding"])
            kind = registry.operators.get(str(config["operator"]))
            found = cls(
                kind, e.stepping, radius=config["radius"], nodes=e.nodes.amount, choice=e.nodes.choice,
                features=config["features"], device=device, **config["options"],
            )  # fmt: skip
            found.nodes = e.nodes
            operator = anew(kind, config["operator_config"], e)
            _saved.restore(operator, parts["weights"], folder)
            recipe = Recipe.from_json(config["training"]["recipe"])
            metrics = read_metrics(folder / "metrics.jsonl")
            found.fitted_as = FittedParticles(e, operator, recipe, dict(config["training"]), metrics)
        return found.to(found.device)
