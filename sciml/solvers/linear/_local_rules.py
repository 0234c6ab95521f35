"""Coarse grids from what is around each face, by two small functions that are learned.

When an axis is halved, a coarse face that lies between fine cells 2 and 3 of a row 1, 2 | 3, 4 with conductances a (of
1 and 2), b (of 2 and 3), c (of 3 and 4) gets

    b/2 · exp(g(s₁₂, s₄₃) + g(s₄₃, s₁₂)),    s₁₂ = (a/(a + b), b/d₂, a/d₁),

with d the sum over all faces of a cell; the sum b of two faces side by side, joined by conductances t and u on both
sides, becomes b · exp(h(q, t/(t + b), u/(u + b)) + h(q, u/(u + b), t/(t + b))), q = 4 b₁b₂/b². g and h are networks
with one hidden layer, `max(W x + v, 0)`, the same for all grids. With g = h = 0 these are the rules of `_coarse_grids`.

All inputs are ratios, so that neither units nor the size of a grid matter, and what is turned or mirrored is made the
same of. Any weights give positive conductances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.solvers.linear._arrays import Arrays, part
from sciml.solvers.linear._coarse_grids import paired, total
from sciml.solvers.linear._ends import End, Ends

#: rule -> inputs
INPUTS = {"across": 6, "beside": 3}
HIDDEN = 4
MOST = 3.0  # of an exponent

#: rule -> (hidden, inputs + 2) numbers: of each hidden unit its weights, its bias and what it counts in the output
Weights = dict[str, Any]


def drawn(seed: int, hidden: int = HIDDEN) -> Weights:
    """Weights to begin with, which change nothing yet."""
    rng, found = np.random.default_rng(seed), {}
    for name, count in INPUTS.items():
        first = rng.standard_normal((hidden, count)) / np.sqrt(count)
        found[name] = np.concatenate([first, np.zeros((hidden, 2))], 1)
    return found


@dataclass(frozen=True, eq=False)
class Learned:
    """Rules with these weights.

    Args:
        weights: rule -> (hidden, inputs + 2); rules that are absent are those of `_coarse_grids`.
        single: whether networks are asked in single precision, where arrays can.
    """

    weights: Weights
    single: bool = False

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Learned) and self.single == other.single and _plain(self.weights) == _plain(other.weights)
        )

    def __hash__(self) -> int:
        return hash(_plain(self.weights))

    def halved(self, arrays: Arrays, conductances: list[Any], axis: int, ends: tuple[Ends, ...]) -> list[Any]:
        across = len(conductances) - 1 - axis
        around, count = ends[across][0] is End.PERIODIC, conductances[across].shape[axis] - 1
        inner = _inner(arrays, conductances[across], axis, count)
        found = []
        for k, c in enumerate(conductances):
            if k == across:
                found.append(self._across(arrays, conductances, axis, around, inner))
            else:
                found.append(self._beside(arrays, c, axis, len(conductances) - 1 - k, ends[k], inner))
        return found

    def _across(self, arrays: Arrays, conductances: list[Any], axis: int, around: bool, inner: Any) -> Any:
        c = conductances[len(conductances) - 1 - axis]
        count = c.shape[axis] - 1
        faces = part(c, axis, 0, None, 2)
        if count % 2:  # the last coarse cell is the last fine one
            faces = arrays.xp.concatenate([faces, part(c, axis, count, count + 1)], axis)
        if "across" not in self.weights:
            return faces / 2
        each = arrays.barrier(arrays.even(total(conductances), axis))
        first, last = part(each, axis, 0, None, 2), part(each, axis, 1, None, 2)
        below = [_before(arrays, v, axis, around) for v in (inner, last, first)]
        above = [_behind(arrays, v, axis, around) for v in (inner, first, last)]
        one, other = ([_ratio(arrays, a, a + faces), _ratio(arrays, faces, near), _ratio(arrays, a, far)]
                      for a, near, far in (below, above))  # fmt: skip
        told = self._asked(arrays, "across", one + other, other + one)
        return arrays.barrier(faces / 2 * arrays.xp.exp(arrays.xp.clip(told, -MOST, MOST)))

    def _beside(self, arrays: Arrays, c: Any, axis: int, own: int, end: Ends, inner: Any) -> Any:
        both = paired(arrays, c, axis)
        if "beside" not in self.weights:
            return both
        c = arrays.even(c, axis)
        product = part(c, axis, 0, None, 2) * part(c, axis, 1, None, 2)
        around = end[0] is End.PERIODIC
        t, u = (move(arrays, inner, own, around) for move in (_before, _behind))
        alike = 4 * _ratio(arrays, product, both**2)
        one, other = _ratio(arrays, t, t + both), _ratio(arrays, u, u + both)
        told = self._asked(arrays, "beside", [alike, one, other], [alike, other, one])
        return arrays.barrier(both * arrays.xp.exp(arrays.xp.clip(told, -MOST, MOST)))

    def _asked(self, arrays: Arrays, rule: str, *several: list[Any]) -> Any:
        """The sum of what the network answers to several lists of inputs."""
        weights, shape, xp = self.weights[rule], several[0][0].shape, arrays.xp
        low = arrays.single if self.single else _same
        lines = [xp.stack([low(v).reshape(-1) for v in inputs]) for inputs in several]
        told = arrays.barrier(xp.concatenate(lines, 1))
        weights = arrays.constant(weights, told)
        hidden = arrays.matmul(weights[:, :-2], told) + weights[:, -2:-1]
        found = arrays.matmul(weights[:, -1], hidden * (hidden > 0))
        return xp.sum(found.reshape((len(several), *shape)), 0)


def _same(values: Any) -> Any:
    return values


def _plain(weights: Weights) -> tuple[Any, ...]:
    return tuple((name, np.asarray(value).tobytes()) for name, value in sorted(weights.items()))


def _ratio(arrays: Arrays, share: Any, whole: Any) -> Any:
    """0 where there is nothing to have a share of."""
    return arrays.xp.where(whole > 0, share / arrays.xp.where(whole > 0, whole, arrays.xp.ones_like(whole)), 0 * whole)


def _inner(arrays: Arrays, c: Any, axis: int, count: int) -> Any:
    """Of the faces within coarse cells; as if closed where a coarse cell is a single fine one."""
    found = part(c, axis, 1, count, 2)
    if count % 2:
        found = arrays.xp.concatenate([found, arrays.xp.zeros_like(part(c, axis, 0, 1))], axis)
    return found


def _before(arrays: Arrays, values: Any, axis: int, around: bool) -> Any:
    """Of coarse cells to their faces: what is below each; 0 beyond an end."""
    n = values.shape[axis]
    first = part(values, axis, n - 1, n)
    return arrays.xp.concatenate([first if around else arrays.xp.zeros_like(first), values], axis)


def _behind(arrays: Arrays, values: Any, axis: int, around: bool) -> Any:
    """The same of what is above."""
    last = part(values, axis, 0, 1)
    return arrays.xp.concatenate([values, last if around else arrays.xp.zeros_like(last)], axis)
