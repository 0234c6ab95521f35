"""The residuals of any functions in a case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.problem import Case
from sciml.solvers._promotion import standard
from sciml.solvers.pinn._inputs import given_inputs
from sciml.solvers.pinn._terms import Mean, Term, Terms

Residual = Callable[[Float[np.ndarray, "point coordinate"]], Float[np.ndarray, " point"]]


def residuals(
    case: Case,
    fields: Mapping[str, Callable[[Any], Any]] | Callable[[Any], Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Callable[[Any], Any]] | None = None,
    scaled: bool = False,
) -> dict[str, Residual]:
    """What is left of every equation and condition of a case when functions are put in for its fields.

    Names are those of the balances ("energy", "momentum.x"), of conditions ("x_min.T"; at the ends of a periodic axis
    "x_min~x_max.u", and "x_min~x_max.u'" for the slope), of initial values ("initial.T"), and "mean.p" for the mean of
    a field that is only known up to a constant. Each is a function of points (N, D + 1), time last (steady problems
    ignore it): anywhere for a balance, on its boundary for a condition, over the domain for a mean, which is one
    number.

    Args:
        fields: field name -> f(z) of one point z = (x, y, .., t), a scalar, in JAX; or one f(z) -> (F,) for all of them
            in their order.
        parameters: numbers that differ from those of the case.
        inputs: input name -> f(z); those of the case are interpolated smoothly.
        scaled: over the size of the largest term by the problem's scales, rather than in physical units.

    Raises:
        InputError: a field that is missing, a boundary without a condition, a field that does not say how it begins.
    """
    terms = Terms(case)
    names = terms.names
    whole: Any = fields
    if isinstance(fields, Mapping):
        missing = [n for n in names if n not in fields]
        if missing:
            raise InputError(f"fields: expected a function for each of {', '.join(names)}, got none for {missing[0]!r}")
        several = [fields[n] for n in names]

        def joined(z: Any) -> Any:
            return jnp.stack([jnp.asarray(f(z), z.dtype) for f in several])

        whole = joined
    theta = {**case.parameters, **(parameters or {})}
    mean = terms.mean()
    found: dict[str, Residual] = {}
    for term in [*terms.each(), *([] if mean is None else [mean])]:
        for k, row in enumerate(term.rows):
            found[row] = _function(case, term, k, whole, theta, dict(inputs or {}), scaled)
    return found


def _function(
    case: Case, term: Term, row: int, fields: Any, theta: Mapping[str, Any], given: Mapping[str, Any], scaled: bool
) -> Residual:
    @standard
    def at(points: Float[np.ndarray, "point coordinate"]) -> Float[np.ndarray, " point"]:
        places = np.atleast_2d(np.asarray(points, np.float64))
        if places.shape[1] != case.problem.dimensions + 1:
            n = case.problem.dimensions + 1
            raise InputError(f"points: expected shape (N, {n}), time last, got {np.shape(points)}")
        with jax.enable_x64(True):
            needed = term.inputs - set(given)
            inputs = {**given_inputs(case, needed), **given}
            several = {"z": places, **term.columns(places)}
            if isinstance(term, Mean):
                several = {"z": places[None]}
            block = jax.tree.map(jnp.asarray, several)
            values = jax.vmap(lambda p: term.values(fields, p, theta, inputs))(block)[:, row]
            return np.asarray(values) / (term.scales[row] if scaled else 1.0)

    return at
