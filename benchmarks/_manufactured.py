"""Problems whose exact solution is chosen: source and boundary values follow from the balance itself.

    problem = Manufactured(exact, flux, geometry, conditions, storage=...)
    l2, h1 = zip(*(errors(FiniteElements(n, order=2), problem.case()) for n in (8, 16, 32)), strict=True)
    orders(l2), orders(h1)                                           # 3 and 2

`exact(d, x)` gives a tuple of expressions of coordinates and time, `flux(q, d, x)` the flux of the balances, over the
fields q[0], q[1], ...
"""

import math

import numpy as np

from sciml import Balance, Box, Dirichlet, FieldSpec, Flux, Neumann, PDEProblem, Robin, Scales
from sciml.calculus import Derivative, expanded
from sciml.derivatives import numpy as provider
from sciml.expressions import (
    Coordinate,
    Coordinates,
    Field,
    Operators,
    Partial,
    Time,
    evaluate,
    expression,
    rebuilt,
    time_derivative,
)
from sciml.support import Mesh

SQUARE = Box((0.0, 0.0), (1.0, 1.0))
A, B = 2.0, 3.0  # of Robin conditions


class Manufactured(PDEProblem):
    """∂t storage + ∇·flux = source with a given solution.

    Args:
        exact: (d, x) -> expressions of the fields u0, u1, ...
        flux: (q, d, x) -> array (D,) of one field, or (F, D).
        geometry: the domain.
        conditions: boundary -> `Dirichlet` (where left out), `Neumann`, `Robin` or `Flux`.
        storage: (q, d, x) -> list of expressions; None for a steady problem.
    """

    name = "manufactured"
    title = "manufactured solution"

    def __init__(self, exact, flux, geometry=SQUARE, conditions=None, storage=None):
        self.dimensions, self.domain, self.conditions = geometry.dimensions, geometry, conditions or {}
        self.steady = storage is None
        d, x = Operators(self.dimensions), Coordinates(self.dimensions)
        self.solution = [expression(e) for e in exact(d, x)]
        self.fields = tuple(FieldSpec(f"u{k}", "1", "node") for k in range(len(self.solution)))
        self._flux, self._storage, self._known = flux, storage, {}

    def geometry(self, case):
        return self.domain

    def scales(self, case):
        return Scales(1.0, 1.0, {f.name: 1.0 for f in self.fields})

    def _parts(self):
        d, x = Operators(self.dimensions), Coordinates(self.dimensions)
        q = [Field(f.name) for f in self.fields]
        flux = np.asarray(self._flux(q, d, x), dtype=object).reshape(len(q), self.dimensions)
        return flux, None if self._storage is None else self._storage(q, d, x)

    def equations(self, q, d, theta, x):
        flux, storage = self._parts()
        source = []
        for k, row in enumerate(flux):
            total = 0.0 if storage is None else time_derivative(expression(storage[k]))
            for axis, component in enumerate(row):
                total = total + Partial(component, axis)
            source.append(self._put(total))
        several = [np.array([*a, None], dtype=object)[:-1] for a in (source, storage or [None] * len(source))]
        return {"balance": Balance(flux=flux, storage=None if self.steady else several[1], source=several[0])}

    def _put(self, e):
        """An expression of fields as one of coordinates: the exact solution put in."""
        if e not in self._known:
            self._known[e] = self._found(e)
        return self._known[e]

    def _found(self, e):

        def change(node):
            match node:
                case Derivative(Field(name), alpha):
                    pass
                case Field(name):
                    alpha = (0,) * (self.dimensions + 1)
                case _:
                    return node
            found = self.solution[int(name[1:])]
            for _ in range(alpha[-1]):
                found = time_derivative(found)
            for axis, count in enumerate(alpha[:-1]):
                for _ in range(count):
                    found = expanded(Partial(found, axis), self.dimensions)
            return found

        return rebuilt(expanded(e, self.dimensions), change)

    def number(self, e, points, time=0.0):
        """(N,) an expression at points, the exact solution put in."""

        def leaf(node):
            match node:
                case Coordinate(axis):
                    return points[:, axis]
                case Time():
                    return time
            raise TypeError(node)

        found = evaluate(self._put(expression(e)), leaf, lambda p: None, provider.backend.functions)
        return np.broadcast_to(np.asarray(found, float), len(points))

    def value(self, k, points, time=0.0):
        return self.number(Field(f"u{k}"), points, time)

    def gradient(self, k, points, time=0.0):
        """(N, D)."""
        return np.stack([self.number(Partial(Field(f"u{k}"), a), points, time) for a in range(self.dimensions)], axis=1)

    def boundary_conditions(self, case):
        flux, _ = self._parts()
        found = {}
        for name, boundary in case.geometry.boundaries.items():
            kind = self.conditions.get(name, Dirichlet)
            found[name] = {f.name: self._condition(kind, k, boundary, flux[k]) for k, f in enumerate(self.fields)}
        return found

    def _condition(self, kind, k, boundary, flux):
        def value(points, time):
            return self.value(k, points, time)

        def slope(points, time):
            return (self.gradient(k, points, time) * boundary.normal(points)).sum(1)

        def through(points, time):
            values = np.stack([self.number(f, points, time) for f in flux], axis=1)
            return (values * boundary.normal(points)).sum(1)

        if kind is Robin:
            return Robin(lambda p, t: A * value(p, t) + B * slope(p, t), A, B)
        return kind({Dirichlet: value, Neumann: slope, Flux: through}[kind])

    def initial_state(self, case, support):
        points = support.points().reshape(-1, self.dimensions)
        return {f.name: self.value(k, points, 0.0).reshape(support.shape) for k, f in enumerate(self.fields)}


