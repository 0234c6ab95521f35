"""Trajectories of a periodic problem as functions of time: their residual, its norm, and what lessens it.

Frames q_j at the times t_j are the values of a spline of degree p, q(t) = Σ_j ℓ_j(t) q_j, so that a trajectory has a
time derivative of its own, ∂t q = Σ_j ℓ'_j(t) q_j. With the balances as `_fourier_stepper` sorts them,

    R(t) = ∂t q − K(−M q + N(q, t)),    ‖R‖² = ∫ Σ_k |k|^{2s} |R̂_k(t)|² dt

by Parseval in space and Gauss's rule between two frames; the mean, k = 0, weighs as the longest wave does, and sums of
squares are means over the domain. s = −1 is the norm of L²(0, T; H⁻¹). Of a velocity without divergence in the plane
s = 0 is that of the residual of its vorticity: |R̂_u| = |R̂_ω|/|k|.

A correction δ of all frames but the known ones is linear in its modes, and R is but for products of fields: the least
squares are solved by Gauss and Newton, each step by conjugate gradients on the linearised residual J. These see δ = P z
with, for the modes of one wave vector, P the inverse of R in QR = |k|^s √w (ℓ'_j(t_g) + λ(k) ℓ_j(t_g)): of the part of
J that is linear in q and isotropic this leaves orthonormal columns. z and the residual are real and imaginary parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.interpolate import BSpline, make_interp_spline

from sciml.problem import Case, PDEProblem
from sciml.solvers import _fourier_stepper
from sciml.solvers._numerical import Alike
from sciml.solvers._promotion import standard
from sciml.support import Grid

DEGREE = 5


@dataclass(frozen=True)
class Least:
    """How the residual is made least.

    Args:
        order: s.
        newton: steps of Gauss and Newton.
        conjugate: steps of conjugate gradients in each.
        quadrature: Gauss points between two frames.
        degree: most of the splines.
    """

    order: float = 0.0
    newton: int = 2
    conjugate: int = 20
    quadrature: int = 1
    degree: int = DEGREE


def spline(times: np.ndarray, degree: int) -> BSpline:
    """ℓ_j: values (len(times),) at any time, not-a-knot; of less degree where there are too few frames."""
    n = len(times)
    degree = min(degree, n - 1 if n % 2 == 0 else n - 2) if n > 2 else n - 1
    return make_interp_spline(times, np.eye(n), k=degree)


def gauss(times: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's points between the times, and their weights."""
    x, w = np.polynomial.legendre.leggauss(points)
    step = np.diff(times)[:, None]
    return (times[:-1, None] + step * (x + 1) / 2).reshape(-1), (step * w / 2).reshape(-1)


