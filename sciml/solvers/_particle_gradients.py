"""Gradients of what becomes of particles, by where they begin, how fast, and how bodies move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.boundary import Series
from sciml.errors import InputError, SolverError
from sciml.problem import Case
from sciml.solver import Differentiable
from sciml.solvers._particle_flock import Flight, unrolled
from sciml.training.particles import Motion, Scene


class ByGradients(Differentiable):
    """What a learned solver of particles adds to be asked for gradients; abstract, see `ParticleSurrogate`."""

    encoding: Any
    operator: Any
    device: Any

    def _begin(self, case: Case) -> Any:
        raise NotImplementedError

    def trajectory(
        self,
        case: Case,
        times: Any,
        *,
        position: Float[Tensor, "node dimension"] | None = None,
        velocity: Float[Tensor, "node dimension"] | None = None,
        path: Float[Tensor, "step body dimension"] | None = None,
        features: Float[Tensor, " feature"] | None = None,
    ) -> tuple[Float[Tensor, "time node dimension"], Float[Tensor, "time node dimension"]]:
        """Positions and velocities of the particles of a case, with gradients by what is given.

        Args:
            times: whole steps from 0 on.
            position, velocity: (N, D) of all particles at t = 0, in the place of the case's own.
            path: (steps + 1, body, D), how far each body has come at the end of each step up to the last time, in the
                place of the case's own.
            features: the problem's numbers at t = 0 as `setup` gives them, in the place of the case's own.

        Raises:
            InputError: tensors that do not fit.
            SolverError: names the step at which particles blow up.
        """
        self.require(case)
        e, start = self.encoding, self._begin(case)
        index = e.step.index(case, np.atleast_1d(np.asarray(times, dtype=np.float64)))
        steps, dt, d = int(index.max(initial=0)), e.step.of(case), e.dimensions
        flight = Flight.of(e, start)
        first = torch.from_numpy(flight.first).to(self.device)
        speed = torch.from_numpy(np.asarray(start.frames[-1, d:]).T.copy()).to(first)
        first = first if position is None else _like("position", position, first)
        speed = speed if velocity is None else _like("velocity", velocity, speed)
        chosen = torch.from_numpy(flight.chosen).to(self.device)
        scene: Scene = e.scene(case, len(chosen), dt * np.arange(max(steps, 1))).to(self.device)
        bodies = scene.bodies[0]
        if path is not None:
            if bodies is None:
                raise InputError("path: the case has no body")
            own = bodies.path[: steps + 1]
            scene = replace(scene, bodies=(replace(bodies, path=_like("path", path, own)),))
        if features is not None:
            own = torch.from_numpy(e.raw(case, np.zeros(1))[0][0]).to(self.device)
            scale = torch.from_numpy(np.where(e.features.std > 0, e.features.std, np.inf)).to(self.device)
            scene = replace(scene, params=scene.params + (_like("features", features, own) - own) / scale)
        moved = (speed.index_select(0, chosen) * dt)[:, None].expand(-1, e.past, -1)
        places, speeds = unrolled(self.operator, e, case, scene, Motion(first.index_select(0, chosen), moved), steps)
        places, speeds = places[index], speeds[index]
        if len(chosen) == len(first):
            return places, speeds
        matrix = flight.weights.tocoo()
        weights = torch.sparse_coo_tensor(
            torch.from_numpy(np.stack([matrix.row, matrix.col]).astype(np.int64)), torch.from_numpy(matrix.data),
            matrix.shape, device=self.device, check_invariants=True,
        )  # fmt: skip
        found = first + _over(weights, places - first.index_select(0, chosen))
        turning = torch.tensor(e.around, device=self.device)
        inside = torch.minimum(torch.maximum(found, scene.low), scene.low + scene.lengths)
        return torch.where(turning, found, inside), _over(weights, speeds)

    # -- for control --------------------------------------------------------------------------------------------

    def setup(self, case: Case) -> dict[str, np.ndarray]:
        """First positions and velocities; the problem's numbers at t = 0, with gravity; of each body the middle of its
        box, and its velocities at the knots."""
        self.require(case)
        if self.encoding.ignores_bodies(case):
            raise InputError(f"{case.problem.name}: has a body, expected none: no case that was trained on has one")
        start, d = self._begin(case), self.encoding.dimensions
        found = {
            "position": start.support.points().astype(np.float64),
            "velocity": np.asarray(start.frames[-1, d:], dtype=np.float64).T.copy(),
            "features": self.encoding.raw(case, np.zeros(1))[0][0],
        }
        for k, body in enumerate(case.problem.bodies(case)):  # type: ignore[attr-defined]
            found[f"body_{k}_place"] = np.array(body.shape.extents, dtype=np.float64).mean(1)
            for axis, series in zip("xyz", body.motion, strict=False):
                found[f"body_{k}_velocity_{axis}"] = np.array(series.values, dtype=np.float64)
        return found

    def value(self, case: Case, times: np.ndarray, goal: Callable[..., Any], setup: dict[str, np.ndarray]) -> float:
        with torch.no_grad():
            try:
                return float(self._goal(case, times, goal, {k: torch.from_numpy(v) for k, v in setup.items()}))
            except SolverError:
                return float("inf")

    def value_and_gradient(
        self, case: Case, times: np.ndarray, goal: Callable[..., Any], setup: dict[str, np.ndarray]
    ) -> tuple[float, dict[str, np.ndarray]]:
        given = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in setup.items()}
        with torch.inference_mode(False), torch.enable_grad():
            try:
                found = self._goal(case, times, goal, given)
            except SolverError:
                return float("inf"), {k: np.full(v.shape, np.nan) for k, v in setup.items()}
            slopes = torch.autograd.grad(found, list(given.values()), allow_unused=True)
        return float(found.detach()), {
            k: np.zeros(setup[k].shape) if g is None else g.cpu().numpy()
            for k, g in zip(given, slopes, strict=True)
        }  # fmt: skip

    def _goal(self, case: Case, times: np.ndarray, goal: Callable[..., Any], given: dict[str, Tensor]) -> Tensor:
        e = self.encoding
        index = e.step.index(case, np.asarray(times, dtype=np.float64))
        ends = e.step.of(case) * np.arange(int(index.max(initial=0)) + 1)
        path = self._path(case, ends, given)
        place, speed = self.trajectory(
            case, times, position=given["position"], velocity=given["velocity"], path=path, features=given["features"]
        )  # fmt: skip
        mass = torch.from_numpy(self._begin(case).support.weights()).to(place)
        return goal(torch, {"position": place, "velocity": speed, "mass": mass})

    def _path(self, case: Case, ends: np.ndarray, given: dict[str, Tensor]) -> Tensor | None:
        """(time, body, D) how far bodies have come, linear in their velocities at the knots; a body that is elsewhere
        than the case says has come that far more."""
        bodies = case.problem.bodies(case)  # type: ignore[attr-defined]
        if not bodies or not self.encoding.bodies:
            return None
        paths = []
        for k, body in enumerate(bodies):
            place = given[f"body_{k}_place"]
            columns = []
            for axis, series in enumerate(body.motion):
                values, matrix = given[f"body_{k}_velocity_{'xyz'[axis]}"], []
                for knot in range(len(series.values)):
                    unit = Series(series.times, np.arange(len(series.values)) == knot)
                    alone = replace(body, motion=(unit,) * len(body.motion))
                    matrix.append(alone.displacement(ends)[:, axis])
                columns.append(torch.from_numpy(np.stack(matrix, 1)) @ values)
            come = torch.stack(columns, 1) if columns else torch.zeros(len(ends), len(place), dtype=place.dtype)
            middle = torch.from_numpy(np.array(body.shape.extents, dtype=np.float64).mean(1))
            paths.append(come + (place - middle))
        return torch.stack(paths, 1)


def _like(name: str, given: Tensor, own: Tensor) -> Tensor:
    if tuple(given.shape) != tuple(own.shape):
        raise InputError(f"{name}: expected {tuple(own.shape)}, got {tuple(given.shape)}")
    return given.to(own)


def _over(weights: Tensor, values: Tensor) -> Tensor:
    """(time, M, D) interpolated from (time, n, D)."""
    flat = values.movedim(0, 1).flatten(1)
    return (weights @ flat).unflatten(1, (len(values), -1)).movedim(1, 0)
