"""Answers without learning: what a surrogate has to beat to be worth its training.

Each is a solver with `fit(data)` and the same `rollout` as `Surrogate`, so that one evaluation serves all. A steady
problem has one frame, the answer, and no rollouts.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciml import data as _data
from sciml import registry
from sciml.errors import InputError
from sciml.problem import Case, PDEProblem
from sciml.solver import Solver, as_cases, times_for
from sciml.support import Grid
from sciml.training.samples import (
    CaseTable,
    TimeStep,
    feature_names,
    feature_table,
    open_data,
    static_inputs,
    table,
    time_step,
)


class Baseline(Solver):
    """Common to the baselines: training cases in the problem's scales, at equal numbers of steps."""

    history = 1
    steady = True  # whether it has an answer to steady problems
    aligned = True  # whether it needs training cases that begin at the same step

    def __init__(self) -> None:
        self.problem: PDEProblem | None = None
        self.fields: tuple[str, ...] = ()
        self.space: tuple[int, ...] = ()
        self.step: TimeStep | None = None
        self.cases = 0

    def fit(self, data: Any, split: str | None = "train", fields: Sequence[str] | None = None) -> Baseline:
        """Take what is needed from the training split.

        Args:
            data: path of a data set, data set or solutions.
        """
        train = table(open_data(data)[0], split, fields)
        if not train.cases:
            raise InputError(f"split: no case of the data set is in split {split!r}")
        if train.problem.steady and not self.steady:
            raise InputError(f"{self.name}: {train.problem.name} is steady, expected a problem in time")
        self.problem, self.fields, self.space = train.problem, train.fields, train.space
        self.step, self.cases = None if train.problem.steady else time_step(train), len(train.cases)
        self.first = self._first(train)
        self._learn(train)
        return self

    def _learn(self, train: CaseTable) -> None: ...

    def _first(self, train: CaseTable) -> int:
        """The number of the step at which the training cases begin."""
        if self.step is None or train.times is None:
            return 0
        found = {round(float(t[0]) / self.step.of(c)) for c, t in zip(train.cases, train.times, strict=True)}
        if len(found) > 1 and self.aligned:
            raise InputError(f"{self.name}: training cases begin at steps {min(found)} to {max(found)}, expected one")
        return min(found)

    def _known(self, case: Case) -> Any:
        """What is computed once for all rollouts of a case."""

    @abstractmethod
    def _predict(self, initial: np.ndarray, case: Case, known: Any, first: int, steps: int) -> np.ndarray:
        """(steps, field, *space) in the problem's scales, after frame number `first`, whose fields are `initial`."""

    def _answer(self, case: Case) -> np.ndarray:
        """(field, *space) in the problem's scales: the solution of a steady problem."""
        raise InputError(f"{self.name}: {case.problem.name} is steady, expected a problem in time")

    def supports(self, problem: PDEProblem) -> bool:
        return self.problem is None or problem.name == self.problem.name

    def _fitted(self) -> tuple[PDEProblem, TimeStep | None]:
        if self.problem is None:
            raise InputError(f"{self.name}: has seen no data; call fit first")
        return self.problem, self.step

    def rollout(self, initial: Any, cases: Sequence[Case], start: Any, steps: int) -> np.ndarray:
        """As `Surrogate.rollout`: (case, steps, field, *space) float32 in physical units."""
        problem, step = self._fitted()
        if step is None:
            raise InputError(f"rollout: {problem.name} is steady; use solve")
        d = problem.dimensions
        initial = np.asarray(initial, dtype=np.float64)
        if initial.ndim == d + 3:
            initial = initial[:, -1]
        starts = np.broadcast_to(np.asarray(start, dtype=np.float64), len(cases))
        found = np.empty((len(cases), steps, *initial.shape[1:]), dtype=np.float32)
        known = {id(case): self._known(case) for case in {id(c): c for c in cases}.values()}
        for i, case in enumerate(cases):
            first = int(step.index(case, starts[i : i + 1])[0]) - self.first
            scale = self._scale(case)
            found[i] = self._predict(initial[i] / scale, case, known[id(case)], first, steps) * scale
        return found

    def _solve(self, case: Case, times: np.ndarray | None, points: np.ndarray | None) -> xr.Dataset:
        problem, step = self._fitted()
        if points is not None:
            raise InputError(f"points: {self.name} answers on the grid of its data")
        grid = Grid.uniform(case.geometry, self.space)
        dims = ("z", "y", "x")[-problem.dimensions :]
        if step is None or times is None:
            frames = (self._answer(case) * self._scale(case)).astype(np.float32)
        else:
            index = step.index(case, times)
            values = problem.initial_state(case, grid)
            initial = np.stack([np.broadcast_to(values[n], grid.shape) for n in self.fields])[None]
            frames = np.concatenate([initial, self.rollout(initial, [case], 0.0, int(index[-1]))[0]])[index]
            frames, dims = np.moveaxis(frames, 1, 0), ("time", *dims)
        fields = {n: (dims, np.ascontiguousarray(frames[i], np.float32)) for i, n in enumerate(self.fields)}
        coords = dict(zip("xyz", grid.centres, strict=False))
        return _data.solution(case, times, fields, coords, solver=self.name, settings=self.settings)

    def _scale(self, case: Case) -> np.ndarray:
        """(field, 1, ...) the problem's scales."""
        return np.array([case.scales.fields.get(n, 1.0) for n in self.fields]).reshape(-1, *[1] * len(self.space))

    def solve_many(self, cases: Iterable[Case], times: Any = None, progress: bool = True) -> xr.Dataset:
        cases = as_cases(cases)
        each = times_for(cases, times)
        return _data.pack([self.solve(c, t) for c, t in zip(cases, each, strict=True)])


