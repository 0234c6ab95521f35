"""Interpolation of training trajectories over the space of cases: what wins where cases vary smoothly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sciml import registry
from sciml.errors import InputError
from sciml.problem import Case
from sciml.solver import Start
from sciml.solvers.baselines import Trajectories
from sciml.support import Grid, Support
from sciml.training.normalisation import FeatureScaler
from sciml.training.samples import CaseTable, feature_table, features, static_inputs


@registry.solvers.register("parameter_interpolation")
class ParameterInterpolation(Trajectories):
    """A smooth interpolant of whole training trajectories over the space of cases, corrected by the given frame.

    A case is described by z: its dimensionless features (the mean in time), the course of those that change in time,
    its coefficient and source fields (and the places of its nodes, where they differ), and its initial field, each
    block reduced to its principal components. With a Matérn-5/2 kernel k over d² = Σ_block |Δz_block|² / ℓ_block² the
    trajectory is

        û(t; z) = ū(t) + Σ_i w_i(z) (u_i(t) − ū(t)),    w = (K + λI)⁻¹ k(z),

    at equal times. ℓ and λ minimise the leave-one-out error on the training cases, weighted by quadrature (in closed
    form; for each subset of the benchmark with at least `FEWEST` of them its own, with all cases in the sum): nothing
    is set by hand, and nothing held out is used.

    A rollout also knows the frame that it starts from. What the interpolant misses there is carried on, faded by
    c_k, the regression of leave-one-out residuals k steps apart:

        û(s + k) = û(s + k; z) + c_k (u(s) − û(s; z)).

    How a case begins is what the problem says of it, else the frame that the start gives as its beginning.

    Source: C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine Learning (2006), sections 2.2, 5.4.2.
    """

    name = "interpolation"
    title = "interpolation"
    LENGTHS = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0, 20.0)
    RIDGES = (1e-11, 1e-8, 1e-5, 1e-3, 3e-2)
    #: cases that choose for themselves: six flows past a cylinder chose no ridge, and the error of rollouts on test
    #: cases was five times that of one choice for all
    FEWEST = 8

    def _take(self, train: CaseTable) -> None:
        cases, clock = train.cases, self.clock
        longest = 1 if clock is None else len(clock.times)
        # for each time all cases, so that a rollout reads what it needs in one piece
        self.frames = np.empty((longest, len(cases), len(train.fields), *self.layout.template.shape), dtype=np.float32)
        for i, (frames, _) in enumerate(self._aligned(train)):
            self.frames[: len(frames), i] = frames
            self.frames[len(frames) :, i] = frames[-1]
        self.mean = self.frames.mean(axis=1)
        self.names = tuple(features(cases[0], self._times(cases[0])[:1], self._step(cases[0]))[0])
        self.says = clock is not None and self._says(train)
        supports = [train.support(i) for i in range(len(cases))]
        # what is known of a case is how it begins, not what the data begin with
        late = clock is not None and self.says and clock.times[0] > 0.5 * clock.step
        raw = []
        for i, (case, support) in enumerate(zip(cases, supports, strict=True)):
            first = None if clock is None else self._said(case, support) if late else self.frames[0, i]
            raw.append([*self._described(case, support), np.zeros(0) if first is None else _flat(first)])
        self.scaler = FeatureScaler.fit(self.names, np.stack([described[0] for described in raw]))
        self.blocks = [_Block.of(np.stack(column)) for column in zip(*raw, strict=True)]
        self.z = [block(np.stack(column)) for block, column in zip(self.blocks, zip(*raw, strict=True), strict=True)]
        self._choose(train.subsets, *self._centred())

    def _centred(self) -> tuple[np.ndarray, int]:
        """(case, value) deviations from the mean on a thinned support, by the roots of quadrature weights, and the
        number of frames."""
        template = self.layout.template
        d, axes = template.dimensions, len(template.shape)
        cut = (slice(None, None, 2),) * axes if axes == d else (slice(None, None, 2**d),)
        weights = template.weights()[cut]
        root = np.sqrt(weights / weights[weights > 0].mean())
        coarse = np.moveaxis(self.frames[(slice(None), slice(None), slice(None), *cut)], 1, 0)
        centred = (coarse - coarse.mean(axis=0)).astype(np.float64) * root
        return centred.reshape(len(coarse), -1), len(self.frames)

    def _choose(self, subsets: np.ndarray, centred: np.ndarray, longest: int) -> None:
        """Lengths and ridge of each subset, by the leave-one-out error of its cases."""
        gram = centred @ centred.T
        groups = {"": np.arange(len(centred))}
        groups |= {
            str(s): np.flatnonzero(subsets == s) for s in np.unique(subsets) if (subsets == s).sum() >= self.FEWEST
        }
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
            inverse = np.linalg.inv(self._kernel(self.z, lengths) + ridge * np.eye(len(centred)))
            self.inverse[name] = inverse
            residual = (inverse[rows] @ centred) / np.diag(inverse)[rows, None]
            self.carry[name] = _fading(residual.reshape(len(rows), longest, -1))

    # -- what a case is -----------------------------------------------------------------------------------------

    def _times(self, case: Case) -> np.ndarray:
        return np.zeros(1) if self.clock is None else self.clock.times * self.clock.unit(case)

    def _step(self, case: Case) -> float:
        return 0.0 if self.clock is None else self.clock.step * self.clock.unit(case)

    def _described(self, case: Case, support: Support) -> tuple[np.ndarray, ...]:
        """Static features, their course in time, input fields that act throughout."""
        course = feature_table(case, self._times(case), self._step(case), self.names)
        layout, on_grid = self.layout, isinstance(support, Grid)
        place = layout.place(support) if on_grid and not layout.alike(support) else support
        into = _flat if on_grid else layout.into(support)
        given = [np.zeros(0), *(into(case.input_on(n, place)).ravel() for n in static_inputs(case.problem))]
        if not on_grid and not layout.shared and not layout.mixed and layout.alike(support):
            given.append(support.points().ravel())
        return course.mean(axis=0), (course - course.mean(axis=0)).ravel(), np.concatenate(given)

    def _doubts(self, start: Start, times: np.ndarray | None) -> list[str]:
        means = self._described(start.case, start.support)[0]
        return self.scaler.doubts(means[None]) + super()._doubts(start, times)

    def _says(self, train: CaseTable) -> bool:
        """Whether the problem itself says how its cases begin."""
        try:
            self._said(train.cases[0], train.support(0))
        except InputError:
            return False
        return True

    def _said(self, case: Case, support: Support) -> np.ndarray:
        """(field, *template.shape) at time zero, in the problem's scales."""
        place = support if self.layout.alike(support) else self.layout.place(support)
        return self._initial(case, place) / self._scale(case, place)

    def _begins(self, start: Start) -> np.ndarray | None:
        """(field, *template.shape) how the case begins, in the problem's scales; None where nothing says so."""
        assert self.clock is not None
        case, support = start.case, start.support
        if self.says:
            return self._said(case, support)
        if start.first is None and not len(start.frames):
            return None
        values, time = start.beginning
        if abs(float(self.clock.positions(case, np.array([time]))[0])) > 0.5:
            return None
        return self.layout.into(support)(values / self._scale(case, support))

    @property
    def sees_start(self) -> bool:  # type: ignore[override]
        return self.blocks[-1].size > 0

    # -- answers ------------------------------------------------------------------------------------------------

    def _kernel(self, z: Sequence[np.ndarray], lengths: Sequence[float]) -> np.ndarray:
        parts = [_squares(a, b) / h**2 for a, b, h in zip(z, self.z, lengths, strict=True)]
        return _matern(np.sum(parts, axis=0))

    def _known(self, starts: Sequence[Start]) -> np.ndarray:
        """(start, case) weights w."""
        found: dict[tuple[int, int, int], np.ndarray] = {}
        rows = []
        for s in starts:
            origin = 0 if self.says else id(s.frames if s.first is None else s.first[0])
            key = (id(s.case), id(s.support), origin)
            if key not in found:
                found[key] = self._weights(s)
            rows.append(found[key])
        return np.stack(rows)

    def _weights(self, start: Start) -> np.ndarray:
        case = start.case
        begins = None if self.clock is None else self._begins(start)
        parts = [*self._described(case, start.support), None if begins is None else _flat(begins)]
        # of what is not known, the mean of the training cases is taken
        z = [np.zeros((1, b.size)) if p is None else b(p[None]) for b, p in zip(self.blocks, parts, strict=True)]
        key = self._key(case)
        return (self._kernel(z, self.choice[key][0]) @ self.inverse[key])[0]

    def _frame(self, known: np.ndarray, rows: np.ndarray, number: int) -> np.ndarray:
        # Σ w (u_i − ū) = Σ w u_i − (Σ w) ū, which spares a copy of all trajectories
        frames, mean = self.frames[number], self.mean[number]
        w = known[rows]
        made = (w.astype(np.float32) @ frames.reshape(len(frames), -1)).reshape(len(rows), *mean.shape)
        return made + (1 - w.sum(1)).reshape(-1, *[1] * mean.ndim) * mean

    def _fade(self, case: Case) -> np.ndarray:
        return self.carry[self._key(case)]

    def _key(self, case: Case) -> str:
        return case.subset if case.subset in self.choice else ""

    # -- files --------------------------------------------------------------------------------------------------

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {"frames": self.frames}
        for b, (block, z) in enumerate(zip(self.blocks, self.z, strict=True)):
            found |= {f"block_{b}_{k}": v for k, v in block.arrays().items()} | {f"z_{b}": z}
        for k, key in enumerate(self.choice):
            found |= {f"inverse_{k}": self.inverse[key], f"carry_{k}": self.carry[key]}
        return found

    def _values(self) -> dict[str, Any]:
        choice = [[key, list(lengths), ridge] for key, (lengths, ridge) in self.choice.items()]
        return super()._values() | {
            "names": list(self.names),
            "says": self.says,
            "choice": choice,
            "features": self.scaler.to_json(),
        }

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super()._restore(arrays, values)
        self.frames, self.names, self.says = arrays["frames"], tuple(values["names"]), bool(values["says"])
        self.mean, self.scaler = self.frames.mean(axis=1), FeatureScaler.from_json(values["features"])
        count = sum(name.startswith("z_") for name in arrays)
        parts = ("centre", "weight", "basis", "scale")
        self.blocks = [_Block(*(arrays[f"block_{b}_{k}"] for k in parts)) for b in range(count)]
        self.z = [arrays[f"z_{b}"] for b in range(count)]
        self.choice = {key: (tuple(lengths), float(ridge)) for key, lengths, ridge in values["choice"]}
        self.inverse = {key: arrays[f"inverse_{k}"] for k, key in enumerate(self.choice)}
        self.carry = {key: arrays[f"carry_{k}"] for k, key in enumerate(self.choice)}

    @property
    def settings(self) -> dict[str, Any]:
        if self.problem is None:
            return {}
        return {k or "all": {"lengths": list(h), "ridge": r} for k, (h, r) in self.choice.items()}