class Trajectories:
    """Those of a case on one grid.

    Args:
        case: of a problem in a periodic box.
        grid: equal cells.
        how: the norm, and how it is made least.
        fields: the order of those of the frames; by default that of the balances.

    Raises:
        InputError: balances that a spectral solver does not take.
    """

    def __init__(self, case: Case, grid: Grid, how: Least, fields: Sequence[str] | None = None):
        assert isinstance(case.problem, PDEProblem)
        self.case, self.grid, self.how = case, grid, how
        names = _fourier_stepper.system(case.problem).fields
        #: where the balances' fields are among those of the frames
        self.places = [names.index(n) if fields is None else list(fields).index(n) for n in names]
        lower, upper = np.array(grid.extents, np.float64).T
        self.box: dict[str, Any] = {"lower": lower, "lengths": upper - lower}
        self.parameters = {k: np.float64(v) for k, v in dict(case.parameters).items()}

    def projected(self, frames: np.ndarray) -> np.ndarray:
        """(frame, field, *shape) without the waves and the divergence that no state has."""
        with jax.enable_x64(True):
            return self._out(_modes_of(*self._given(), self._into(frames)))

    def residual_norm(self, times: np.ndarray, frames: np.ndarray, begin: int = 0) -> np.ndarray:
        """(interval,) ∫ Σ_k |k|^{2s} |R̂_k|² dt between two frames, from the frame with number `begin` on."""
        with jax.enable_x64(True):
            places, weights = gauss(times[begin:], max(self.how.quadrature, 2))
            value, slope = self._splines(times, places)
            found = _square(*self._given(), self._into(frames), value, slope, places, self.how.order)
            return (weights * np.asarray(found)).reshape(len(times) - begin - 1, -1).sum(1)

    def energy_error(self, times: np.ndarray, error: np.ndarray) -> float:
        """(max_t ‖e‖² + 2 ∫ Σ_k λ(k) |ê_k|² dt)^½ of an error (frame, field, *shape): ‖·‖ is the root mean square, and
        λ the decay of the balances' linear part, νk² and the drag of a flow."""
        with jax.enable_x64(True):
            size, lost = (np.asarray(v) for v in _energies(*self._given(), self._into(error)))
        return math.sqrt(size.max() + 2 * np.trapezoid(lost, times))

    def refined(self, times: np.ndarray, frames: np.ndarray, known: int) -> tuple[np.ndarray, list[float]]:
        """Frames with a correction of all but the first `known`, and ‖R‖² before it and after each step of Newton.

        Args:
            times: (frame,), increasing.
            frames: (frame, field, *shape).
        """
        places, weights = gauss(times[known - 1 :], self.how.quadrature)
        root = np.sqrt(weights)
        with jax.enable_x64(True):
            value, slope = self._splines(times, places)
            inverse = self._inverse(value[:, known:], slope[:, known:], root)
            fixed = (*self._given(), known, self.how.order, value, slope, places, root, inverse)
            now = _modes_of(*self._given(), self._into(frames))
            zero = jnp.zeros((2, now.shape[0] - known, *now.shape[1:]))
            r = _forward(*fixed, now, zero, zero)[0]
            squares = [float(jnp.vdot(r, r))]
            for _ in range(self.how.newton):
                z = self._least_squares(fixed, now, r, zero)
                size, change, square = 1.0, None, math.inf
                while not square < squares[-1] and size > 0.01:  # half, a quarter, ... where the whole step is too long
                    change = _forward(*fixed, now, size * z, zero)
                    square, size = float(jnp.vdot(change[0], change[0])), size / 2
                if change is None or not square < squares[-1]:
                    break
                r, _, now = change
                squares.append(square)
            return self._out(now), squares

    def _least_squares(self, fixed: Any, now: Any, r: Any, zero: Any) -> Any:
        """z of the least ‖r + J z‖², as far as conjugate gradients come."""
        z, r = zero, -r
        p = g = _backward(*fixed, now, r)
        gamma = jnp.vdot(g, g)
        for _ in range(self.how.conjugate):
            q = _forward(*fixed, now, zero, p)[1]
            square = jnp.vdot(q, q)
            if not float(square) > 0:
                break
            z, r = z + gamma / square * p, r - gamma / square * q
            g = _backward(*fixed, now, r)
            new = jnp.vdot(g, g)
            p, gamma = g + new / gamma * p, new
        return z

    # -- what the compiled functions take -----------------------------------------------------------------------

    def _given(self) -> tuple[Alike, tuple[int, ...], dict[str, Any], dict[str, Any]]:
        return Alike(self.case.problem), self.grid.shape, self.parameters, self.box

    def _into(self, frames: np.ndarray) -> jax.Array:
        return jnp.asarray(np.asarray(frames, np.float64)[:, self.places])

    def _out(self, modes: Any) -> np.ndarray:
        return np.asarray(_back(*self._given(), modes))[:, np.argsort(self.places)]

    def _splines(self, times: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        basis = spline(times, self.how.degree)
        return basis(places), basis.derivative()(places)

    def _inverse(self, value: np.ndarray, slope: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """P: (field or 1, *modes, frame, frame)."""
        with jax.enable_x64(True):
            decay = np.asarray(_decay(*self._given()))
        known, where = np.unique(np.round(decay, 12), return_inverse=True)
        inverses = np.stack([
            np.linalg.inv(np.linalg.qr(weight[:, None] * (slope + rate * value), mode="r")) for rate in known
        ])  # fmt: skip
        return inverses[where.reshape(decay.shape)]


# -- compiled ---------------------------------------------------------------------------------------------------


def _stepper(problem: Alike, shape: tuple[int, ...], parameters: Any, box: Any) -> _fourier_stepper.FourierStepper:
    system = _fourier_stepper.system(problem.problem)
    return _fourier_stepper.FourierStepper(system, parameters, box["lengths"], shape, box["lower"], 1.0)


def _weights(s: _fourier_stepper.FourierStepper, order: float) -> tuple[Any, Any]:
    """(|k|^{2s}, how often a mode of the half spectrum stands for one of the whole, over N²)."""
    k2: Any = sum(k * k for k in s.k)
    least = jnp.min(jnp.where(k2 > 0, k2, jnp.inf))
    half = np.arange(s.shape[-1] // 2 + 1)
    twice = np.where((half > 0) & (2 * half < s.shape[-1]), 2.0, 1.0)
    return jnp.where(k2 > 0, k2, least) ** order, jnp.asarray(twice / math.prod(s.shape) ** 2)


def _modes(s: _fourier_stepper.FourierStepper, frames: Any) -> Any:
    return jax.vmap(lambda frame: s.start(dict(zip(s.system.fields, frame, strict=True))))(frames)


def _residual(s: _fourier_stepper.FourierStepper, modes: Any, value: Any, slope: Any, places: Any) -> Any:
    """R̂ at the places, from the modes of the frames."""
    states = jnp.tensordot(value, modes, 1)

    def rate(state: Any, time: Any) -> Any:
        return s.rest(state, time)[0] - s.decay * state

    return jnp.tensordot(slope, modes, 1) - jax.vmap(rate)(states, places)


@partial(jax.jit, static_argnums=(0, 1))
@standard
def _decay(problem: Alike, shape: Any, parameters: Any, box: Any) -> Any:
    return _stepper(problem, shape, parameters, box).decay


@partial(jax.jit, static_argnums=(0, 1))
@standard
def _energies(problem: Alike, shape: Any, parameters: Any, box: Any, error: Any) -> tuple[Any, Any]:
    s = _stepper(problem, shape, parameters, box)
    modes = jnp.fft.rfftn(error, axes=range(-len(shape), 0))
    power = (jnp.real(modes) ** 2 + jnp.imag(modes) ** 2) * _weights(s, 0.0)[1]
    axes = tuple(range(1, power.ndim))
    return power.sum(axes), (s.decay * power).sum(axes)


@partial(jax.jit, static_argnums=(0, 1, 8))
@standard
def _square(
    problem: Alike, shape: Any, parameters: Any, box: Any, frames: Any, value: Any, slope: Any, places: Any,
    order: float,
) -> Any:  # fmt: skip
    s = _stepper(problem, shape, parameters, box)
    weight, share = _weights(s, order)
    found = _residual(s, _modes(s, frames), value, slope, places)
    power = (jnp.real(found) ** 2 + jnp.imag(found) ** 2) * (weight * share)
    return power.sum(tuple(range(1, power.ndim)))


def _parts(
    problem: Alike, shape: Any, parameters: Any, box: Any, known: int, order: float, value: Any, slope: Any,
    places: Any, root: Any, inverse: Any,
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:  # fmt: skip
    """Modes (frame, field, *modes) of δ from z (part, frame, field, *modes), and the residual's parts from the modes of
    all frames."""
    s = _stepper(problem, shape, parameters, box)
    weight, share = _weights(s, order)
    scale, size = jnp.sqrt(weight * share), jnp.sqrt(sum(q * q for q in s.k))  # type: ignore[arg-type]
    unit = [k / jnp.where(size > 0, size, 1) for k in s.k]

    def correction(z: Any) -> Any:
        z = jnp.where(s.keep, z / scale, 0)
        if inverse.shape[0] == 1:  # one matrix for all fields
            z = jnp.einsum("...ij,pjf...->pif...", inverse[0], z)
        else:
            z = jnp.einsum("f...ij,pjf...->pif...", inverse, z)
        if s.system.pressure is not None:  # what has a divergence is no correction
            along = sum(k * z[:, :, c] for c, k in enumerate(unit))
            z = jnp.stack([z[:, :, c] - k * along for c, k in enumerate(unit)], 2)
        modes = lax.complex(z[0], z[1])
        return jnp.concatenate([jnp.zeros((known, *modes.shape[1:]), modes.dtype), modes])

    def residual(modes: Any) -> Any:
        found = _residual(s, modes, value, slope, places) * scale
        found = found * root.reshape(-1, *[1] * (found.ndim - 1))
        return jnp.stack([jnp.real(found), jnp.imag(found)])

    return correction, residual


@partial(jax.jit, static_argnums=(0, 1, 4, 5))
@standard
def _forward(*given: Any) -> tuple[Any, Any, Any]:
    """The residual of frames `now` with the correction of z, its derivative along a direction, and those frames."""
    *fixed, now, z, direction = given
    correction, residual = _parts(*fixed)
    moved = now + correction(z)
    r, change = jax.jvp(residual, (moved,), (correction(direction),))
    return r, change, moved


@partial(jax.jit, static_argnums=(0, 1, 4, 5))
@standard
def _backward(*given: Any) -> Any:
    """The adjoint of the residual's derivative with respect to z, applied to what has the residual's shape."""
    *fixed, now, r = given
    correction, residual = _parts(*fixed)
    zero = jnp.zeros((2, now.shape[0] - fixed[4], *now.shape[1:]), r.dtype)
    return jax.vjp(lambda z: residual(now + correction(z)), zero)[1](r)[0]


@partial(jax.jit, static_argnums=(0, 1))
@standard
def _modes_of(problem: Alike, shape: Any, parameters: Any, box: Any, frames: Any) -> Any:
    return _modes(_stepper(problem, shape, parameters, box), frames)


@partial(jax.jit, static_argnums=(0, 1))
@standard
def _back(problem: Alike, shape: Any, parameters: Any, box: Any, modes: Any) -> Any:
    return _stepper(problem, shape, parameters, box).back(modes)
