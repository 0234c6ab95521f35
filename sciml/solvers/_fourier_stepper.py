"""A periodic problem in Fourier space, built from its balances.

With fields q and rows ∂t(c q) + ∇·F = S, the fluxes are split into what holds no derivatives and what is linear in
them, F_i = F⁰_i(q, x, t) − Σ_j D_ij ∂_j q, and of sources that are linear in the fields with constant coefficients,
S = S⁰(x, t) + R q, these are taken out. Then, for the wave vector k,

    ∂t q̂ = −M(k) q̂ + N̂,    c M(k) = Σ_ij k_i k_j D_ij − R,    c N̂ = Ŝ⁰ − Σ_i i k_i F̂⁰_i,

with F⁰ and S⁰ evaluated on the grid and truncated to wave numbers below a third of the cells on each axis, so that
products of two fields carry no aliases there (2/3 rule). The decay λ(k), the part of M that is one number for all
fields (for each field, where they do not constrain one another), is integrated exactly by the factor e^(−λt), the rest
by classical Runge-Kutta 4.

A row ∇·q = 0 makes its field the gradient's multiplier p: with K the projection onto fields without divergence,
∂t q̂ = K(...), and p̂ = −i k·(c N̂ − c M q̂)/k². There λ is the trace of K M K over the D − 1 directions that K leaves;
for isotropic viscosity that is ν k², and nothing of it is left to the explicit part. What all rows carry along their
own axis acts as a pressure does: the last row's F⁰ is taken from the others', so that of the D(D + 1)/2 fluxes of a
symmetric tensor D(D + 1)/2 − 1 are transformed, and p is put right where it is asked for.

Source: S. A. Orszag, J. Atmos. Sci. 28, 1074 (1971), for the truncation; L. N. Trefethen, Spectral Methods in MATLAB
(2000), chapter 10, for the integrating factor; C. Basdevant, J. Comput. Phys. 50, 209 (1983), for fewer transforms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sciml.derivatives.jax import backend
from sciml.derivatives.numpy import backend as numpy_backend
from sciml.errors import InputError
from sciml.expressions import (
    ZERO,
    Constant,
    Coordinate,
    Expression,
    Field,
    Input,
    Operation,
    Parameter,
    Partial,
    Rate,
    Time,
    evaluate,
    gradient_part,
    leaves,
    time_derivative,
    without_gradients,
)
from sciml.problem import PDEProblem, Problem
from sciml.solvers._fourier import kept, wave_numbers
from sciml.solvers._time import Stepper
from sciml.solvers.spectral_closure import SpectralEddyViscosity


@dataclass(frozen=True)
class Row:
    """∂t storage + ∇·(still + Σ_j slopes[·, j] ∂_j ·) = source + Σ_f linear[f] f, with storage = mass · field."""

    field: str
    storage: Expression
    still: tuple[Expression, ...]
    slopes: tuple[Mapping[tuple[str, int], Expression], ...]
    source: Expression
    linear: Mapping[str, Expression]


@dataclass(frozen=True)
class System:
    """The balances of a problem, sorted.

    Args:
        pressure: the multiplier of the constraint ∇·(the fields) = 0, where there is one.
        carriers: fields that carry values: Σ |value| / cell size is the rate; () where the slope of the fluxes tells.
    """

    rows: tuple[Row, ...]
    pressure: str | None
    carriers: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(row.field for row in self.rows)


def system(problem: PDEProblem) -> System:
    """The balances of a problem as a spectral solver takes them.

    Raises:
        InputError: they have a form that it does not take; the message says which.
    """
    rows, constraints = [], []
    for name, balance in problem.balances().items():
        for storage, flux, source in balance.components():
            if storage is None:
                constraints.append((flux, source))
                continue
            held = {leaf for leaf in leaves(time_derivative(storage)) if not _constant(leaf)}
            if len(held) != 1 or not isinstance(rate := next(iter(held)), Rate):
                raise InputError(f"{name}: expected a storage that is a constant times one field")
            slopes = [gradient_part(f) for f in flux]
            if None in slopes or gradient_part(source) != {}:
                raise InputError(f"{name}: expected derivatives in fluxes alone, times constants")
            still = tuple(without_gradients(f) for f in flux)
            if any(isinstance(leaf, Input) for e in (*still, source) for leaf in leaves(e)):
                raise InputError(f"{name}: given coefficients and sources are not available")
            rest, linear = _split(source)
            rows.append(Row(rate.name, storage, still, tuple(s for s in slopes if s is not None), rest, linear))
    evolving = [row.field for row in rows]
    others = [f.name for f in problem.fields if f.name not in evolving]
    if not rows or len(set(evolving)) < len(rows):
        raise InputError("expected one balance with a storage for each field")
    carriers = problem.velocity if set(problem.velocity) <= set(evolving) else ()
    if not constraints and not others:
        return System(tuple(rows), None, carriers)
    divergence = tuple(Field(n) for n in evolving), ZERO
    if constraints != [divergence] or len(others) != 1 or not _is_pressure(rows, others[0]):
        raise InputError("expected no constraint but ∇·(the fields) = 0, held up by one field as a pressure")
    return System(tuple(rows), others[0], carriers)


def names_time(problem: Problem) -> bool:
    """Whether its equations name the time."""
    rows = [r for balance in problem.balances().values() for r in balance.components()]
    parts = [e for storage, flux, source in rows for e in (storage, *flux, source) if e is not None]
    return any(isinstance(leaf, Time) for e in parts for leaf in leaves(e))


def _split(source: Expression) -> tuple[Expression, Mapping[str, Expression]]:
    """(rest, coefficients) of a source = rest + Σ_f coefficient[f] f where these are numbers and parameters; else it is
    all rest."""
    return _linear(source) or (source, {})


def _linear(e: Expression) -> tuple[Expression, dict[str, Expression]] | None:
    if not any(isinstance(leaf, Field) for leaf in leaves(e)):
        return e, {}
    match e:
        case Field(name):
            return ZERO, {name: Constant(1.0)}
        case Operation("add" | "subtract" as name, a, b):
            left, right = _linear(a), _linear(b)
            if left is None or right is None:
                return None
            sign = 1.0 if name == "add" else -1.0
            change = {n: left[1].get(n, ZERO) + sign * c for n, c in right[1].items()}
            return left[0] + sign * right[0], left[1] | change
        case Operation("multiply" | "divide" as name, a, b):
            if name == "multiply" and not any(isinstance(leaf, Field) for leaf in leaves(a)):
                a, b = b, a
            inner = _linear(a)
            if inner is None or not all(isinstance(leaf, Constant | Parameter) for leaf in leaves(b)):
                return None
            if name == "multiply":
                return inner[0] * b, {n: c * b for n, c in inner[1].items()}
            return inner[0] / b, {n: c / b for n, c in inner[1].items()}
    return None


def _key(e: Expression) -> str:
    """Equal for products and sums that differ in the order of two operands."""
    match e:
        case Operation("add" | "multiply" as name, a, b):
            return f"{name}({', '.join(sorted((_key(a), _key(b))))})"
        case Operation(name, a, b):
            return f"{name}({_key(a)}, {_key(b)})"
    return repr(e)


def _constant(leaf: Expression) -> bool:
    return not isinstance(leaf, Field | Rate | Input | Coordinate | Time | Partial)


def _is_pressure(rows: list[Row], name: str) -> bool:
    """Whether a field is in the flux of row i along axis j as itself where i = j, and nowhere else: the slopes by it,
    at values that nothing singles out."""
    rng = np.random.default_rng(0)
    values: dict[Expression, float] = {}

    def leaf(e: Expression) -> float:
        return float(e.name == name) if isinstance(e, Rate) else values.setdefault(e, rng.uniform(0.5, 2.0))

    for i, row in enumerate(rows):
        wanted = [float(i == j) for j in range(len(row.still))] + [0.0]
        found = [evaluate(time_derivative(e), leaf, _none, numpy_backend.functions) for e in (*row.still, row.source)]
        if name in row.linear or len(row.still) != len(rows) or not np.allclose(found, wanted, rtol=0, atol=1e-12):
            return False
    return True


def _none(e: Partial) -> Any:
    raise TypeError(f"unexpected {e!r}")


def _scaled(a: Any, modes: jax.Array) -> jax.Array:
    """a · modes for a real a: half the work of a complex product."""
    return lax.complex(a * jnp.real(modes), a * jnp.imag(modes))


def _slope(a: Any, modes: jax.Array) -> jax.Array:
    """i a · modes for a real a."""
    return lax.complex(-a * jnp.imag(modes), a * jnp.real(modes))


class FourierStepper(Stepper):
    """States are the modes (field, *modes) of the fields that change in time; frames hold all fields and tendencies.

    Args:
        system: see `system`.
        parameters: scalars by name.
        lengths: (D,) periods along x, y, ...
        shape: cells in array order.
        origin: (D,) where the domain begins.
        cfl: (Σ |velocity| / cell size + |∂ source / ∂ field|) τ of a step.
        closure: an eddy viscosity by wave number, of a velocity without divergence.
    """

    def __init__(
        self,
        system: System,
        parameters: Mapping[str, Any],
        lengths: Any,
        shape: tuple[int, ...],
        origin: Any,
        cfl: float,
        closure: SpectralEddyViscosity | None = None,
    ):
        self.system, self.parameters, self.shape, self.cfl, self.closure = system, parameters, shape, cfl, closure
        d = len(shape)
        self.lengths, self.origin = [lengths[a] for a in range(d)], [origin[a] for a in range(d)]
        counts = shape[::-1]  # along x, y, ...
        self.k, keep = [], np.ones((), bool)
        for axis in range(d):
            where = [1] * d
            where[d - 1 - axis] = -1
            self.k.append(wave_numbers(counts[axis], self.lengths[axis], axis == 0).reshape(where))
            keep = keep & kept(counts[axis], axis == 0).reshape(where)
        if closure is not None:
            keep = keep & closure.kept(shape)
        self.keep = keep
        self.mass = [self._number(time_derivative(row.storage), Rate(row.field)) for row in system.rows]
        k2 = sum(k * k for k in self.k)
        self.inverse = jnp.where(k2 > 0, 1 / jnp.where(k2 > 0, k2, 1), 0)
        self.matrix = self._linear()
        names = range(len(system.rows))
        #: a flux that every row has along its own axis, but for what differs, and that acts as a pressure does
        self.gauge = ZERO if system.pressure is None else system.rows[-1].still[-1]
        if system.pressure is None:
            self.decay = jnp.stack([self.matrix[c][c] + 0 * k2 for c in names])
        else:  # trace of K M K = M - (M k) kᵀ/k² - ... over the directions without divergence
            along = sum(self.k[a] * self.matrix[a][b] * self.k[b] for a in names for b in names) * self.inverse
            trace = sum(self.matrix[c][c] for c in names) - along
            # the mean of the fields knows no constraint
            self.decay = jnp.where(k2 > 0, trace / max(d - 1, 1), trace / d)[None]

    # -- numbers ------------------------------------------------------------------------------------------------

    def _number(self, e: Expression, one: Expression | None = None) -> Any:
        """A constant expression."""

        def leaf(node: Expression) -> Any:
            if node == one:
                return 1.0
            return self._parameter(node)

        return evaluate(e, leaf, _none, backend.functions)

    def _parameter(self, node: Expression) -> Any:
        if isinstance(node, Parameter):
            return self.parameters[node.name]
        raise TypeError(f"unexpected {node!r}")

    def _linear(self) -> list[list[Any]]:
        """M(k): [row][field] over the modes."""
        fields = self.system.fields
        found: list[list[Any]] = [[0.0 for _ in fields] for _ in fields]
        for c, row in enumerate(self.system.rows):
            for i, slopes in enumerate(row.slopes):
                for (name, j), coefficient in slopes.items():
                    if name in fields:
                        size = -self._number(coefficient) / self.mass[c]
                        found[c][fields.index(name)] += size * self.k[i] * self.k[j]
            for name, coefficient in row.linear.items():
                found[c][fields.index(name)] -= self._number(coefficient) / self.mass[c]
        return found

    # -- the equation -------------------------------------------------------------------------------------------

    def back(self, modes: jax.Array) -> jax.Array:
        return jnp.fft.irfftn(modes, self.shape, axes=range(-len(self.shape), 0))

    def forth(self, values: Any) -> jax.Array:
        values = jnp.broadcast_to(jnp.asarray(values, self.decay.dtype), self.shape)
        return jnp.fft.rfftn(values, axes=range(-len(self.shape), 0))

    def leaf(self, values: Mapping[str, jax.Array], time: jax.Array) -> Callable[[Expression], Any]:
        """What the leaves of an expression are, given the fields on the grid."""

        def of(node: Expression) -> Any:
            match node:
                case Field(name):
                    return values.get(name, 0.0)  # the multiplier comes in later
                case Coordinate(axis):
                    where = [1] * len(self.shape)
                    where[len(self.shape) - 1 - axis] = -1
                    n = self.shape[len(self.shape) - 1 - axis]
                    return (self.origin[axis] + self.lengths[axis] * (np.arange(n) + 0.5) / n).reshape(where)
                case Time():
                    return time
            return self._parameter(node)

        return of

    def rest(self, state: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(the rate of change without −λ q̂, the multiplier's modes but for `gauge`, the rate at which values are
        carried and made)."""
        fields = self.system.fields
        values = {name: self.back(state[c]) for c, name in enumerate(fields)}
        leaf, memory, known = self.leaf(values, time), {}, {}

        def modes(e: Expression, less: Expression = ZERO) -> jax.Array:
            key = _key(e), _key(less)
            if key not in known:
                numbers = [evaluate(part, leaf, _none, backend.functions, memory) for part in (e, less)]
                known[key] = jnp.where(self.keep, self.forth(numbers[0] - numbers[1]), 0)
            return known[key]

        rows = []
        for c, row in enumerate(self.system.rows):
            total = jnp.zeros_like(state[0])
            for i, e in enumerate(row.still):
                less = self.gauge if i == c else ZERO
                if _key(e) != _key(less):
                    total = total - _slope(self.k[i], modes(e, less))
            if row.source != ZERO:
                total = total + modes(row.source)
            rows.append(_scaled(1 / self.mass[c], total))
            for b, m in enumerate(self.matrix[c]):
                if not isinstance(m, float):  # nothing stands there
                    rows[c] = rows[c] - _scaled(m, state[b])
        multiplier = jnp.zeros_like(state[0])
        if self.system.pressure is not None:
            force = sum(_scaled(k * m, r) for k, m, r in zip(self.k, self.mass, rows, strict=True))
            multiplier = -_slope(self.inverse, force)  # type: ignore[arg-type]
            rows = [r - _slope(k / m, multiplier) for k, m, r in zip(self.k, self.mass, rows, strict=True)]
        change, rate = jnp.stack(rows) + _scaled(self.decay, state), self._carried(values, leaf) + self._made(leaf)
        if self.closure is not None:
            damping = self.closure.damping(state, self.k, self.shape)
            change = change - _scaled(damping, state)
            rate = rate + lax.stop_gradient(jnp.max(jnp.where(self.keep, damping, 0)))
        return change, multiplier, rate

    def _carried(self, values: Mapping[str, jax.Array], leaf: Callable[[Expression], Any]) -> jax.Array:
        """Σ |velocity| / cell size at its largest."""
        total: Any = 0.0
        counts = self.shape[::-1]
        if self.system.carriers:
            for axis, name in enumerate(self.system.carriers):
                total = total + jnp.max(jnp.abs(values[name])) * counts[axis] / self.lengths[axis]
            return lax.stop_gradient(total)
        for c, row in enumerate(self.system.rows):
            mine: Any = 0.0
            for i, e in enumerate(row.still):

                def slope(node: Expression, field: str = row.field) -> Any:
                    return float(node.name == field) if isinstance(node, Rate) else leaf(node)

                speed = evaluate(time_derivative(e), slope, _none, backend.functions)
                mine = mine + jnp.max(jnp.abs(speed)) * counts[i] / self.lengths[i] / self.mass[c]
            total = jnp.maximum(total, mine)
        # values that are not finite must show, also where nothing is carried
        return lax.stop_gradient(total + 0 * sum(jnp.sum(v) for v in values.values()))

    def _made(self, leaf: Callable[[Expression], Any]) -> Any:
        """max Σ_f |∂S_i/∂f| over the rows, the rate at which sources let fields grow or decay, at its largest."""
        total: Any = 0.0
        for c, row in enumerate(self.system.rows):
            change, mine = time_derivative(row.source), 0.0
            for field in self.system.fields:

                def slope(node: Expression, field: str = field) -> Any:
                    return float(node.name == field) if isinstance(node, Rate) else leaf(node)

                if Rate(field) in leaves(change):
                    mine = mine + jnp.max(jnp.abs(evaluate(change, slope, _none, backend.functions))) / self.mass[c]
            total = jnp.maximum(total, mine)
        return lax.stop_gradient(total)

    def start(self, fields: Mapping[str, jax.Array]) -> jax.Array:
        """Modes of point values at cell centres; what the truncation leaves out, and a divergence, are taken away."""
        modes = jnp.stack([jnp.where(self.keep, self.forth(fields[n]), 0) for n in self.system.fields])
        if self.system.pressure is not None:
            along = sum(k * m for k, m in zip(self.k, modes, strict=True)) * self.inverse
            modes = jnp.stack([m - k * along for k, m in zip(self.k, modes, strict=True)])
        return modes

    # -- the march ----------------------------------------------------------------------------------------------

    def step(self, state, time, remaining):
        a, _, rate = self.rest(state, time)
        steps = jnp.maximum(jnp.ceil(remaining * rate / self.cfl * (1 - 1e-6)), 1)
        tau = remaining / steps
        half = jnp.exp(-self.decay * tau / 2)
        whole, middle = half * half, time + tau / 2
        b = self.rest(half * (state + tau / 2 * a), middle)[0]
        c = self.rest(half * state + tau / 2 * b, middle)[0]
        d = self.rest(whole * state + tau * half * c, time + tau)[0]
        return whole * state + tau / 6 * (whole * a + 2 * half * (b + c) + d), tau, steps

    def frame(self, state, time):
        change, multiplier, _ = self.rest(state, time)
        change = change - self.decay * state
        out = {name: self.back(state[c]) for c, name in enumerate(self.system.fields)}
        if self.system.pressure is not None:
            gauge = evaluate(self.gauge, self.leaf(out, time), _none, backend.functions)
            inside = self.keep & (self.inverse > 0)
            out[self.system.pressure] = self.back(multiplier - jnp.where(inside, self.forth(gauge), 0))
        return out | {f"{n}_tendency": self.back(change[c]) for c, n in enumerate(self.system.fields)}
