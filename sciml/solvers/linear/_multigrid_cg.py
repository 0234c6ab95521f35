"""Conjugate gradients with a multigrid cycle, from end to end in JAX."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sciml.errors import InputError
from sciml.solvers.linear._arrays import Arrays
from sciml.solvers.linear._cycle import Level, Rules, cycle, levels
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
    lax.optimization_barrier, _ring, lambda values: values.astype(jnp.float32),
)  # fmt: skip


class CycleCG(TracedSolver):
    """Abstract: conjugate gradients until ‖f + ∇·(c∇φ)‖ ≤ tolerance · ‖f‖, with one V cycle as preconditioner, whose
    coarse grids are made by `rules`."""

    def __init__(
        self, tolerance: float | None, max_iterations: int, sweeps: int, waits: tuple[int, ...], record: bool,
        single: bool,
    ):  # fmt: skip
        if tolerance is not None:
            check_tolerance(self.name, tolerance)
        check_counts(self.name, max_iterations=max_iterations, sweeps=sweeps)
        check_waits(self.name, waits)
        self.tolerance, self.max_iterations, self.sweeps = tolerance, int(max_iterations), int(sweeps)
        self.waits, self.record, self.single = waits, bool(record), bool(single)

    @property
    @abstractmethod
    def rules(self) -> Rules:
        """How coarse grids are made."""

    @abstractmethod
    def waiting(self, waits: tuple[int, ...]) -> Self:
        """The same solver with other waits."""

    def supports(self, system: LinearSystem) -> bool:
        return isinstance(system, GridSystem)

    def fitted(self, spacing: Sequence[float]) -> Self:
        if self.waits:
            return self
        return self.waiting(tuple(max(round(math.log2(h / min(spacing))), 0) for h in spacing))

    def factor(self, system: GridSystem) -> Any:
        """All grids of the cycle, in NumPy."""
        self._check_axes(system)
        with jax.enable_x64(True):
            system = jax.tree.map(lambda a: np.asarray(a, np.float64), system)
            return jax.tree.map(np.asarray, _grids(self.rules, self.waits, self.single, system))

    def _check_axes(self, system: GridSystem) -> None:
        if self.waits and len(self.waits) != system.dimensions:
            raise InputError(f"{self.name}: waits is {self.waits}, expected one for each of {system.dimensions} axes")

    def solve(
        self, system: GridSystem, rhs: jax.Array, guess: jax.Array | None = None, factor: Any = ()
    ) -> tuple[jax.Array, Info]:
        rhs = jnp.asarray(rhs)
        self._check_axes(system)
        ends, fine = system.ends, [c.astype(rhs.dtype) for c in system.conductances()]
        centred = system.centred

        def operator(phi: jax.Array) -> jax.Array:
            return apply(fine, ends, phi)

        fixed = lax.stop_gradient(fine)
        kind = jnp.float32 if self.single else rhs.dtype
        grids, bottom = factor or _made(self.rules, self.waits, self.single, fixed, ends, system.shape)
        grids, bottom = jax.tree.map(lambda a: jnp.asarray(a, kind), (grids, bottom))
        few = 1e-9 if rhs.dtype == jnp.float64 else 1e-5
        tolerance = few if self.tolerance is None else self.tolerance
        right = centred(rhs)
        # what a mean leaves of a constant is rounding
        none = jnp.max(jnp.abs(right)) <= 16 * jnp.finfo(rhs.dtype).eps * jnp.max(jnp.abs(rhs))
        right = jnp.where(none, 0, right)
        known = None if guess is None else lax.stop_gradient(centred(jnp.asarray(guess, rhs.dtype)))

        def norm(values: jax.Array) -> jax.Array:
            return jnp.sqrt(jnp.sum(values**2))

        def conjugate(_: Any, given: jax.Array) -> tuple[jax.Array, Info]:
            # squares of very small and large numbers are none
            largest = jnp.max(jnp.abs(given))
            scale = jnp.where(largest > 0, largest, 1)
            b = given / scale
            size = norm(b)
            whole = jnp.where(size > 0, size, 1)
            x, r = jnp.zeros_like(b), b
            if known is not None:
                # as much of the guess as helps: derivatives are solved for from here too
                top = jnp.max(jnp.abs(known))
                plain = known / jnp.where(top > 0, top, 1)
                image = operator(plain)
                square = jnp.sum(image**2)
                share = jnp.where(square > 0, jnp.sum(image * b) / jnp.where(square > 0, square, 1), 0)
                x, r = share * plain, centred(b - share * image)
            begun, at_first = x, norm(r) / whole

            def precondition(r: jax.Array) -> jax.Array:
                scaled = (r / whole).astype(kind)
                return centred(cycle(JAX, grids, bottom, ends, scaled, self.sweeps, self.waits).astype(r.dtype))

            def going(carry: Any) -> jax.Array:
                _, _, _, rz, rest, count, _ = carry
                return (rest > tolerance) & (count < self.max_iterations) & (rz > 0)

            def body(carry: Any) -> Any:
                x, r, p, rz, _, count, history = carry
                z = precondition(r)
                new = jnp.sum(r * z)
                p = z + jnp.where(count > 0, new / rz, 0) * p
                q = operator(p)
                square = jnp.sum(p * q)
                share = jnp.where(square > 0, new / jnp.where(square > 0, square, 1), 0)
                # without the part in the null space that rounding brings in, which no step could take out
                x, r = x + share * p, centred(r - share * q)
                rest = norm(r) / whole
                if self.record:
                    history = history.at[count + 1].set(rest)
                return x, r, p, jnp.where(square > 0, new, 0), rest, count + 1, history

            history = jnp.full(self.max_iterations + 1, jnp.nan, b.dtype).at[0].set(at_first) if self.record else None
            start = (x, r, jnp.zeros_like(b), jnp.ones((), b.dtype), at_first, jnp.zeros((), int), history)
            x, r, _, _, rest, count, history = lax.while_loop(going, body, start)
            x = centred(x)
            true = norm(b - operator(x)) / whole
            x, true = jnp.where(true <= at_first, x, begun), jnp.minimum(true, at_first)
            # rounding may have parted the residual from the one that was carried on
            rounding = (count + 10) * jnp.finfo(b.dtype).eps * norm(2 * diagonal(fixed, system.shape) * x) / whole
            return scale * x, Info(count, true, (rest <= tolerance) & (true <= tolerance + rounding), history)

        return lax.custom_linear_solve(operator, right, conjugate, symmetric=True, has_aux=True)


def _made(
    rules: Rules, waits: tuple[int, ...], single: bool, conductances: list[jax.Array], ends: Any, shape: tuple[int, ...]
) -> tuple[list[Level], Any]:
    """The grids of the cycle and the pseudo-inverse on the coarsest, for conductances in units of the largest sum over
    the faces of a cell."""
    unit = jnp.maximum(jnp.max(diagonal(conductances, shape)), jnp.finfo(conductances[0].dtype).tiny)
    made = levels(JAX, [c / unit for c in conductances], ends, shape, waits, rules)
    kind = jnp.float32 if single else conductances[0].dtype
    return jax.tree.map(lambda a: a.astype(kind), lax.optimization_barrier(made))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _grids(rules: Rules, waits: tuple[int, ...], single: bool, system: GridSystem) -> Any:
    return _made(rules, waits, single, system.conductances(), system.ends, system.shape)
