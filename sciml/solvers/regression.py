"""Regression of whole fields on what a case is described by: floors that a surrogate on a mesh has to break through.

A case is described by z, its dimensionless features (their mean in time; for somebody's own data the parameters, and
the lengths of the domain where these differ), each over its spread in training. Fields are those of a grid or of the
nodes of one mesh, which may move with the case: values go node by node. Input fields and initial states are not looked
at; `ParameterInterpolation` does that.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from sciml import registry
from sciml.errors import InputError
from sciml.problem import Case
from sciml.solver import Start
from sciml.solvers.baselines import Trajectories
from sciml.support import Grid
from sciml.training.encoding.linear import linear_features
from sciml.training.normalisation import FeatureScaler
from sciml.training.samples import CaseTable, feature_table, features, sizes
from sciml.training.stepping import Steady


class Regression(Trajectories):
    """Abstract: what is known of a case are its features."""

    sees_start = False
    linear: tuple[str, ...] = ()  # the features that answers are linear in

    def _take(self, train: CaseTable) -> None:
        if self.layout.mixed and not isinstance(self.layout.template, Grid):
            raise InputError(
                f"{self.name}: the meshes of the training cases differ, expected one mesh whose nodes may move; "
                "the mean field and the interpolation take any"
            )
        cases, supports = train.cases, [train.support(i) for i in range(len(train.cases))]
        first = features(cases[0], self._times(cases[0])[:1], self._step(cases[0]))[0]
        self.names = (*first, *sizes(supports, train.problem))
        placed = [c.on(s) for c, s in zip(cases, supports, strict=True)]
        raw = np.stack([self._raw(case) for case in placed])
        self.scaler = FeatureScaler.fit(self.names, raw)
        self.centre, self.spread = raw.mean(axis=0), raw.std(axis=0)
        varies = self.spread > 1e-9 * np.maximum(np.abs(raw).max(axis=0), 1e-300)
        if not varies.any():
            raise InputError(f"{self.name}: the training cases do not differ in any feature of {train.problem.name}")
        self.spread = np.where(varies, self.spread, np.inf)
        longest = 1 if self.clock is None else len(self.clock.times)
        frames = np.empty((longest, len(cases), len(train.fields), *self.layout.template.shape))
        for i, (values, _) in enumerate(self._aligned(train)):
            frames[: len(values), i] = values
            frames[len(values) :, i] = values[-1]
        self._regress(raw, frames)

    @abstractmethod
    def _regress(self, raw: np.ndarray, frames: np.ndarray) -> None:
        """Learn from features (case, feature) and frames (time, case, field, *shape) in the problem's scales."""

    def _times(self, case: Case) -> np.ndarray:
        return np.zeros(1) if self.clock is None else self.clock.times * self.clock.unit(case)

    def _step(self, case: Case) -> float:
        return 0.0 if self.clock is None else self.clock.step * self.clock.unit(case)

    def _raw(self, case: Case) -> np.ndarray:
        """(feature,) means in time."""
        return feature_table(case, self._times(case), self._step(case), self.names).mean(axis=0)

    def _doubts(self, start: Start, times: np.ndarray | None) -> list[str]:
        found = self.scaler.doubts(self._raw(start.case)[None], free=self.linear)
        return found + super()._doubts(start, times)

    def _z(self, raw: np.ndarray) -> np.ndarray:
        """Features over their spread; 0 for those that never vary."""
        return (raw - self.centre) / self.spread

    def _known(self, starts: Sequence[Start]) -> np.ndarray:
        found: dict[int, np.ndarray] = {}
        for s in starts:
            if id(s.case) not in found:
                found[id(s.case)] = self._described(self._raw(self._placed(s))[None])[0]
        return np.stack([found[id(s.case)] for s in starts])

    @abstractmethod
    def _described(self, raw: np.ndarray) -> np.ndarray:
        """(case, ...) what answers are made from, of features (case, feature)."""

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"centre": self.centre, "spread": self.spread}

    def _values(self) -> dict[str, Any]:
        return super()._values() | {"names": list(self.names), "features": self.scaler.to_json()}

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super()._restore(arrays, values)
        self.centre, self.spread, self.names = arrays["centre"], arrays["spread"], tuple(values["names"])
        self.scaler = FeatureScaler.from_json(values["features"])


