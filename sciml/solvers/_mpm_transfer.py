"""Between particles and the nodes of a background grid: affine transfers with quadratic B-splines.

A particle at X (in cells, nodes at whole numbers) touches the 3^D nodes around its nearest one, with weights
w = Π N(X_a − i_a), N(r) = 3/4 − r² for |r| ≤ 1/2, (3/2 − |r|)²/2 up to |r| = 3/2.

Nodes that follow each other along the last axis lie beside each other in memory, all channels of a node together. A
particle then writes and reads rows of 3 nodes, 3^(D−1) of them: that is what XLA copies as a whole, where single
numbers cost as much a piece. Particles go in portions whose rows stay in the cache.

Source: C. Jiang, C. Schroeder, A. Selle, J. Teran, A. Stomakhin, ACM Trans. Graph. 34, 51 (2015), for the affine
transfer; M. Steffen, R. M. Kirby, M. Berzins, Int. J. Numer. Meth. Eng. 76, 922 (2008), for the B-splines.
"""

from __future__ import annotations

import itertools
import math
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

_ROWS_IN = lax.ScatterDimensionNumbers(
    update_window_dims=(1,), inserted_window_dims=(), scatter_dims_to_operand_dims=(0,)
)
_ROWS_OUT = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(), start_index_map=(0,))
_SURE = lax.GatherScatterMode.PROMISE_IN_BOUNDS


class Touch(NamedTuple):
    """Where particles touch the grid.

    Args:
        base: (N,) number of the first node of the stencil.
        share: [axis] (N,) X less the base node's place, in [1/2, 3/2).
        weights: [axis][offset] (N,).
    """

    base: Any
    share: list[Any]
    weights: list[list[Any]]


def touch(position: Any, shape: tuple[int, ...]) -> Touch:
    """The stencils of particles.

    Args:
        position: [axis] (N,) in cells. What lies outside of the grid, or nowhere, touches its edge.
        shape: nodes along each axis.
    """
    index = [jnp.clip(jnp.floor(x - 0.5).astype(jnp.int32), 0, n - 3) for x, n in zip(position, shape, strict=True)]
    share = [x - k.astype(x.dtype) for x, k in zip(position, index, strict=True)]
    base = _sum([stride * k for stride, k in zip(strides(shape), index, strict=True)])
    weights = [[0.5 * (1.5 - f) ** 2, 0.75 - (f - 1.0) ** 2, 0.5 * (f - 0.5) ** 2] for f in share]
    return Touch(base, share, weights)


def strides(shape: tuple[int, ...]) -> list[int]:
    """Nodes from one to the next along each axis."""
    found = [1]
    for n in shape[:0:-1]:
        found.insert(0, found[0] * n)
    return found


def to_nodes(
    position: Any, momentum: Any, affine: Any, mass: Any, shape: tuple[int, ...], portion: int | None = None
) -> tuple[Any, Any]:
    """Momentum Σ w (p + A (i − X)) and mass Σ w m of each node.

    Args:
        position: [axis] (N,) in cells.
        momentum: [component] (N,) p.
        affine: [component][axis] (N,) A, momentum for each cell along the axis of its second index.
        mass: (N,).
        shape: nodes along each axis.
        portion: particles at once, of which N is a multiple; None for all.

    Returns:
        (*shape, D), (*shape,).
    """
    d, channels = len(shape), len(shape) + 1

    def put(nodes: Any, particles: Any) -> Any:
        position, momentum, affine, mass = particles
        at = touch(position, shape)
        first = [momentum[i] - _sum([affine[i][a] * at.share[a] for a in range(d)]) for i in range(d)]
        last, nothing = at.weights[-1], jnp.zeros_like(mass)
        line, slopes = [], [[] for _ in range(d - 1)]
        for k, w in enumerate(last):
            line += [w * (first[i] + k * affine[i][d - 1] if k else first[i]) for i in range(d)] + [w * mass]
            for a, slope in enumerate(slopes):
                slope += [w * affine[i][a] for i in range(d)] + [nothing]
        line, slopes = _together(line), [_together(slope) for slope in slopes]
        weights = _kept(_products(at.weights[:-1]))
        for offset, weight in zip(_offsets(d - 1), weights, strict=True):
            row = _sum([line, *(k * slope for k, slope in zip(offset, slopes, strict=True) if k)])
            place = (at.base + _shift(offset, shape)) * channels
            nodes = lax.scatter_add(nodes, place[:, None], weight[:, None] * row, _ROWS_IN, mode=_SURE)
        return nodes

    nodes = jnp.zeros(math.prod(shape) * channels, mass.dtype)
    particles = (position, momentum, affine, mass)
    if portion is None:
        nodes = put(nodes, particles)
    else:
        nodes, _ = lax.scan(lambda carry, part: (put(carry, part), None), nodes, _cut(particles, portion))
    nodes = nodes.reshape(*shape, channels)
    return nodes[..., :d], nodes[..., d]


