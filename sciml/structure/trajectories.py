"""Particles that follow a velocity: dx/dt = u(x, t).

Source: J. R. Dormand, P. J. Prince, J. Comput. Appl. Math. 6, 19 (1980), for the pair of orders 5 and 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, SolverError, is_number, suggest

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

Velocity = Callable[[np.ndarray, float], np.ndarray]

_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


@dataclass(frozen=True)
class Domain:
    """A box that particles may leave.

    Args:
        extents: (lower, upper) along x, y, (z).
        periodic: for each axis.
        slack: (D,) how far beyond an end still counts as inside, for velocities that do not keep a wall to rounding.
    """

    extents: tuple[tuple[float, float], ...]
    periodic: tuple[bool, ...]
    slack: tuple[float, ...]

    def outside(self, points: Float[np.ndarray, "*batch dimension"]) -> Shaped[np.ndarray, "*batch"]:
        """True where a point is beyond an end of an axis that is not periodic."""
        found = np.zeros(points.shape[:-1], bool)
        for a, ((low, high), wraps) in enumerate(zip(self.extents, self.periodic, strict=True)):
            if not wraps:
                x = points[..., a]
                found |= (x < low - self.slack[a]) | (x > high + self.slack[a])
        return found


@dataclass(frozen=True)
class Landed:
    """Where particles came to.

    Args:
        points: (G, M, D) in the last place inside, not wrapped: across a seam they go on counting.
        elapsed: (G,) for how long, ≥ 0.
        left: (G,) True for groups of which a particle left the domain; all of the group stop then.
        steps: that were taken.
    """

    points: np.ndarray
    elapsed: np.ndarray
    left: np.ndarray
    steps: int


def follow(
    velocity: Velocity,
    points: Float[np.ndarray, "group member dimension"],
    times: tuple[float, float],
    *,
    domain: Domain | None = None,
    method: str = "rk45",
    tolerance: float = 1e-8,
    steps: int = 200,
) -> Landed:
    """Follow groups of particles from one time to another, later or earlier one.

    All particles take the same steps: differences between neighbours are those of one smooth map, and errors of time
    steps do not show in its gradient as noise.

    Args:
        velocity: (N, D) points and a time -> (N, D).
        points: (G, M, D) groups that stop together.
        times: start and end.
        domain: which particles may leave; None where space has no end.
        method: "rk45" (Dormand-Prince, steps by the largest error of all particles) or "rk4" (equal steps).
        tolerance: of "rk45": error of a step over the size of the cloud of particles.
        steps: of "rk4": how many; of "rk45": a step is at most a tenth of the time.

    Raises:
        InputError: a time that is no number, no such method, a velocity of another shape or one that is not finite.
        SolverError: steps that become too short.
    """
    if len(times) != 2 or not all(is_number(t) for t in times) or times[0] == times[1]:
        raise InputError(f"times: expected two different times, from and to, got {times}")
    if method not in ("rk45", "rk4"):
        raise InputError(f"method: expected 'rk45' or 'rk4', got {method!r}{suggest(method, ('rk45', 'rk4'))}")
    cloud = _Cloud(velocity, points, domain)
    start, end = map(float, times)
    if method == "rk4":
        h = (end - start) / steps
        for k in range(steps):
            cloud.accept(cloud.rk4(start + k * h, h), abs(k * h))
        return cloud.landed(abs(end - start), steps)
    size = float(np.ptp(points.reshape(-1, points.shape[-1]), axis=0).max())
    size = max(size, 0.0 if domain is None else max(b - a for a, b in domain.extents)) or 1.0
    t, span, count = start, end - start, 0
    h = span / 100
    while abs(end - t) > 1e-12 * abs(span) and cloud.active.size:
        h = np.sign(span) * min(abs(h), abs(span) / 10, abs(end - t))
        new, error = cloud.rk45(t, h)
        ratio = error / (tolerance * size)
        if ratio <= 1.0:
            cloud.accept(new, abs(t - start))
            t, count = t + h, count + 1
        h *= min(5.0, max(0.2, 0.9 * ratio**-0.2)) if ratio > 0 else 5.0
        if abs(h) < 1e-12 * abs(span):
            raise SolverError(f"trajectories: steps became too short at t = {t:g}; a larger tolerance may help")
    return cloud.landed(abs(span), count)


class _Cloud:
    """Groups on their way; those that have left are not moved any more."""

    def __init__(self, velocity: Velocity, points: np.ndarray, domain: Domain | None):
        self.velocity, self.domain = velocity, domain
        self.x = np.array(points, dtype=np.float64)
        self.elapsed = np.full(len(points), np.nan)
        self.active = np.arange(len(points))
        self._first: np.ndarray | None = None  # the last stage of a step is the first one of the next

    def rate(self, x: np.ndarray, t: float) -> np.ndarray:
        flat = x.reshape(-1, x.shape[-1])
        found = np.asarray(self.velocity(flat, t), dtype=np.float64)
        if found.shape != flat.shape:
            raise InputError(f"velocity: expected shape {flat.shape} for that many points, got {found.shape}")
        if not np.isfinite(found).all():
            bad = flat[~np.isfinite(found).all(1)][0]
            raise InputError(f"velocity: expected finite numbers, got others at {np.round(bad, 6).tolist()}, t = {t:g}")
        return found.reshape(x.shape)

    def rk4(self, t: float, h: float) -> np.ndarray:
        x = self.x[self.active]
        a = self.rate(x, t)
        b = self.rate(x + h / 2 * a, t + h / 2)
        c = self.rate(x + h / 2 * b, t + h / 2)
        return x + h / 6 * (a + 2 * b + 2 * c + self.rate(x + h * c, t + h))

    def rk45(self, t: float, h: float) -> tuple[np.ndarray, float]:
        x = self.x[self.active]
        stages = [self.rate(x, t) if self._first is None else self._first]
        self._first = stages[0]
        new = x
        for row, c in zip(_A, _C, strict=True):
            new = x + h * sum(w * s for w, s in zip(row, stages, strict=True) if w)
            stages.append(self.rate(new, t + c * h))
        error = h * sum(w * s for w, s in zip(_E, stages, strict=True) if w)
        self._last = stages[-1]
        return new, float(np.abs(error).max())

    def accept(self, new: np.ndarray, elapsed: float) -> None:
        """`elapsed` is the time at the beginning of the step: that of the last place of those that leave in it."""
        if self.domain is None:
            self.x[self.active] = new
            self._first = getattr(self, "_last", None)
            return
        gone = self.domain.outside(new).any(1)
        self.elapsed[self.active[gone]] = elapsed
        self.active = self.active[~gone]
        self.x[self.active] = new[~gone]
        self._first = self._last[~gone] if hasattr(self, "_last") else None

    def landed(self, span: float, steps: int) -> Landed:
        left = np.isfinite(self.elapsed)
        return Landed(self.x, np.where(left, self.elapsed, span), left, steps)


def velocity_of(what: Any, times: tuple[float, float], **where: Any) -> tuple[Velocity, Any]:
    """A velocity function, and the grid of the solution that it is of; None for what is a function already."""
    if callable(what):
        rule: Any = what
        return rule, None
    from sciml.structure.interpolation import Interpolant

    made = Interpolant(what, span=times, **where)
    return made, made.grid
