"""The weak form of a case on a finite-element space.

For every test function v of the field of a balance

    ∫ v ∂t storage + A(v) = 0,    A(v) = −∫ ∇v·flux + ∮ v (flux·n) − ∫ v source.

Under the boundary integral stands what a condition says: `Flux` the normal flux itself; `Neumann`, `Robin` and
`Outflow` a normal derivative, which replaces that of the field in the balance's own flux. On a `Dirichlet` part no test
function remains. Derivatives by the unknowns are those of `sciml.calculus`, so that the tangent is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from sciml.boundary import Condition, Dirichlet, Flux, InSpace, Periodic, Samples
from sciml.calculus import Derivative, WeakRow, substituted, tangent, weak
from sciml.derivatives import numpy as provider
from sciml.errors import InputError, suggest
from sciml.expressions import (
    ZERO,
    Coordinate,
    Expression,
    Field,
    Input,
    Partial,
    Time,
    evaluate,
    leaves,
)
from sciml.problem import Case, Problem
from sciml.solvers._fe_inputs import given_at
from sciml.solvers._fe_space import Quadrature, Space

FUNCTIONS = provider.backend.functions


def rows_of(problem: Problem, parameters: Mapping[str, float] | None = None) -> tuple[WeakRow, ...]:
    """The weak form of a problem's balances, with the values of its parameters where these are given."""
    rows = weak(problem.balances().values(), [f.name for f in problem.fields])
    if parameters is None:
        return rows
    return tuple(
        WeakRow(
            row.field,
            None if row.storage is None else substituted(row.storage, parameters),
            tuple(substituted(f, parameters) for f in row.flux),
            substituted(row.source, parameters),
        )
        for row in rows
    )


class _Place(NamedTuple):
    """Where an integral is taken, and what is known there."""

    quadrature: Quadrature
    inputs: dict[str, Any]


class _Term(NamedTuple):
    """∫ e D_a v of one row, with its tangent: what stands before D_b δu_f."""

    row: int
    test: int
    value: Expression
    slopes: dict[tuple[int, int], Expression]