def errors(solver, case, times=None):
    """(L², H¹ seminorm) of the error over all fields, at the last time, by the quadrature of the solver's space."""
    space, problem = solver.space(case), case.problem
    points, weights = space.cells.points.reshape(-1, space.dimensions), space.cells.weights.ravel()
    found, slopes = solver.solve(case, times, points=points), solver.gradients(case, points, times)
    time = 0.0 if times is None else times[-1]
    l2 = h1 = 0.0
    for k, f in enumerate(problem.fields):
        value, slope = found[f.name].values, slopes[f.name]
        if times is not None:
            value, slope = value[-1], slope[-1]
        l2 += (weights * (value - problem.value(k, points, time)) ** 2).sum()
        h1 += (weights * ((slope.T - problem.gradient(k, points, time)) ** 2).sum(1)).sum()
    return math.sqrt(l2), math.sqrt(h1)


def orders(found, ratio=2.0):
    """Observed order between the last two of some errors, each of cells half as large (or `ratio` times smaller)."""
    return math.log(found[-2] / found[-1]) / math.log(ratio)


def ring(n, radius=0.25, layers=None, growth=1.0):
    """A mesh of the unit square around a disc in its middle: 4n cells around, as many layers as make them about equal;
    layers grow outwards by the factor `growth` from the first to the last."""
    layers = layers or max(2, n // 2)
    side = (np.arange(n) / n)[:, None]
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    outer = np.concatenate([a + side * (b - a) for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)])
    along = outer - 0.5
    inner = 0.5 + radius * along / np.linalg.norm(along, axis=1, keepdims=True)
    steps = np.concatenate([[0.0], np.cumsum(growth ** (np.arange(layers) / max(layers - 1, 1)))])
    share = (steps / steps[-1])[:, None, None]
    position = (inner + share * (outer - inner)).reshape(-1, 2)
    m = 4 * n
    k = np.arange(m)
    cells = []
    for layer in range(layers):
        a, b = layer * m + k, layer * m + (k + 1) % m
        cells += [np.stack([a, b + m, b], axis=1), np.stack([a, a + m, b + m], axis=1)]
    return Mesh(position, {"triangle": np.concatenate(cells)})