@registry.solvers.register("persistence")
class Persistence(Baseline):
    """Nothing changes: û(t) = u(start)."""

    name = "persistence"
    steady = False
    aligned = False

    def _predict(self, initial: np.ndarray, case: Case, known: Any, first: int, steps: int) -> np.ndarray:
        return np.broadcast_to(initial, (steps, *initial.shape))


@registry.solvers.register("mean_field")
class MeanField(Baseline):
    """The mean of the training cases at the same number of steps, in the problem's scales; it knows nothing of the case
    but its scales. Beyond the longest training case the last mean stays."""

    name = "mean field"

    def _learn(self, train: CaseTable) -> None:
        longest = int(train.length.max())
        total = np.zeros((longest, len(self.fields), *self.space))
        count = np.zeros(longest)
        for i in range(len(train.cases)):
            frames = train.frames(i)
            total[: len(frames)] += frames
            count[: len(frames)] += 1
        self.mean = total / count.reshape(-1, *[1] * (total.ndim - 1))

    def _predict(self, initial: np.ndarray, case: Case, known: Any, first: int, steps: int) -> np.ndarray:
        return self.mean[np.clip(first + 1 + np.arange(steps), 0, len(self.mean) - 1)]

    def _answer(self, case: Case) -> np.ndarray:
        return self.mean[0]


