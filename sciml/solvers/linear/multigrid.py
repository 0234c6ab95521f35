"""Conjugate gradients with a multigrid cycle as preconditioner: coefficients that vary, closed faces, any box.

The cycle coarsens by two in every direction, cells into their sum. A coarse face's conductance is half the sum of the
fine ones that it is made of, for the distance has doubled; residuals are summed, corrections go back as they are.
Red and black Gauss-Seidel sweeps, in reversed order on the way up, keep the cycle symmetric. The coarsest system is
solved by its pseudo-inverse.

Derivatives are those of the solution, not of the iteration: each is one more solve.

Source: O. Tatebe, in Proc. Copper Mountain Conf. on Multigrid Methods, NASA CP-3224 (1993), 621; D. Braess, Computing
55, 379 (1995), on corrections that are constant over coarse cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sciml.errors import InputError, is_number, is_whole
from sciml.solvers.linear._ends import End, Ends
from sciml.solvers.linear._system import Info, LinearSolver, LinearSystem, apply, diagonal

COARSEST = 48  # cells


class Level(NamedTuple):
    """One grid of the cycle: for each axis (x, y, ...) the conductances of both faces of cells over `total`, which is
    the sum over all faces of a cell; 1 on red cells."""

    weights: list[tuple[jax.Array, jax.Array]]
    total: jax.Array
    inverse: jax.Array
    red: jax.Array


class MultigridCG(LinearSolver):
    """Conjugate gradients until ‖f − ∇·(c∇φ)‖ ≤ tolerance · ‖f‖.

    Coefficients that jump by 10³ from one region to another take some more iterations than constant ones; of those that
    vary from cell to cell by many powers of ten more than `max_iterations` may be needed, and `Info.converged` says so.

    Args:
        tolerance: None for 1e-9 in float64 and 1e-5 in float32.
        max_iterations: beyond, the solve is not converged.
        sweeps: of the smoother on either way.
        waits: for each axis (x, y, ...) the number of first grids on which cells are not joined along it: log₂ of how
            much longer they are there than along the shortest axis, for what oscillates along the long sides is hardly
            smoothed; () for none. `fitted` sets it.
    """

    name = "multigrid_cg"

    def __init__(self, tolerance: float | None = None, max_iterations: int = 100, sweeps: int = 1,
        waits: tuple[int, ...] = (),
    ):  # fmt: skip
        if tolerance is not None and (not is_number(tolerance) or not 0 < tolerance < 1):
            raise InputError(f"{self.name}: tolerance is {tolerance!r}, expected a number in (0, 1)")
        for key, value in (("max_iterations", max_iterations), ("sweeps", sweeps)):
            if not is_whole(value) or value < 1:
                raise InputError(f"{self.name}: {key} is {value!r}, expected a whole number from 1 on")
        if not isinstance(waits, tuple) or any(not is_whole(n) or n < 0 for n in waits):
            raise InputError(f"{self.name}: waits is {waits!r}, expected a tuple of whole numbers from 0 on")
        self.tolerance, self.max_iterations, self.sweeps = tolerance, int(max_iterations), int(sweeps)
        self.waits = waits

    def supports(self, system: LinearSystem) -> bool:
        return True

    def fitted(self, spacing: Sequence[float]) -> MultigridCG:
        waits = tuple(max(round(math.log2(h / min(spacing))), 0) for h in spacing)
        return self if self.waits else MultigridCG(self.tolerance, self.max_iterations, self.sweeps, waits)

    def solve(
        self, system: LinearSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        rhs = jnp.asarray(rhs)
        ends, fine = system.ends, [c.astype(rhs.dtype) for c in system.conductances()]
        centred = system.centred

        def operator(phi: jax.Array) -> jax.Array:
            return -apply(fine, ends, phi)

        levels, bottom = lax.stop_gradient(_levels(fine, ends, system.shape, self.waits))
        few = 1e-9 if rhs.dtype == jnp.float64 else 1e-5
        tolerance = few if self.tolerance is None else self.tolerance
        right = centred(-rhs)
        known = None if guess is None else lax.stop_gradient(centred(jnp.asarray(guess, rhs.dtype)))

        def conjugate(_: Any, b: jax.Array) -> tuple[jax.Array, Info]:
            size = jnp.sqrt(jnp.sum(b**2))
            x, r = jnp.zeros_like(b), b
            if known is not None:
                # as much of the guess as helps: derivatives are solved for from here too
                image = operator(known)
                square = jnp.sum(image**2)
                share = jnp.where(square > 0, jnp.sum(image * b) / jnp.where(square > 0, square, 1), 0)
                x, r = share * known, b - share * image

            def precondition(r: jax.Array) -> jax.Array:
                return centred(_cycle(levels, bottom, ends, centred(r), self.sweeps, self.waits))

            def going(carry: Any) -> jax.Array:
                _, r, _, _, count = carry
                return (jnp.sum(r**2) > (tolerance * size) ** 2) & (count < self.max_iterations)

            def body(carry: Any) -> Any:
                x, r, p, rz, count = carry
                q = operator(p)
                share = rz / jnp.sum(p * q)
                x, r = x + share * p, r - share * q
                z = precondition(r)
                new = jnp.sum(r * z)
                return x, r, z + new / rz * p, new, count + 1

            z = precondition(r)
            start = (x, r, z, jnp.sum(r * z), jnp.zeros((), int))
            x, r, _, _, count = lax.while_loop(going, body, start)
            rest = jnp.sqrt(jnp.sum(r**2)) / jnp.where(size > 0, size, 1)
            return centred(x), Info(count, rest, rest <= tolerance)

        return lax.custom_linear_solve(operator, right, conjugate, symmetric=True, has_aux=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MultigridCG) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.tolerance, self.max_iterations, self.sweeps, self.waits))


def _levels(
    fine: list[jax.Array], ends: tuple[Ends, ...], shape: tuple[int, ...], waits: tuple[int, ...]
) -> tuple[list[Level], jax.Array]:
    """From the grid itself to the last but one, and the pseudo-inverse of the coarsest."""
    found: list[Level] = []
    conductances = fine
    while True:
        below = _halved(shape, ends, len(found), waits)
        if int(np.prod(shape)) <= COARSEST or below == shape:
            return lax.optimization_barrier((found, _pseudo_inverse(conductances, ends, shape)))
        total = diagonal(conductances, shape)
        inverse = jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1), 0)
        red = (np.indices(shape).sum(0) % 2 == 0).astype(np.float32)
        weights = []
        for k, c in enumerate(conductances):
            axis = len(shape) - 1 - k
            low, high = (lax.slice_in_dim(c, e, e + shape[axis], axis=axis) * inverse for e in (0, 1))
            weights.append((low, high))
        found.append(Level(weights, total, inverse, jnp.asarray(red, total.dtype)))
        halved = tuple(n != m for n, m in zip(shape, below, strict=True))
        conductances = [_coarse(c, len(shape) - 1 - k, halved) for k, c in enumerate(conductances)]
        shape = below


def _halved(shape: tuple[int, ...], ends: tuple[Ends, ...], level: int, waits: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the next grid: an odd number of cells around a periodic axis stays, and axes that wait, unless there
    is nothing else to do."""
    may = [n > 2 and not (end[0] is End.PERIODIC and n % 2) for n, end in zip(shape, ends[::-1], strict=True)]
    now = [m and level >= wait for m, wait in zip(may, waits[::-1] or (0,) * len(may), strict=True)]
    return tuple((n + 1) // 2 if half else n for n, half in zip(shape, now if any(now) else may, strict=True))


def _coarse(c: jax.Array, normal: int, halved: tuple[bool, ...]) -> jax.Array:
    """Conductances of the faces normal to one axis on the next level."""
    for axis, half in enumerate(halved):
        if not half:
            continue
        n = c.shape[axis]
        if axis == normal:
            faces = np.minimum(2 * np.arange(n // 2 + 1), n - 1)
            c = jnp.take(c, faces, axis=axis) / 2
        else:
            c = _paired(c, axis)
    return c


def _paired(values: jax.Array, axis: int) -> jax.Array:
    """Sums of two neighbours, the last one alone where there is an odd number."""
    n = values.shape[axis]
    if n % 2:
        values = jnp.pad(values, [(0, int(a == axis)) for a in range(values.ndim)])
    first, second = (lax.slice_in_dim(values, start, n + n % 2, 2, axis) for start in (0, 1))
    return lax.optimization_barrier(first + second)


def _pseudo_inverse(conductances: list[jax.Array], ends: tuple[Ends, ...], shape: tuple[int, ...]) -> jax.Array:
    size = int(np.prod(shape))
    columns = jax.vmap(lambda e: -apply(conductances, ends, e.reshape(shape)).ravel())(
        jnp.eye(size, dtype=conductances[0].dtype)
    )
    values, vectors = jnp.linalg.eigh((columns + columns.T) / 2)
    small = values <= size * jnp.finfo(values.dtype).eps * jnp.max(values)
    return (vectors * jnp.where(small, 0, 1 / jnp.where(small, 1, values))) @ vectors.T


def _padded(e: jax.Array, ends: tuple[Ends, ...]) -> jax.Array:
    """With one more value on all sides, 0 or from around.

    Sweeps hand on padded arrays: XLA writes those, where it would compute a sweep anew in each use of its result.
    """
    e = jnp.pad(lax.optimization_barrier(e), 1)
    for k, (low, _) in enumerate(ends):
        if low is End.PERIODIC:
            axis = e.ndim - 1 - k
            n = e.shape[axis]
            for to, source in ((0, n - 2), (n - 1, 1)):
                row = lax.slice_in_dim(e, source, source + 1, axis=axis)
                e = lax.dynamic_update_slice_in_dim(e, row, to, axis)
    return lax.optimization_barrier(e)


def _inner(e: jax.Array) -> jax.Array:
    return e[(slice(1, -1),) * e.ndim]


def _neighbours(level: Level, e: jax.Array) -> jax.Array:
    """The mean of the neighbours with the faces' weights, of a padded array."""
    found = 0.0
    for k, pair in enumerate(level.weights):
        axis = e.ndim - 1 - k
        for weight, start in zip(pair, (0, 2), strict=True):
            cut = [slice(1, -1)] * e.ndim
            cut[axis] = slice(start, start + weight.shape[axis])
            found = found + weight * e[tuple(cut)]
    return jnp.asarray(found)


def _cycle(
    levels: list[Level], bottom: jax.Array, ends: tuple[Ends, ...], residual: jax.Array, sweeps: int,
    waits: tuple[int, ...], depth: int = 0,
) -> jax.Array:  # fmt: skip
    """One V cycle from nothing."""
    if depth == len(levels):
        return jnp.matmul(bottom, residual.ravel(), precision="highest").reshape(residual.shape)
    level = levels[depth]
    red, black = level.red, 1 - level.red
    right = lax.optimization_barrier(level.inverse * residual)

    def relax(e: jax.Array, mine: jax.Array, others: jax.Array) -> jax.Array:
        return _padded(mine * (right + _neighbours(level, e)) + others * _inner(e), ends)

    e = relax(_padded(red * right, ends), black, red)
    for _ in range(sweeps - 1):
        e = relax(relax(e, red, black), black, red)
    rest = residual - level.total * (_inner(e) - _neighbours(level, e))
    below = _halved(rest.shape, ends, depth, waits)
    halved = [n != m for n, m in zip(rest.shape, below, strict=True)]
    for axis, half in enumerate(halved):
        rest = _paired(rest, axis) if half else rest
    change = _cycle(levels, bottom, ends, rest, sweeps, waits, depth + 1)
    for axis, half in enumerate(halved):
        if half:
            change = lax.slice_in_dim(jnp.repeat(change, 2, axis), 0, residual.shape[axis], axis=axis)
    e = _padded(_inner(e) + change, ends)
    for _ in range(sweeps):
        e = relax(relax(e, black, red), red, black)
    return _inner(e)
