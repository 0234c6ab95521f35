"""Residuals that are to vanish, as functions of parameters and points, and their Jacobians."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sciml.errors import InputError


class Residuals(eqx.Module):
    """r(params, data), one array of all residuals, weighted already, so that the loss is ½‖r‖²."""

    @abstractmethod
    def __call__(self, params: PyTree, data: PyTree) -> Float[Array, " n"]:
        """The residuals."""

    @abstractmethod
    def linearise(self, params: PyTree, data: PyTree) -> tuple[Float[Array, " n"], Float[Array, "n p"]]:
        """The residuals and their Jacobian, one column a parameter in the order of `ravel_pytree`."""


class General(Residuals):
    """Residuals by any function; the Jacobian column by column, which costs p evaluations.

    Args:
        function: (params, data) to the array of residuals.
        columns: how many columns are computed at once.
    """

    function: Callable[[PyTree, PyTree], Array]
    columns: int = eqx.field(static=True, default=64)

    def __call__(self, params: PyTree, data: PyTree) -> Float[Array, " n"]:
        return self.function(params, data)

    def linearise(self, params: PyTree, data: PyTree) -> tuple[Float[Array, " n"], Float[Array, "n p"]]:
        x, unravel = ravel_pytree(params)
        values, push = jax.linearize(lambda x: self.function(unravel(x), data), x)
        rows = jax.lax.map(push, jnp.eye(x.size, dtype=x.dtype), batch_size=min(self.columns, x.size))
        return values, rows.T


class Pointwise(Residuals):
    """Residuals each of which sees one point: the Jacobian row by row, at about the cost of a gradient.

    Args:
        terms: functions (params, point) to a number or an array of them, by name; `point` is one row of the block of
            that name.
        rows: how many points are differentiated at once; bounds the memory.

    `data` holds, by the same names, blocks of points: arrays, or trees of arrays, with a leading axis. The residuals
    stand in the order of the sorted names, those of one point together.
    """

    terms: Mapping[str, Callable[[PyTree, PyTree], Array]]
    rows: int = eqx.field(static=True, default=256)

    def __check_init__(self) -> None:
        if not self.terms:
            raise InputError("terms: expected at least one function, got none")

    def __call__(self, params: PyTree, data: Mapping[str, Any]) -> Float[Array, " n"]:
        found = (jax.vmap(term, (None, 0))(params, block) for term, block in self._pairs(data))
        return jnp.concatenate([jnp.ravel(r) for r in found])

    def linearise(self, params: PyTree, data: Mapping[str, Any]) -> tuple[Float[Array, " n"], Float[Array, "n p"]]:
        x, _ = ravel_pytree(params)
        values, jacobians = [], []
        for term, block in self._pairs(data):

            def one(point: PyTree, term: Callable[..., Array] = term) -> tuple[Array, Array]:
                def values(params: PyTree) -> Array:
                    return jnp.ravel(term(params, point))

                # by trees, then flattened: slices of one flat vector would each be padded to its length again
                r, pull = jax.vjp(values, params)
                (rows,) = jax.vmap(pull)(jnp.eye(r.size, dtype=r.dtype))
                leaves = [jnp.reshape(leaf, (r.size, -1)) for leaf in jax.tree.leaves(rows)]
                return r, jnp.concatenate(leaves, axis=1)

            n = jax.tree.leaves(block)[0].shape[0]
            r, jacobian = jax.lax.map(one, block, batch_size=min(self.rows, n))
            values.append(jnp.ravel(r))
            jacobians.append(jnp.reshape(jacobian, (-1, x.size)))
        return jnp.concatenate(values), jnp.concatenate(jacobians)

    def _pairs(self, data: Mapping[str, Any]) -> list[tuple[Callable[..., Array], Any]]:
        if sorted(data) != sorted(self.terms):
            raise InputError(f"data: expected blocks of points for {sorted(self.terms)}, got {sorted(data)}")
        return [(self.terms[name], data[name]) for name in sorted(self.terms)]


def as_residuals(function: Residuals | Callable[[PyTree, PyTree], Array]) -> Residuals:
    """A function as `Residuals`."""
    return function if isinstance(function, Residuals) else General(function)