@registry.solvers.register("parameter_interpolation")
class ParameterInterpolation(Baseline):
    """A smooth interpolant of whole training trajectories over the space of cases, corrected by the given frame.

    A case is described by z: its dimensionless features (the mean in time), the course of those that change in time,
    its coefficient and source fields, and its initial field, each block reduced to its principal components. With a
    Matérn-5/2 kernel k over d² = Σ_block |Δz_block|² / ℓ_block² the trajectory is

        û(t; z) = ū(t) + Σ_i w_i(z) (u_i(t) − ū(t)),    w = (K + λI)⁻¹ k(z),

    at equal numbers of steps. ℓ and λ minimise the leave-one-out error on the training cases (in closed form; for each
    subset of the benchmark its own, with all cases in the sum): nothing is set by hand, and nothing held out is used.

    A rollout also knows the frame that it starts from. What the interpolant misses there is carried on, faded by
    c_k, the regression of leave-one-out residuals k steps apart:

        û(s + k) = û(s + k; z) + c_k (u(s) − û(s; z)).

    Source: C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning (2006), sections 2.2, 5.4.2.
    """

    name = "interpolation"
    LENGTHS = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0)
    RIDGES = (1e-11, 1e-8, 1e-5, 1e-3, 3e-2)

    def _learn(self, train: CaseTable) -> None:
        self.names = feature_names(train.cases[0], self.step)
        longest = int(train.length.max())
        self.frames = np.empty((len(train.cases), longest, len(self.fields), *self.space), dtype=np.float32)
        for i in range(len(train.cases)):
            frames = train.frames(i)
            self.frames[i, : len(frames)] = frames
            self.frames[i, len(frames) :] = frames[-1]
        first = [None if self.step is None else f[0] for f in self.frames]
        if self.first:  # what is known of a case is how it begins, not what the data begin with
            first = [self._initial(c) for c in train.cases]
        raw = [self._describe(c, f) for c, f in zip(train.cases, first, strict=True)]
        self.blocks = [_Block(np.stack(column)) for column in zip(*raw, strict=True)]
        self.z = [block(np.stack(column)) for block, column in zip(self.blocks, zip(*raw, strict=True), strict=True)]
        self.mean = self.frames.mean(axis=0)
        coarse = self.frames[(slice(None), slice(None), slice(None), *[slice(None, None, 2)] * len(self.space))]
        centred = (coarse - coarse.mean(axis=0)).reshape(len(coarse), -1).astype(np.float64)
        gram = centred @ centred.T
        subsets = train.subsets
        groups = {"": np.arange(len(coarse))}
        groups |= {str(s): np.flatnonzero(subsets == s) for s in np.unique(subsets) if (subsets == s).sum() >= 4}
        self.choice: dict[str, tuple[tuple[float, ...], float]] = {}
        self.inverse: dict[str, np.ndarray] = {}
        self.carry: dict[str, np.ndarray] = {}
        used = [b for b, block in enumerate(self.blocks) if block.size]
        squares = [_squares(self.z[b], self.z[b]) for b in used]
        best: dict[str, float] = dict.fromkeys(groups, np.inf)
        for lengths in itertools.product(self.LENGTHS, repeat=len(used)):
            parts = [s / h**2 for s, h in zip(squares, lengths, strict=True)]
            kernel = _matern(np.sum(parts, axis=0) if parts else np.zeros_like(gram))
            values, vectors = np.linalg.eigh(kernel)
            rotated = vectors.T @ gram @ vectors
            for ridge in self.RIDGES:
                shrunk = 1.0 / (np.maximum(values, 0) + ridge)
                inverse_diagonal = (vectors**2) @ shrunk
                scaled = vectors * shrunk
                missed = np.einsum("ij,jk,ik->i", scaled, rotated, scaled, optimize=True) / inverse_diagonal**2
                for name, rows in groups.items():
                    if missed[rows].sum() < best[name]:
                        best[name] = missed[rows].sum()
                        full = dict(zip(used, lengths, strict=True))
                        chosen = tuple(full.get(b, 1.0) for b in range(len(self.blocks)))
                        self.choice[name] = (chosen, ridge)
        for name, rows in groups.items():
            lengths, ridge = self.choice[name]
            inverse = np.linalg.inv(self._kernel(self.z, lengths) + ridge * np.eye(len(coarse)))
            self.inverse[name] = inverse
            residual = (inverse[rows] @ centred) / np.diag(inverse)[rows, None]
            self.carry[name] = _fading(residual.reshape(len(rows), longest, -1))

    def _describe(self, case: Case, initial: np.ndarray | None) -> tuple[np.ndarray, ...]:
        """Static features, their course in time, input fields that act throughout, initial field."""
        grid = Grid.uniform(case.geometry, self.space)
        numbers = self.first + np.arange(self.frames.shape[1])
        times = np.zeros(1) if self.step is None else self.step.of(case) * numbers
        course = feature_table(case, times, self.step, self.names)
        given = [np.zeros(0), *(case.input_on(name, grid).ravel() for name in static_inputs(case.problem))]
        start = np.zeros(0) if initial is None else np.asarray(initial, float).ravel()
        return course.mean(axis=0), (course - course.mean(axis=0)).ravel(), np.concatenate(given), start

    def _kernel(self, z: Sequence[np.ndarray], lengths: Sequence[float]) -> np.ndarray:
        parts = [_squares(a, b) / h**2 for a, b, h in zip(z, self.z, lengths, strict=True)]
        return _matern(np.sum(parts, axis=0))

    def trajectory(self, case: Case, initial: np.ndarray | None = None) -> np.ndarray:
        """(frame, field, *space) in the problem's scales, from what is known of the case at its beginning."""
        _, step = self._fitted()
        if initial is None and step is not None:
            initial = self._initial(case)
        z = [block(part[None]) for block, part in zip(self.blocks, self._describe(case, initial), strict=True)]
        key = self._key(case)
        weights = (self._kernel(z, self.choice[key][0]) @ self.inverse[key])[0]
        # Σ w (u_i − ū) = Σ w u_i − (Σ w) ū, which spares a copy of all trajectories
        flat = self.frames.reshape(len(self.frames), -1)
        return (weights.astype(np.float32) @ flat).reshape(self.mean.shape) + (1 - weights.sum()) * self.mean

    def _initial(self, case: Case) -> np.ndarray:
        """(field, *space) at time zero, in the problem's scales."""
        grid = Grid.uniform(case.geometry, self.space)
        values = case.problem.initial_state(case, grid)
        return np.stack([np.broadcast_to(values[n], grid.shape) for n in self.fields]) / self._scale(case)

    def _known(self, case: Case) -> np.ndarray:
        return self.trajectory(case)

    def _answer(self, case: Case) -> np.ndarray:
        return self.trajectory(case)[0]

    def _key(self, case: Case) -> str:
        return case.subset if case.subset in self.choice else ""

    def _predict(self, initial: np.ndarray, case: Case, known: Any, first: int, steps: int) -> np.ndarray:
        path, last = known, len(known) - 1
        fade = self.carry[self._key(case)]
        at = path[np.clip(first + 1 + np.arange(steps), 0, last)]
        c = fade[np.minimum(1 + np.arange(steps), len(fade) - 1)].reshape(-1, *[1] * initial.ndim)
        return at + c * (initial - path[np.clip(first, 0, last)])

    @property
    def settings(self) -> dict[str, Any]:
        if self.problem is None:
            return {}
        return {k or "all": {"lengths": list(h), "ridge": r} for k, (h, r) in self.choice.items()}