@registry.solvers.register("nearest_case")
class NearestCase(Regression):
    """û(z) = u_i with i = argmin |z − z_i|: the training case whose features are nearest."""

    name = "nearest case"
    title = "nearest case"

    def _regress(self, raw: np.ndarray, frames: np.ndarray) -> None:
        self.z, self.frames = self._z(raw), frames.astype(np.float32)

    def _described(self, raw: np.ndarray) -> np.ndarray:
        return ((self._z(raw)[:, None] - self.z) ** 2).sum(axis=-1).argmin(axis=1)

    def _frame(self, known: np.ndarray, rows: np.ndarray, number: int) -> np.ndarray:
        return self.frames[number, known[rows]].astype(np.float64)

    def _arrays(self) -> dict[str, np.ndarray]:
        return super()._arrays() | {"z": self.z, "frames": self.frames}

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super()._restore(arrays, values)
        self.z, self.frames = arrays["z"], arrays["frames"]


@registry.solvers.register("linear_regression")
class LinearRegression(Regression):
    """û(z) = b + Σ_k z_k a_k at every point and time, by least squares; of several such the one of least norm."""

    name = "linear regression"
    title = "linear regression"

    def _regress(self, raw: np.ndarray, frames: np.ndarray) -> None:
        design = self._described(raw)
        self.weights_ = np.einsum("pn,tn...->tp...", np.linalg.pinv(design), frames)

    def _described(self, raw: np.ndarray) -> np.ndarray:
        z = self._z(raw)
        return np.concatenate([np.ones((len(z), 1)), z], axis=1)

    def _frame(self, known: np.ndarray, rows: np.ndarray, number: int) -> np.ndarray:
        return np.einsum("rp,p...->r...", known[rows], self.weights_[number])

    def _arrays(self) -> dict[str, np.ndarray]:
        return super()._arrays() | {"weights": self.weights_}

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super()._restore(arrays, values)
        self.weights_ = arrays["weights"]


