"""Conjugate gradients with a multigrid cycle as preconditioner: coefficients that vary, closed faces, any box.

The cycle coarsens by two in every direction, cells into their sum (`_coarse_grids`). Red and black Gauss-Seidel
sweeps, in reversed order on the way up, keep it symmetric (`_cycle`).

Derivatives are those of the solution, not of the iteration: each is one more solve.

Source: O. Tatebe, in Proc. Copper Mountain Conf. on Multigrid Methods, NASA CP-3224 (1993), 621.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sciml.solvers.linear._arrays import Arrays
from sciml.solvers.linear._cycle import cycle, levels
from sciml.solvers.linear._settings import check_counts, check_tolerance, check_waits
from sciml.solvers.linear._solver import Info, TracedSolver
from sciml.solvers.linear._system import LinearSystem
from sciml.solvers.linear.grid_system import GridSystem, apply, diagonal


def _ring(xp: Any, values: jax.Array, around: dict[int, bool]) -> jax.Array:
    values = jnp.pad(values, [(int(axis in around),) * 2 for axis in range(values.ndim)])
    for axis, periodic in around.items():
        n = values.shape[axis]
        for to, source in ((0, n - 2), (n - 1, 1)) if periodic else ():
            row = lax.slice_in_dim(values, source, source + 1, axis=axis)
            values = lax.dynamic_update_slice_in_dim(values, row, to, axis)
    return values


JAX = Arrays(
    jnp, lambda values, like: jnp.asarray(values, like.dtype), partial(jnp.matmul, precision="highest"),
    lax.optimization_barrier, _ring,
)  # fmt: skip


class MultigridCG(TracedSolver):
    """Conjugate gradients until ‖f + ∇·(c∇φ)‖ ≤ tolerance · ‖f‖.

    Coefficients that jump from one region to another take some more iterations than constant ones; of many regions that
    touch within the cells of coarse grids, or of coefficients that vary from cell to cell by many powers of ten, more
    than `max_iterations` may be needed, and `Info.converged` says so.

    Args:
        tolerance: None for 1e-9 in float64 and 1e-5 in float32.
        max_iterations: beyond, the solve is not converged.
        sweeps: of the smoother on either way.
        waits: for each axis (x, y, ...) the number of first grids on which cells are not joined along it: log₂ of how
            much longer they are there than along the shortest axis, for what oscillates along the long sides is hardly
            smoothed; () for none. `fitted` sets it.
        record: keeps the relative residuals in `Info.history` (max_iterations + 1), NaN after the last.
        single: whether cycles are in float32 where all else is in float64: a third less time for each, and no more
            iterations, but for coefficients that jump by 10⁴ between cells that coarse grids join, or gaps of one cell
            (up to a fifth).
    """

    name = "multigrid_cg"

    def __init__(self, tolerance: float | None = None, max_iterations: int = 100, sweeps: int = 1,
        waits: tuple[int, ...] = (), record: bool = False, single: bool = True,
    ):  # fmt: skip
        if tolerance is not None:
            check_tolerance(self.name, tolerance)
        check_counts(self.name, max_iterations=max_iterations, sweeps=sweeps)
        check_waits(self.name, waits)
        self.tolerance, self.max_iterations, self.sweeps = tolerance, int(max_iterations), int(sweeps)
        self.waits, self.record, self.single = waits, bool(record), bool(single)

    def supports(self, system: LinearSystem) -> bool:
        return isinstance(system, GridSystem)

    def fitted(self, spacing: Sequence[float]) -> MultigridCG:
        if self.waits:
            return self
        waits = tuple(max(round(math.log2(h / min(spacing))), 0) for h in spacing)
        return MultigridCG(self.tolerance, self.max_iterations, self.sweeps, waits, self.record, self.single)

    def solve(
        self, system: GridSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        rhs = jnp.asarray(rhs)
        ends, fine = system.ends, [c.astype(rhs.dtype) for c in system.conductances()]
        centred = system.centred

        def operator(phi: jax.Array) -> jax.Array:
            return apply(fine, ends, phi)

        fixed = lax.stop_gradient(fine)
        tiny = jnp.finfo(rhs.dtype).tiny
        kind = jnp.float32 if self.single else rhs.dtype
        total = diagonal(fixed, system.shape)
        unit = jnp.maximum(jnp.max(total), tiny)
        grids, bottom = jax.tree.map(
            lambda a: a.astype(kind),
            lax.optimization_barrier(levels(JAX, [c / unit for c in fixed], ends, system.shape, self.waits)),
        )
        few = 1e-9 if rhs.dtype == jnp.float64 else 1e-5
        tolerance = few if self.tolerance is None else self.tolerance
        right = centred(rhs)
        known = None if guess is None else lax.stop_gradient(centred(jnp.asarray(guess, rhs.dtype)))

        def norm(values: jax.Array) -> jax.Array:
            return jnp.sqrt(jnp.sum(values**2))

        def conjugate(_: Any, b: jax.Array) -> tuple[jax.Array, Info]:
            size = norm(b)
            whole = jnp.where(size > 0, size, 1)
            x, r = jnp.zeros_like(b), b
            if known is not None:
                # as much of the guess as helps: derivatives are solved for from here too
                image = operator(known)
                square = jnp.sum(image**2)
                share = jnp.where(square > 0, jnp.sum(image * b) / jnp.where(square > 0, square, 1), 0)
                x, r = share * known, b - share * image

            def precondition(r: jax.Array) -> jax.Array:
                scaled = (centred(r) / whole).astype(kind)
                return centred(cycle(JAX, grids, bottom, ends, scaled, self.sweeps, self.waits).astype(r.dtype))

            def going(carry: Any) -> jax.Array:
                _, _, _, _, rest, count, _ = carry
                return (rest > tolerance) & (count < self.max_iterations)

            def body(carry: Any) -> Any:
                x, r, p, rz, _, count, history = carry
                z = precondition(r)
                new = jnp.sum(r * z)
                p = z + jnp.where(count > 0, new / rz, 0) * p
                q = operator(p)
                share = new / jnp.sum(p * q)
                x, r = x + share * p, r - share * q
                rest = norm(r) / whole
                if self.record:
                    history = history.at[count + 1].set(rest)
                return x, r, p, new, rest, count + 1, history

            first = norm(r) / whole
            history = jnp.full(self.max_iterations + 1, jnp.nan, b.dtype).at[0].set(first) if self.record else None
            start = (x, r, jnp.zeros_like(b), jnp.ones((), b.dtype), first, jnp.zeros((), int), history)
            x, r, _, _, rest, count, history = lax.while_loop(going, body, start)
            x = centred(x)
            true = norm(b - operator(x)) / whole
            # rounding may have parted the residual from the one that was carried on
            rounding = (count + 10) * jnp.finfo(b.dtype).eps * norm(2 * total * x) / whole
            return x, Info(count, true, (rest <= tolerance) & (true <= tolerance + rounding), history)

        return lax.custom_linear_solve(operator, right, conjugate, symmetric=True, has_aux=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MultigridCG) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.tolerance, self.max_iterations, self.sweeps, self.waits, self.record, self.single))