class _Block:
    """Principal components of one part of the descriptor, scaled so that the leading one has unit variance."""

    def __init__(self, rows: np.ndarray, share: float = 0.9999, most: int = 64):
        self.centre = rows.mean(axis=0)
        spread = rows.std(axis=0)
        # features of different meaning count alike; within a course or a field the natural proportions stay
        self.weight = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0) if rows.shape[1] < 32 else np.ones(
            rows.shape[1])  # fmt: skip
        _, s, vt = np.linalg.svd((rows - self.centre) * self.weight, full_matrices=False)
        keep = 0
        if s.size and s[0] > 1e-9 * max(1.0, float(np.abs(rows).max())) * np.sqrt(rows.size):
            energy = np.cumsum(s**2) / (s**2).sum()
            keep = min(int(np.searchsorted(energy, share)) + 1, most, len(s))
        self.size = keep
        self.basis = vt[:keep].T
        self.scale = s[0] / np.sqrt(len(rows)) if keep else 1.0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return ((rows - self.centre) * self.weight) @ self.basis / self.scale


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)


def _matern(square: np.ndarray) -> np.ndarray:
    r = np.sqrt(5 * np.maximum(square, 0))
    return (1 + r + r**2 / 3) * np.exp(-r)


def _fading(residual: np.ndarray) -> np.ndarray:
    """c_k = Σ ⟨r(s), r(s + k)⟩ / Σ (⟨r(s), r(s)⟩ + ε) over cases and frames s; c_0 = 1.

    ε, a millionth of the mean over all frames, is a ridge: where the frames s are known exactly, as initial states may
    be, their residuals are rounding, from which nothing follows for later ones.
    """
    frames = residual.shape[1]
    products = np.einsum("cid,cjd->ij", residual, residual, optimize=True)
    ridge = 1e-6 * np.trace(products) / frames
    fade = np.ones(frames)
    for k in range(1, frames):
        own = np.trace(products[: frames - k, : frames - k]) + (frames - k) * ridge
        fade[k] = np.trace(products, offset=k) / own if own > 0 else 0.0
    return fade
