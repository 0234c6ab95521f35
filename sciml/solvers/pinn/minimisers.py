"""Minimisers of ½‖r(params)‖²: what they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree, Shaped

from sciml.errors import positive
from sciml.solvers._promotion import standard
from sciml.solvers.pinn._residuals import Residuals, as_residuals
from sciml.training.parts import Part

Function = Residuals | Callable[[PyTree, PyTree], Array]
Record = dict[str, Shaped[Array, "*steps"]]


class Objective(eqx.Module):
    """½‖r‖² as a function of one flat vector x of all parameters, at given points."""

    residuals: Residuals
    data: PyTree
    unravel: Callable[[Array], PyTree]

    def values(self, x: Float[Array, " p"]) -> Float[Array, " n"]:
        """r."""
        return self.residuals(self.unravel(x), self.data)

    def loss(self, x: Float[Array, " p"]) -> Float[Array, ""]:
        """½‖r‖²."""
        return half_square(self.values(x))

    def value_and_gradient(self, x: Float[Array, " p"]) -> tuple[Float[Array, ""], Float[Array, " p"]]:
        """½‖r‖² and Jᵀr."""
        return jax.value_and_grad(self.loss)(x)

    def linearise(self, x: Float[Array, " p"]) -> tuple[Float[Array, " n"], Float[Array, "n p"]]:
        """r and J = ∂r/∂x."""
        return self.residuals.linearise(self.unravel(x), self.data)


def half_square(r: Float[Array, " n"]) -> Float[Array, ""]:
    """½‖r‖²."""
    return 0.5 * jnp.vdot(r, r)


@dataclass(frozen=True)
class Minimiser(Part, family="minimiser"):
    """Something that reduces ½‖r(params, data)‖² step by step.

    `residuals` is a `Residuals` or any function (params, data) to an array; `params` a tree of float arrays of one
    type; `data` a tree of arrays. What is called is compiled once for each function, tree and shapes: pass the same
    function object each time. Computes in the type of the parameters: call it within `jax.enable_x64(True)` for
    float64, without which a second-order method is of little use.

    A record holds numbers as arrays: "loss", ½‖r‖² as the class says, "gradient", the norm of its gradient before the
    step, and "stopped", whether the method can do no more; then a step changes nothing.
    """

    steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._range("steps", 0)

    def init(self, residuals: Function, params: PyTree, data: PyTree) -> PyTree:
        """The state before the first step."""
        return _init(self, as_residuals(residuals), params, data)

    def step(self, residuals: Function, params: PyTree, state: PyTree, data: PyTree) -> tuple[PyTree, PyTree, Record]:
        """One step: new parameters, state and record."""
        params, state, records = _advance(self, as_residuals(residuals), params, state, data, 1)
        return params, state, {name: value[0] for name, value in records.items()}

    def advance(
        self, residuals: Function, params: PyTree, state: PyTree, data: PyTree, count: int
    ) -> tuple[PyTree, PyTree, Record]:
        """`count` steps with the same data in one compiled call; records have a leading axis of `count`.

        Raises:
            InputError: `count` is no whole number ≥ 1.
        """
        return _advance(self, as_residuals(residuals), params, state, data, positive("count", count))

    def sweep(
        self, residuals: Function, params: PyTree, state: PyTree, batches: PyTree
    ) -> tuple[PyTree, PyTree, Record]:
        """One step with each of the `batches`, data with a further leading axis, in one compiled call."""
        return _sweep(self, as_residuals(residuals), params, state, batches)

    @abstractmethod
    def _init(self, objective: Objective, x: Array) -> Any:
        """The state at x."""

    @abstractmethod
    def _step(self, objective: Objective, x: Array, state: Any) -> tuple[Array, Any, Record]:
        """One step from x."""

    def _refresh(self, objective: Objective, x: Array, state: Any) -> Any:
        """The state when the data may have changed since the last step."""
        return state


@eqx.filter_jit
@standard
def _init(minimiser: Minimiser, residuals: Residuals, params: PyTree, data: PyTree) -> PyTree:
    x, unravel = ravel_pytree(params)
    return minimiser._init(Objective(residuals, data, unravel), x)


@eqx.filter_jit
@standard
def _advance(
    minimiser: Minimiser, residuals: Residuals, params: PyTree, state: PyTree, data: PyTree, count: int
) -> tuple[PyTree, PyTree, Record]:
    x, unravel = ravel_pytree(params)
    objective = Objective(residuals, data, unravel)

    def body(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], Record]:
        x, state, record = minimiser._step(objective, *carry)
        return (x, state), record

    state = minimiser._refresh(objective, x, state)
    (x, state), records = jax.lax.scan(body, (x, state), None, length=count)
    return unravel(x), state, records


@eqx.filter_jit
@standard
def _sweep(
    minimiser: Minimiser, residuals: Residuals, params: PyTree, state: PyTree, batches: PyTree
) -> tuple[PyTree, PyTree, Record]:
    x, unravel = ravel_pytree(params)

    def body(carry: tuple[Array, Any], data: PyTree) -> tuple[tuple[Array, Any], Record]:
        x, state = carry
        objective = Objective(residuals, data, unravel)
        x, state, record = minimiser._step(objective, x, minimiser._refresh(objective, x, state))
        return (x, state), record

    (x, state), records = jax.lax.scan(body, (x, state), batches)
    return unravel(x), state, records