@dataclass(frozen=True)
class _Kernel:
    """A space of functions of z: polynomials up to a degree, or Matérn-5/2 with a length.

    Args:
        degree: of polynomials; 0 for Matérn.
        length: of Matérn, in units of the features' spread times the root of their number.
        logarithmic: whether features that are positive throughout go by their logarithms.
    """

    degree: int
    length: float = 1.0
    logarithmic: bool = False

    def matrix(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(A, B) for standardised features (A, d), (B, d); of polynomials without the constant."""
        if not a.shape[1]:
            return np.zeros((len(a), len(b)))
        if self.degree:
            return self._monomials(a) @ self._monomials(b).T
        square = ((a[:, None] - b[None]) ** 2).sum(axis=-1) / (self.length**2 * a.shape[1])
        r = np.sqrt(5 * square)
        return (1 + r + r**2 / 3) * np.exp(-r)

    def terms(self, features: int) -> int:
        return math.comb(features + self.degree, self.degree)

    def _monomials(self, z: np.ndarray) -> np.ndarray:
        columns = [
            np.prod(z[:, list(term)], axis=1) / math.factorial(order)
            for order in range(1, self.degree + 1)
            for term in combinations_with_replacement(range(z.shape[1]), order)
        ]
        return np.stack(columns, axis=1)


@registry.solvers.register("pod_regression")
class PODRegression(Regression):
    """û(z) = ū + Σ_{k ≤ r} c_k(z) φ_k: proper orthogonal modes φ of whole trajectories, their coefficients by ridge
    regression on the features.

    Modes are orthogonal by the quadrature weights, each field over its spread in training. The coefficients are

        c(z) = κ(z)ᵀ (K + λI)⁻¹ C,

    with the kernel of polynomials of degree 1 to 4 (and an intercept) or of Matérn-5/2, of the features or of the
    logarithms of those that are positive. Kernel, λ and rank r minimise the leave-one-out error of the training cases
    in closed form, modes given: a mode is kept only as long as its coefficient is known better than by its mean.

    With `linear_in` the answer is linear in these parameters ℓ (all of them together: without them it is zero), by the
    kernel (ℓ·ℓ′) κ(q, q′) of them and the other features q, without a mean and an intercept.

    Args:
        linear_in: parameters in which the solution is linear: loads of an elastic body, sources of heat.

    Raises:
        InputError: at `fit`, a parameter that is none of the problem's or that the solution's scales go with.

    Source: J. Hesthaven, S. Ubbiali, Non-intrusive reduced order modeling of nonlinear problems using neural networks
    (2018), sections 2 and 3, with ridge regression in the place of the network.
    """

    name = "POD regression"
    title = "POD regression"
    DEGREES = (1, 2, 3, 4)
    LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    RIDGES = tuple(10.0**-k for k in range(1, 11))
    MOST_TERMS = 3000

    def __init__(self, linear_in: Sequence[str] = ()) -> None:
        super().__init__()
        if isinstance(linear_in, str):
            raise InputError(f"linear_in: expected a sequence of names of parameters, got the text {linear_in!r:.80}")
        self.stepping = Steady(linear_in=tuple(linear_in))

    def _take(self, train: CaseTable) -> None:
        if self.stepping.linear:
            self.stepping.check(train.problem)
            self.linear = linear_features(train.cases, self.stepping.linear)
        super()._take(train)

    @property
    def _loads(self) -> list[int]:
        """The columns of the features that answers are linear in."""
        return [self.names.index(name) for name in self.linear]

    def _regress(self, raw: np.ndarray, frames: np.ndarray) -> None:
        n = frames.shape[1]
        self.mean = frames.mean(axis=1) * (not self.linear)
        centred = frames - self.mean[:, None]
        w = self.layout.template.weights()
        weighted = centred * np.sqrt(w / w.sum())
        size = np.sqrt((weighted**2).sum(axis=(0, 1, *range(3, centred.ndim))))
        weighted /= np.where(size > 0, size, 1.0).reshape(-1, *[1] * w.ndim)
        flat = np.moveaxis(weighted, 1, 0).reshape(n, -1)
        values, vectors = np.linalg.eigh(flat @ flat.T)
        values, vectors = values[::-1], vectors[:, ::-1]
        keep = values > 1e-13 * max(float(values[0]), 1e-300)
        if not keep.any():
            raise InputError(f"{self.name}: the training cases have all the same fields, expected some that differ")
        values, vectors = values[keep], vectors[:, keep]
        coefficients = vectors * np.sqrt(values)
        self._choose(raw, coefficients)
        rank = self.rank
        self.alpha = self.alpha[:, :rank]
        # the modes are those combinations of the training cases, in the units of the fields
        self.modes = np.einsum("nk,tn...->tk...", vectors[:, :rank] / np.sqrt(values[:rank]), centred)

    def _choose(self, raw: np.ndarray, coefficients: np.ndarray) -> None:
        """Kernel, λ, and rank by the leave-one-out error."""
        n = len(raw)
        energy = (coefficients**2).sum(axis=0)
        rest = np.append(np.cumsum(energy[::-1])[::-1], 0.0)  # what modes from k on hold
        self.positive = (raw > 0).all(axis=0) & np.isfinite(self.spread)
        self.positive[self._loads] = False
        best = np.inf
        for kernel in self._kernels(raw):
            z = self._standardised(raw, kernel, fresh=True)
            gram = self._gram(kernel, z, z)
            # polynomials have an intercept, which nothing shrinks: one more direction, which coefficients lack
            free = kernel.degree and not self.linear
            eigen, basis = np.linalg.eigh(gram + np.trace(gram) / n if free else gram)
            rotated = basis.T @ coefficients
            for share in self.RIDGES:
                ridge = share * float(np.trace(gram)) / n
                shrunk = ridge / (np.maximum(eigen, 0.0) + ridge)
                left = np.maximum((basis**2) @ shrunk, 1e-300)  # 1 − leverage
                missed = (((basis * shrunk) @ rotated / left[:, None]) ** 2).sum(axis=0)
                error = np.append(0.0, np.cumsum(missed)) + rest
                rank = max(int(np.argmin(error)), 1)
                if error[rank] < best:
                    best, self.kernel, self.rank = float(error[rank]), kernel, rank
                    self.alpha = (basis * (shrunk / ridge)) @ rotated
        self.error = float(np.sqrt(best / energy.sum())) if energy.sum() > 0 else 0.0
        self.z = self._standardised(raw, self.kernel, fresh=True)
        self.offset = self._gram(self.kernel, self.z, self.z, offset=True)

    def _kernels(self, raw: np.ndarray) -> list[_Kernel]:
        varying, found = len(self._others), []
        if not varying:  # but loads
            return [_Kernel(1)]
        for logarithmic in (False, True) if self.positive.any() else (False,):
            found += [_Kernel(d, 1.0, logarithmic) for d in self.DEGREES]
            found += [_Kernel(0, length, logarithmic) for length in self.LENGTHS]
        return [k for k in found if not k.degree or k.degree == 1 or k.terms(varying) <= self.MOST_TERMS]

    @property
    def _others(self) -> list[int]:
        """The columns of the features that vary, without those that answers are linear in."""
        return [i for i in np.flatnonzero(np.isfinite(self.spread)).tolist() if i not in self._loads]

    def _standardised(self, raw: np.ndarray, kernel: _Kernel, fresh: bool = False) -> np.ndarray:
        """(case, feature): loads over their root mean square, then what varies, over its spread and through the
        logarithm where the kernel says so."""
        values = np.where(self.positive & kernel.logarithmic, np.log(np.maximum(raw, 1e-300)), raw)
        values = values[:, self._loads + self._others]
        if fresh:
            count = len(self.linear)
            mean, spread = values.mean(axis=0), values.std(axis=0)
            mean[:count], spread[:count] = 0.0, np.sqrt((values[:, :count] ** 2).mean(axis=0))
            self.scaled = (mean, spread)
        return (values - self.scaled[0]) / self.scaled[1]

    def _gram(self, kernel: _Kernel, a: np.ndarray, b: np.ndarray, offset: bool = False) -> np.ndarray:
        """The kernel between features; that of polynomials between their deviations from the mean over training.

        Args:
            offset: give what centres the second argument, (case,), instead.
        """
        count = len(self.linear)
        gram = kernel.matrix(a[:, count:], b[:, count:])
        if count:
            gram = (a[:, :count] @ b[:, :count].T) * (gram + 1.0 if kernel.degree else gram)
            return np.zeros(len(b)) if offset else gram
        if offset:
            return gram.mean(axis=0)
        if not kernel.degree:
            return gram
        column = gram.mean(axis=0) if a is b else self.offset
        return gram - gram.mean(axis=1, keepdims=True) - column + column.mean()

    def _described(self, raw: np.ndarray) -> np.ndarray:
        return self._gram(self.kernel, self._standardised(raw, self.kernel), self.z) @ self.alpha

    def _frame(self, known: np.ndarray, rows: np.ndarray, number: int) -> np.ndarray:
        return self.mean[number] + np.einsum("rk,k...->r...", known[rows], self.modes[number])

    @property
    def settings(self) -> dict[str, Any]:
        if self.problem is None:
            return {}
        k = self.kernel
        how = {"degree": k.degree} if k.degree else {"length": k.length}
        found = {"rank": self.rank, **how, "logarithmic": k.logarithmic, "leave_one_out": self.error}
        return found | ({"linear_in": list(self.stepping.linear)} if self.linear else {})

    def _arrays(self) -> dict[str, np.ndarray]:
        found = {"mean": self.mean, "modes": self.modes, "alpha": self.alpha, "z": self.z, "offset": self.offset}
        found |= {"positive": self.positive.astype(np.uint8), "scaled": np.stack(self.scaled)}
        return super()._arrays() | found

    def _values(self) -> dict[str, Any]:
        k = self.kernel
        kernel = {"degree": k.degree, "length": k.length, "logarithmic": k.logarithmic}
        linear = {"linear_in": list(self.stepping.linear), "linear": list(self.linear)}
        return super()._values() | {"kernel": kernel, "rank": self.rank, "error": self.error, **linear}

    def _restore(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super()._restore(arrays, values)
        self.mean, self.modes, self.alpha = arrays["mean"], arrays["modes"], arrays["alpha"]
        self.z, self.offset, self.positive = arrays["z"], arrays["offset"], arrays["positive"] > 0
        self.scaled = (arrays["scaled"][0], arrays["scaled"][1])
        self.kernel, self.rank, self.error = _Kernel(**values["kernel"]), int(values["rank"]), float(values["error"])
        self.stepping, self.linear = Steady(linear_in=tuple(values["linear_in"])), tuple(values["linear"])
