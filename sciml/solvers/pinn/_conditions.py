"""Fields that satisfy conditions by construction.

    q(x) = scale · (G(x) + φ(x) N(z)),    z in [-1, 1] the coordinates,

where φ vanishes on sides of a box with given values and at the start, and G has these values there. Periodic axes are
exact by what the network sees of them. On side after side, the start being one,

    G ← G + Σ_ends b(ξ) (g − G on the side),

with b linear from 1 on the side to 0 on the opposite one. Where given values disagree with each other at an edge, the
side that disagrees most is left to a penalty.

Source: I. E. Lagaris, A. Likas, D. I. Fotiadis, IEEE Trans. Neural Networks 9, 987 (1998); W. J. Gordon,
SIAM J. Numer. Anal. 8, 158 (1971), for the values on several sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sciml.boundary import Condition, Dirichlet, InSpace, InTime, Samples, Series
from sciml.problem import Case
from sciml.solvers.pinn._functions import Constant, nodes, spline
from sciml.solvers.pinn._terms import Terms, given_at

AGREES = 1e-7  # of its scale, within which two given values are the same
TIMES = 1025  # nodes in time of given values


class Given(eqx.Module):
    """A value on one end of an axis; the last axis is time.

    Args:
        function: of a point; None for zero.
    """

    function: Any
    axis: int = eqx.field(static=True)
    end: int = eqx.field(static=True)


class Lift(eqx.Module):
    """G and φ of one field."""

    given: tuple[Given, ...]  # in the order of their axes

    def value(self, x: Float[Array, " coordinate"], low: Array, span: Array, upto: int | None = None) -> Any:
        """G, of the sides before number `upto`; None where that is zero."""
        axes = sorted({g.axis for g in self.given})
        return self._value(x, low, span, axes if upto is None else axes[:upto])

    def _value(self, x: Any, low: Any, span: Any, axes: Sequence[int]) -> Any:
        if not axes:
            return None
        before, axis = list(axes[:-1]), axes[-1]
        found = self._value(x, low, span, before)
        here = [g for g in self.given if g.axis == axis]
        xi = (x[axis] - low[axis]) / span[axis]
        for g in here:
            place = x.at[axis].set(low[axis] + g.end * span[axis])
            inner = self._value(place, low, span, before)
            value = None if g.function is None else g.function(place)
            difference = value if inner is None else -inner if value is None else value - inner
            if difference is None:
                continue
            if len(here) == 2:
                difference = difference * (xi if g.end else 1 - xi)
            found = difference if found is None else found + difference
        return found

    def distance(self, x: Float[Array, " coordinate"], low: Array, span: Array) -> Any:
        """φ; None for 1."""
        found = None
        for axis in sorted({g.axis for g in self.given}):
            ends = [g.end for g in self.given if g.axis == axis]
            xi = (x[axis] - low[axis]) / span[axis]
            factor = 4 * xi * (1 - xi) if len(ends) == 2 else 1 - xi if ends[0] else xi
            found = factor if found is None else found * factor
        return found


class Ansatz(eqx.Module):
    """All fields of a case at a point (D + 1,), time last, in physical units.

    Args:
        network: z -> (F,); of steady problems without time.
        lifts: one a field.
        low, span: of the coordinates, time last.
        scales: of the fields.
    """

    network: Any
    lifts: tuple[Lift, ...]
    low: Any
    span: Any
    scales: Any
    steady: bool = eqx.field(static=True)

    def with_network(self, network: Any) -> Ansatz:
        """The same with another network."""
        return Ansatz(network, self.lifts, self.low, self.span, self.scales, self.steady)

    def __call__(self, x: Float[Array, " coordinate"]) -> Float[Array, " field"]:
        low, span, scales = (jnp.asarray(a, x.dtype) for a in (self.low, self.span, self.scales))
        z = 2 * (x - low) / span - 1
        out = self.network(z[:-1] if self.steady else z)
        found = []
        for k, lift in enumerate(self.lifts):
            distance, value = lift.distance(x, low, span), lift.value(x, low, span)
            q = scales[k] * (out[k] if distance is None else distance * out[k])
            found.append(q if value is None else q + value)
        return jnp.stack(found)


def lifts_of(
    case: Case, terms: Terms, window: tuple[float, float], start: Mapping[str, Any], exact: bool
) -> tuple[tuple[Lift, ...], dict[str, set[str]]]:
    """What can be satisfied by construction: lifts of all fields, and the names of these fields by kinds of points
    ("x_min", "initial").

    Args:
        window: from when to when.
        start: how fields begin, functions of a point.
        exact: False for nothing.
    """
    done: dict[str, set[str]] = {}
    lifts = []
    d = case.problem.dimensions
    for name in terms.names:
        found: dict[str, Given] = {}
        if exact:
            for boundary, side in terms.sides.items():
                condition = dict(zip(side.fields, side.conditions, strict=True)).get(name)
                if isinstance(condition, Dirichlet):
                    given = _given(case, boundary, name, condition, window)
                    if given is not None:
                        found[boundary] = given
            if name in start:
                found["initial"] = Given(start[name], d, 0)
        for kind in _agreeing(case, name, found, window):
            done.setdefault(kind, set()).add(name)
        kept = [g for kind, g in found.items() if name in done.get(kind, ())]
        lifts.append(Lift(tuple(sorted(kept, key=lambda g: (g.axis, g.end)))))
    return tuple(lifts), done


def _given(case: Case, boundary: str, name: str, condition: Condition, window: tuple[float, float]) -> Given | None:
    """The value on a whole side of the box around the domain as a smooth function; None for anything else."""
    side, d = case.geometry.boundaries[boundary].side, case.problem.dimensions
    if side is None:
        return None
    axis, end = side
    places = case.geometry.boundaries[boundary].places(5)
    box = case.geometry.extents
    if np.abs(places[:, axis] - box[axis][end]).max() > 1e-12 * (box[axis][1] - box[axis][0]):
        return None
    value = condition.value
    if not callable(value) and np.ndim(value) == 0:
        number = float(np.asarray(value))
        return Given(Constant(np.float64(number)) if number else None, axis, end)
    if isinstance(value, Series | Samples) or not callable(value):
        return None
    if isinstance(value, InSpace) and value.factor is not None:
        return None
    timed = not isinstance(value, InSpace) and not case.problem.steady
    others = [] if isinstance(value, InTime) else [k for k in range(d) if k != axis]
    if len(others) + timed > 2 or any(case.geometry.periodic[k] for k in others):
        return None
    axes = [*others, *([d] if timed else [])]
    if not axes:  # one number at the end of a line
        here = np.array([[box[axis][end], window[0]]])
        return Given(Constant(given_at(case, boundary, name, condition, here)[0]), axis, end)
    ends = [window if k == d else box[k] for k in axes]
    count = TIMES if len(axes) == 1 else 129
    lines = [nodes(*e, count, False) for e in ends]
    several = np.meshgrid(*lines, indexing="ij")
    points = np.full((several[0].size, d + 1), window[0])
    points[:, axis] = box[axis][end]
    for k, line in zip(axes, several, strict=True):
        points[:, k] = line.ravel()
    values = given_at(case, boundary, name, condition, points).reshape(several[0].shape)
    return Given(spline(values, [e[0] for e in ends], [e[1] for e in ends], axes), axis, end)


def _agreeing(case: Case, name: str, found: Mapping[str, Given], window: tuple[float, float]) -> set[str]:
    """The sides whose values agree where they meet; of those that do not, the one that does so most often goes."""
    box = [*case.geometry.extents, window]
    size = case.scales.fields.get(name, 1.0)
    random = np.random.default_rng(0)
    low, high = np.array(box, float).T
    clashes: dict[str, set[str]] = {kind: set() for kind in found}

    def at(given: Given, points: np.ndarray) -> np.ndarray:
        if given.function is None:
            return np.zeros(len(points))
        return np.asarray(jax.vmap(given.function)(jnp.asarray(points)))

    with jax.enable_x64(True):
        kinds = list(found)
        for i, one in enumerate(kinds):
            for other in kinds[i + 1 :]:
                a, b = found[one], found[other]
                if a.axis == b.axis:
                    continue
                points = random.uniform(low, high, (64, len(box)))
                points[::8] = np.where(random.random((8, len(box))) < 0.5, low, high)
                for given in (a, b):
                    points[:, given.axis] = box[given.axis][given.end]
                if np.abs(at(a, points) - at(b, points)).max() > AGREES * size:
                    clashes[one].add(other)
                    clashes[other].add(one)
    while any(clashes.values()):
        worst = max(clashes, key=lambda k: (len(clashes[k]), k == "initial"))
        for other in clashes.pop(worst):
            clashes[other].discard(worst)
    return set(clashes)