class System:
    """Residual and tangent of a case; coefficient vectors are (F, N), field by field.

    Args:
        case: which case.
        space: in which all of its fields live.

    Raises:
        InputError: a boundary without a condition, a condition on none, or one that finite elements do not take.
    """

    def __init__(self, case: Case, space: Space):
        self.case, self.space = case, space
        self.fields = tuple(f.name for f in case.problem.fields)
        self.rows = rows_of(case.problem, case.parameters)
        d = space.dimensions
        self.conditions = _conditions(case, self.fields, space)
        self._storage = [self._term(i, 0, r.storage) for i, r in enumerate(self.rows) if r.storage is not None]
        self._flow = [
            self._term(i, a, -1.0 * e)
            for i, r in enumerate(self.rows) for a, e in enumerate((r.source, *r.flux)) if e != ZERO
        ]  # fmt: skip
        self._through = [[tangent(f, self.fields, d) for f in r.flux] for r in self.rows]
        self._inner = _Place(space.cells, self._inputs(space.cells.points))
        self._outer = {b: self._side(b) for b in self.conditions if len(space.facets[b])}
        held = [t.value for t in (*self._storage, *self._flow)] + [f for r in self.rows for f in r.flux]
        slopes = [s for t in (*self._storage, *self._flow) for s in t.slopes.values()]
        slopes += [s for row in self._through for by in row for s in by.values()]
        #: whether the tangent is the same for all states; at all times
        self.linear = not any(isinstance(_base(leaf), Field) for s in slopes for leaf in leaves(s))
        self.constant = self.linear and not any(isinstance(leaf, Time) for s in slopes for leaf in leaves(s))
        moving = any(isinstance(leaf, Time) for e in held for leaf in leaves(e))
        self._steady_load = not moving and all(_fixed(c) for cs in self.conditions.values() for c in cs.values())
        self.fixed = np.zeros((len(self.fields), space.size), bool)
        for boundary, conditions in self.conditions.items():
            for i, name in enumerate(self.fields):
                if isinstance(conditions[name], Dirichlet):
                    self.fixed[i, space.on(boundary)] = True
        self.free = ~self.fixed.ravel()
        self._number = np.cumsum(self.free) - 1  # of an unknown among the free ones
        self._kept: dict[str, Any] = {}

    def _term(self, row: int, test: int, e: Expression) -> _Term:
        slopes = tangent(e, self.fields, self.space.dimensions)
        return _Term(row, test, e, {(self.fields.index(n), b): s for (n, b), s in slopes.items()})

    def _inputs(self, points: np.ndarray) -> dict[str, Any]:
        used = {leaf.name for r in self.rows for e in (r.storage, *r.flux, r.source) if e is not None
                for leaf in leaves(e) if isinstance(leaf, Input)}  # fmt: skip
        flat = points.reshape(-1, points.shape[-1])
        return {n: given_at(self.case, n, self.space.support, flat).reshape(points.shape[:-1]) for n in used}

    def _side(self, boundary: str) -> _Place:
        quadrature = self.space.side(boundary)
        return _Place(quadrature, self._inputs(quadrature.points))

    # -- conditions ---------------------------------------------------------------------------------------------

    def impose(self, state: np.ndarray, time: float) -> np.ndarray:
        """The state with the given values at the nodes of `Dirichlet` parts; where two meet, their mean."""
        total, count = np.zeros_like(state), np.zeros_like(state)
        for boundary, conditions in self.conditions.items():
            on = self.space.on(boundary)
            for i, name in enumerate(self.fields):
                if isinstance(conditions[name], Dirichlet) and len(on):
                    total[i, on] += _values(self.case, conditions[name], boundary, name, time, self.space.nodes[on])
                    count[i, on] += 1
        return np.where(count > 0, total / np.maximum(count, 1), state)

    def _at_side(self, boundary: str, jets: np.ndarray, time: float) -> tuple[np.ndarray, dict[int, float], list[Any]]:
        """The jets (F, 1 + D, E, Q) with normal derivatives as the conditions say, for each field whose normal
        derivative depends on its value how much, and for each row its normal flux where it is given."""
        quadrature = self._outer[boundary].quadrature
        normals = quadrature.normals
        points = quadrature.points.reshape(-1, quadrature.points.shape[-1])
        jets, laws, given = np.array(jets), {}, []
        for i, name in enumerate(self.fields):
            condition = self.conditions[boundary][name]
            value: Any = None
            if not isinstance(condition, Dirichlet):
                value = _values(self.case, condition, boundary, name, time, points)
                value = value if np.ndim(value) == 0 else np.reshape(value, quadrature.weights.shape)
            given.append(value if isinstance(condition, Flux) else None)
            if condition.law is not None and condition.law[1] != 0:
                a, b = condition.law
                slope = (value - a * jets[i, 0]) / b
                jets[i, 1:] += (slope - (jets[i, 1:] * normals).sum(0)) * normals
                laws[i] = -a / b
        return jets, laws, given

    # -- residual -----------------------------------------------------------------------------------------------

    def storage(self, state: np.ndarray, time: float) -> np.ndarray:
        """(F, N): ∫ v storage."""
        if self.constant:
            matrix, rest = self._linear("storage", self._stored, time)
            return (matrix @ state.ravel() + rest).reshape(state.shape)
        return self._stored(state, time)

    def outflow(self, state: np.ndarray, time: float) -> np.ndarray:
        """(F, N): A(v)."""
        if self.constant:
            matrix, rest = self._linear("outflow", self._flowed, time)
            return (matrix @ state.ravel() + rest).reshape(state.shape)
        return self._flowed(state, time)

    def residual(self, state: np.ndarray, time: float, mass: float, factor: float, known: np.ndarray) -> np.ndarray:
        """mass · storage + factor · A − known, of the free test functions."""
        found = factor * self.outflow(state, time) - known
        if mass:
            found = found + mass * self.storage(state, time)
        return found.ravel()[self.free]

    def _linear(self, name: str, vector: Any, time: float) -> tuple[Any, np.ndarray]:
        """A linear form of the state as a matrix and what is left at rest; both are kept as long as they hold."""
        if name not in self._kept:
            blocks = self._stored_blocks if name == "storage" else self._flow_blocks
            self._kept[name] = self._assembled(blocks(np.zeros((len(self.fields), self.space.size)), time), None)
        if f"{name} at rest" in self._kept:
            return self._kept[name], self._kept[f"{name} at rest"]
        rest = vector(np.zeros((len(self.fields), self.space.size)), time).ravel()
        if self._steady_load:
            self._kept[f"{name} at rest"] = rest
        return self._kept[name], rest

    def _stored(self, state: np.ndarray, time: float) -> np.ndarray:
        return self._vector(self._storage, state, time)

    def _flowed(self, state: np.ndarray, time: float) -> np.ndarray:
        total = self._vector(self._flow, state, time)
        for boundary, place in self._outer.items():
            jets, _, given = self._at_side(boundary, place.quadrature.of(state), time)
            value = self._evaluator(place, jets, time)
            for i, row in enumerate(self.rows):
                if isinstance(self.conditions[boundary][row.field], Dirichlet):
                    continue
                through = given[i]
                if through is None:
                    through = sum(value(f) * n for f, n in zip(row.flux, place.quadrature.normals, strict=True))
                total[i] += place.quadrature.vector({0: through}, self.space.size)
        return total

    def _vector(self, terms: Iterable[_Term], state: np.ndarray, time: float) -> np.ndarray:
        value = self._evaluator(self._inner, self._inner.quadrature.of(state), time)
        tests: list[dict[int, Any]] = [{} for _ in self.rows]
        for term in terms:
            tests[term.row][term.test] = value(term.value)
        return np.stack([self._inner.quadrature.vector(t, self.space.size) for t in tests])

    def _evaluator(self, place: _Place, jets: np.ndarray, time: float) -> Any:
        points, memory = place.quadrature.points, {}

        def leaf(node: Expression) -> Any:
            match node:
                case Field(name):
                    return jets[self.fields.index(name), 0]
                case Derivative(Field(name), alpha):
                    return jets[self.fields.index(name), 1 + alpha.index(1)]
                case Input(name):
                    return place.inputs[name]
                case Coordinate(axis):
                    return points[..., axis]
                case Time():
                    return time
            raise InputError(f"finite elements: the equation holds {node!r}, which they do not take")

        return lambda e: evaluate(e, leaf, _no_partial, FUNCTIONS, memory)

    # -- tangent ------------------------------------------------------------------------------------------------

    def matrix(self, state: np.ndarray, time: float, mass: float, factor: float) -> Any:
        """The derivative of `residual` by the free unknowns, sparse by columns."""
        if self.constant:
            names = [("outflow", factor), *([("storage", mass)] if mass else [])]
            vectors = {"outflow": self._flowed, "storage": self._stored}
            whole: Any = sum(c * self._linear(n, vectors[n], time)[0] for n, c in names)
            return whole[self.free][:, self.free].tocsc()
        blocks = [(i, j, q, factor * m) for i, j, q, m in self._flow_blocks(state, time)]
        if mass:
            blocks += [(i, j, q, mass * m) for i, j, q, m in self._stored_blocks(state, time)]
        return self._assembled(blocks, self._number).tocsc()

    def _stored_blocks(self, state: np.ndarray, time: float) -> list[Any]:
        return self._blocks(self._storage, state, time)

    def _blocks(self, terms: Iterable[_Term], state: np.ndarray, time: float) -> list[Any]:
        value = self._evaluator(self._inner, self._inner.quadrature.of(state), time)
        found: dict[tuple[int, int], dict[tuple[int, int], Any]] = {}
        for term in terms:
            for (j, b), slope in term.slopes.items():
                found.setdefault((term.row, j), {})[term.test, b] = value(slope)
        cells = self._inner.quadrature
        return [(i, j, cells, cells.matrix(terms)) for (i, j), terms in found.items()]

    def _flow_blocks(self, state: np.ndarray, time: float) -> list[Any]:
        found, d = self._blocks(self._flow, state, time), self.space.dimensions
        for boundary, place in self._outer.items():
            jets, laws, given = self._at_side(boundary, place.quadrature.of(state), time)
            value = self._evaluator(place, jets, time)
            normals = place.quadrature.normals
            for i, row in enumerate(self.rows):
                if given[i] is not None or isinstance(self.conditions[boundary][row.field], Dirichlet):
                    continue
                slopes: dict[int, list[Any]] = {}  # of flux·n by the jet of each field, as the flux sees it
                for by_leaf, n in zip(self._through[i], normals, strict=True):
                    for (name, b), s in by_leaf.items():
                        slopes.setdefault(self.fields.index(name), [0.0] * (1 + d))[b] += value(s) * n
                for j, by in slopes.items():
                    terms = {(0, b): c for b, c in enumerate(by) if not (np.ndim(c) == 0 and c == 0)}
                    if j in laws:  # the jet that it sees is ∇u − n (n·∇u) + law u n + ...
                        along = sum((by[1 + k] * normals[k] for k in range(d)), np.zeros(()))
                        terms = {(0, 0): by[0] + laws[j] * along}
                        terms |= {(0, 1 + k): by[1 + k] - along * normals[k] for k in range(d)}
                        size = np.abs(along).max()  # what cancels leaves no rounding behind
                        terms = {k: c for k, c in terms.items() if np.abs(c).max() > 1e-14 * size}
                    if terms:
                        found.append((i, j, place.quadrature, place.quadrature.matrix(terms)))
        return found

    def _assembled(self, blocks: Iterable[Any], number: np.ndarray | None) -> Any:
        """The sparse matrix of element matrices; of the free unknowns by their numbers, or of all of them."""
        n = self.space.size
        rows, columns, values = [], [], []
        for i, j, quadrature, local in blocks:
            dofs = quadrature.dofs.T
            rows.append(np.broadcast_to(i * n + dofs[:, :, None], local.shape).ravel())
            columns.append(np.broadcast_to(j * n + dofs[:, None, :], local.shape).ravel())
            values.append(local.ravel())
        size = n * len(self.fields)
        if not rows:
            size = size if number is None else int(self.free.sum())
            return scipy.sparse.csr_matrix((size, size))
        row, column, value = (np.concatenate(a) for a in (rows, columns, values))
        if number is not None:
            keep = self.free[row] & self.free[column]
            row, column, value, size = number[row[keep]], number[column[keep]], value[keep], int(self.free.sum())
        return scipy.sparse.coo_matrix((value, (row, column)), shape=(size, size)).tocsr()


