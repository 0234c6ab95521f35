"""Parameters and inputs that are trained along with the fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sciml.errors import InputError, suggest
from sciml.problem import Case, ParameterSpec
from sciml.solvers.pinn._functions import evaluated
from sciml.solvers.pinn._inputs import Exponential, given_inputs
from sciml.solvers.pinn._rows import parameters_of
from sciml.solvers.pinn._terms import Terms
from sciml.solvers.pinn.networks import Architecture


def check(name: str, case: Case, terms: Terms, unknown: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The unknown parameters and the unknown inputs.

    Raises:
        InputError: what is neither, or does not occur in the equations.
    """
    parameters = {s.name for s in case.problem.parameters}
    inputs = {s.name for s in case.problem.inputs}
    used = parameters_of(r.residual for r in terms.rows)
    for each in unknown:
        known = sorted(used | set(terms.input_names))
        if each not in parameters | inputs:
            raise InputError(f"{name}: unknown: {case.problem.name} has no parameter {each!r}{suggest(each, known)}")
        if each not in known:
            raise InputError(
                f"{name}: unknown: {each!r} is in no equation of {case.problem.name}{suggest(each, known)}"
            )
    return tuple(n for n in unknown if n in parameters), tuple(n for n in unknown if n not in parameters)


def refuse_elsewhere(name: str, case: Case, terms: Terms, unknown: Sequence[str], until: float | None) -> None:
    """Unknown parameters that also enter the domain, a given value on its boundary or the beginning: there they keep
    the first guess while the equations move on, and what is found is wrong.

    Raises:
        InputError: which parameter, and where.
    """
    specs = {s.name: s for s in case.problem.parameters}
    for each in unknown:
        where = _differs(case, _moved(case, specs[each]), terms, 1.0 if until is None else until)
        if where:
            raise InputError(
                f"{name}: unknown: {each!r} is in an equation, and in {where}, where it would keep its first guess; "
                "expected a parameter of the equations alone"
            )


def _differs(case: Case, other: Case, terms: Terms, until: float) -> str:
    """What but the equations is not the same in another case; "" for nothing."""
    if other.geometry.extents != case.geometry.extents:
        return "the domain"
    moved, random, count = Terms(other), np.random.default_rng(0), 512
    low, high = np.array(case.geometry.extents, float).T
    places = random.uniform(low, high, (count, len(low)))
    depths = [np.asarray(c.geometry.signed_distance(places)) for c in (case, other)]
    if not _agree(depths[0], depths[1]):
        return "the domain"
    times = np.linspace(0.0, until, count)[:, None]
    for side in terms.sides.values():
        points, its = np.concatenate([side.boundary.sample(count, random), times], axis=1), moved.sides[side.name]
        here, there = side.columns(points), its.columns(points)
        if side.parts != its.parts or not all(_agree(here[k], there[k]) for k in here):
            return f"what is given on {side.name!r}"
    points = np.concatenate([places, 0 * times], axis=1)
    start, its_start = terms.start(), moved.start()
    if start is not None and its_start is not None:
        if not _agree(start.columns(points)["given"], its_start.columns(points)["given"]):
            return "how fields begin"
    for spec in case.problem.inputs:
        if spec.name in terms.input_names and spec.name not in case.inputs and spec.default is not None:
            one, two = (evaluated(given_inputs(c, [spec.name])[spec.name], points) for c in (case, other))
            if not _agree(one, two):
                return f"the default of {spec.name!r}"
    return ""


def _moved(case: Case, spec: ParameterSpec) -> Case:
    """The same case with a slightly different value of one parameter."""
    value = case.parameters[spec.name]
    step = 1e-3 * (abs(value) or 1.0)
    step = -step if value + step > spec.maximum else step
    return replace(case, parameters={**case.parameters, spec.name: value + step}, inputs=dict(case.inputs))


def _agree(one: np.ndarray, other: np.ndarray) -> bool:
    """To less than what a change of 1e-3 could make of a number, and more than rounding."""
    size = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))  # nothing is infinitely far inside a periodic box
    return np.allclose(one, other, rtol=1e-9, atol=1e-12 * size)


class Unknown(eqx.Module):
    """A parameter as a function of a number r that may be anything: between its bounds, positive where it has to be.

    With both bounds it is a + (b − a)/(1 + e⁻ʳ), with a lower one a + (p₀ − a) eʳ, else p₀ + s r.
    """

    first: float = eqx.field(static=True)
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    @classmethod
    def of(cls, name: str, spec: ParameterSpec, first: float) -> Unknown:
        """From a first guess.

        Raises:
            InputError: one on a bound, from which it could not move.
        """
        if first in (spec.minimum, spec.maximum):
            raise InputError(
                f"{name}: unknown: {spec.name} begins at its bound {first:g}, expected a case within bounds"
            )
        return cls(first, spec.minimum, spec.maximum)

    @property
    def start(self) -> float:
        if math.isfinite(self.low) and math.isfinite(self.high):
            share = (self.first - self.low) / (self.high - self.low)
            return math.log(share / (1 - share))
        return 0.0

    def __call__(self, r: Any) -> Any:
        if math.isfinite(self.low) and math.isfinite(self.high):
            return self.low + (self.high - self.low) * jax.nn.sigmoid(r)
        if math.isfinite(self.low):
            return self.low + (self.first - self.low) * jnp.exp(r)
        if math.isfinite(self.high):
            return self.high - (self.high - self.first) * jnp.exp(-r)
        return self.first + (abs(self.first) or 1.0) * r


class FieldNetwork(eqx.Module):
    """An unknown input over space: a first guess, and a network times a size."""

    network: Any
    guess: Any
    low: Any
    span: Any
    size: float = eqx.field(static=True)

    def __call__(self, x: Float[Array, " coordinate"]) -> Float[Array, ""]:
        low, span = jnp.asarray(self.low, x.dtype), jnp.asarray(self.span, x.dtype)
        change = self.size * self.network(2 * (x[: low.shape[0]] - low) / span - 1)[0]
        return change if self.guess is None else self.guess(x) + change


def input_network(case: Case, name: str, architecture: Architecture, key: Any) -> Any:
    """A fresh network for an unknown input, beside what the case has of it (if anything); where the input is positive,
    the exponential of a network beside its logarithm."""
    spec = next(s for s in case.problem.inputs if s.name == name)
    if spec.dims == ("time",):
        raise InputError(f"unknown: {name!r} is a series in time, expected an input over space")
    d = case.problem.dimensions
    low, high = np.array(case.geometry.extents, float).T
    network = architecture.build(d, 1, key, periodic=case.geometry.periodic)
    guess, size = None, 1.0
    if name in case.inputs or spec.default is not None:
        guess = given_inputs(case, [name])[name]
        guess = guess.exponent if spec.positive else guess
        places = np.random.default_rng(0).uniform(low, high, (256, d))
        values = evaluated(guess, np.concatenate([places, np.zeros((256, 1))], axis=1))
        size = 1.0 if spec.positive else float(np.sqrt((values**2).mean())) or 1.0
    found = FieldNetwork(network, guess, low, high - low, size)
    return Exponential(found) if spec.positive else found


def values(unknowns: Mapping[str, Unknown], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters."""
    return {n: u(raw[n]) for n, u in unknowns.items()}