def to_particles(values: Any, position: Any, portion: int | None = None) -> tuple[Any, Any]:
    """Values Σ w v at particles, and of the first D the moments Σ w v (i − X); 4 times the latter is the gradient for
    each cell.

    Args:
        values: (*shape, C) of the nodes, C ≥ D; the first D are a velocity.
        position: [axis] (N,) in cells.
        portion: particles at once, of which N is a multiple; None for all.

    Returns:
        [channel] (N,), [component][axis] (N,).
    """
    shape, channels = values.shape[:-1], values.shape[-1]
    d, offsets = len(shape), _offsets(len(shape) - 1)
    nodes, width = values.reshape(-1), 3 * channels

    def get(position: Any) -> tuple[Any, Any]:
        at = touch(position, shape)
        weights = _kept(_products(at.weights[:-1]))
        places = [((at.base + _shift(offset, shape)) * channels)[:, None] for offset in offsets]
        rows = [lax.gather(nodes, place, _ROWS_OUT, (width,), mode=_SURE) for place in places]
        rows = [w[:, None] * row for w, row in zip(weights, rows, strict=True)]
        sums = [_sum(rows)]
        for a in range(d - 1):
            sums.append(_sum([offset[a] * row for offset, row in zip(offsets, rows, strict=True) if offset[a]]))
        apart, last = [_apart(each) for each in sums], at.weights[-1]
        along = [
            [_sum([last[k] * each[k * channels + i] for k in range(3)]) for i in range(d if m else channels)]
            for m, each in enumerate(apart)
        ]
        slope = [last[1] * apart[0][channels + i] + 2 * last[2] * apart[0][2 * channels + i] for i in range(d)]
        mean, moments = along[0], [*along[1:], slope]
        # these count i from the base node, what is asked for from the particle
        turns = [moments[a][i] - at.share[a] * mean[i] for i in range(d) for a in range(d)]
        # or else, in reverse mode, what follows is computed anew for each number of each node that a particle reads
        found = lax.optimization_barrier([*mean, *turns])
        mean, turns = found[:channels], found[channels:]
        return mean, [turns[d * i : d * (i + 1)] for i in range(d)]

    if portion is None:
        return get(position)
    _, several = lax.scan(lambda carry, part: (carry, get(part)), None, _cut(position, portion))
    return jax.tree.map(lambda a: jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1), several)


def _cut(arrays: Any, portion: int) -> Any:
    """(..., N) as (N / portion, ..., portion)."""
    return jax.tree.map(lambda a: jnp.moveaxis(a.reshape(*a.shape[:-1], -1, portion), -2, 0), arrays)


def _offsets(axes: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(3), repeat=axes))


def _shift(offset: tuple[int, ...], shape: tuple[int, ...]) -> int:
    return sum(k * stride for k, stride in zip(offset, strides(shape), strict=False))


def _products(weights: list[list[Any]]) -> list[Any]:
    """Of one weight an axis, for all offsets."""
    return [reduce(lambda p, q: p * q, [w[k] for w, k in zip(weights, o, strict=True)]) for o in _offsets(len(weights))]


def _sum(terms: list[Any]) -> Any:
    return reduce(lambda p, q: p + q, terms)


def _kept(arrays: list[Any]) -> list[Any]:
    """The same in one array (C, N) that XLA has to keep: else it computes them anew for each number that they go into,
    whatever barriers say."""
    return _apart(_together(arrays))


def _together(columns: list[Any]) -> Any:
    """(N, C) of C arrays (N,)."""
    return jnp.stack(columns, -1)


def _apart(rows: Any) -> list[Any]:
    """C arrays (N,) of (N, C): by the unit matrix, whose product XLA hands to a library that goes through memory in
    blocks."""
    unit = jnp.eye(rows.shape[1], dtype=rows.dtype)
    found = lax.dot_general(unit, rows, (((0,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    # split, whose transpose is one array: that of indexing is a sum of padded ones
    return [part[0] for part in jnp.split(found, rows.shape[1])]