def _no_partial(node: Partial) -> Any:
    raise AssertionError(node)  # an expanded tree has none


def _base(leaf: Expression) -> Expression:
    return leaf.field if isinstance(leaf, Derivative) else leaf


def _fixed(condition: Condition) -> bool:
    """Whether its value is known to be the same at all times."""
    value = condition.value
    return not callable(value) or isinstance(value, Samples) or (isinstance(value, InSpace) and value.factor is None)


def _values(case: Case, condition: Condition, boundary: str, name: str, time: float, points: np.ndarray) -> Any:
    """A number, or one at each point."""
    found = np.asarray(condition.at(time, points), dtype=np.float64)
    what = f"{case.problem.name}: {name} on {boundary}"
    if found.shape not in ((), (len(points),)):
        raise InputError(f"{what}: values of shape {found.shape}; expected a number, Samples or a function of points")
    if not np.isfinite(found).all():
        raise InputError(f"{what}: values that are not finite")
    return found


def _conditions(case: Case, fields: tuple[str, ...], space: Space) -> dict[str, dict[str, Condition]]:
    """A condition for each boundary and each field."""
    problem, given, found = case.problem.name, case.boundary_conditions, {}
    for name in given:
        if name not in space.facets:
            raise InputError(f"{problem}: {name}: no boundary is called that{suggest(name, list(space.facets))}")
    for name in space.facets:
        found[name] = {}
        for field in fields:
            condition = given.get(name, {}).get(field)
            if condition is None or isinstance(condition, Periodic):
                got = "" if condition is None else ", other than Periodic"
                raise InputError(f"{problem}: {name}: expected a condition on {field}{got}")
            found[name][field] = condition
    return found