def _flat(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).ravel()


class _Block:
    """Principal components of one part of the descriptor, scaled so that the leading one has unit variance."""

    def __init__(self, centre: np.ndarray, weight: np.ndarray, basis: np.ndarray, scale: Any):
        self.centre, self.weight, self.basis, self.scale = centre, weight, basis, float(scale)
        self.size = basis.shape[1]

    @staticmethod
    def of(rows: np.ndarray, share: float = 0.9999, most: int = 64) -> _Block:
        """Those of the rows (case, value): enough for `share` of their variance, at most `most`."""
        centre = rows.mean(axis=0)
        spread = rows.std(axis=0)
        # features of different meaning count alike; within a course or a field the natural proportions stay
        weight = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0) if rows.shape[1] < 32 else np.ones(
            rows.shape[1])  # fmt: skip
        _, s, vt = np.linalg.svd((rows - centre) * weight, full_matrices=False)
        keep = 0
        if s.size and s[0] > 1e-9 * max(1.0, float(np.abs(rows).max())) * np.sqrt(rows.size):
            energy = np.cumsum(s**2) / (s**2).sum()
            keep = min(int(np.searchsorted(energy, share)) + 1, most, len(s))
        return _Block(centre, weight, vt[:keep].T, s[0] / np.sqrt(len(rows)) if keep else 1.0)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"centre": self.centre, "weight": self.weight, "basis": self.basis, "scale": np.array(self.scale)}

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
