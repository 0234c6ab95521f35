"""Balances on structured grids: the strong form and the finite-volume form, for any array library.

Fields are arrays (..., z, y, x) at cell centres; leading axes are batch axes. Coordinate axis a (0 = x) is array axis
−1 − a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from sciml.boundary import Condition, Conditions, Flux
from sciml.derivatives._backend import Backend
from sciml.derivatives._stencils import Stencil, fornberg, stencil
from sciml.derivatives._walls import Walls
from sciml.errors import InputError, suggest
from sciml.expressions import (
    Balance,
    Coordinate,
    Expression,
    Field,
    Input,
    Parameter,
    Partial,
    Rate,
    Time,
    evaluate,
    leaves,
    time_derivative,
)
from sciml.geometry import AXES
from sciml.support import EmbeddedBoundary, Grid


class Lattice:
    """Evaluates expressions on the cells and faces of a grid.

    Args:
        backend: the array library.
        grid: cells.
        fields: unknowns by name, (..., *grid.shape).
        parameters: scalars by name (numbers or zero-dimensional arrays, so that they can be differentiated).
        inputs: given cell fields by name.
        rates: ∂/∂t of fields where it is known, same shapes.
        time: for expressions that name it and for boundary values.
        boundary: conditions by boundary and field; where there is none, values are extrapolated from inside.
        face_values: face-normal values that a staggered solver stores, {(field, axis): (..., with n + 1 on that axis)};
            they replace interpolation.
        face_rule: how fields and inputs go to faces, "linear" or "harmonic".
        order: 2 or 4, of interpolation and differentiation.
        method: "finite_difference" or "spectral" (periodic uniform axes) for derivatives at cell centres.
        stretch: for each axis a length, an array that broadcasts over the batch axes of the fields: the grid is then in
            units of these lengths, so that members of a batch may live on boxes of different size.
        body: what bounds the domain within the grid, in a plane: finite volumes then see the open shares of cells and
            faces, and the conditions on the parts of the boundary that it is made of.
    """

    def __init__(
        self,
        backend: Backend,
        grid: Grid,
        fields: Mapping[str, Any],
        parameters: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        rates: Mapping[str, Any] | None = None,
        time: Any = 0.0,
        boundary: Conditions | None = None,
        face_values: Mapping[tuple[str, int], Any] | None = None,
        face_rule: Mapping[str, str] | None = None,
        order: int = 2,
        method: str = "finite_difference",
        stretch: Sequence[Any] | None = None,
        body: EmbeddedBoundary | None = None,
    ):
        if order not in (2, 4):
            raise InputError(f"order is {order}, expected 2 or 4")
        if method not in ("finite_difference", "spectral"):
            raise InputError(
                f"method is {method!r}, expected finite_difference or spectral"
                f"{suggest(method, ['finite_difference', 'spectral'])}"
            )
        if method == "spectral" and not all(grid.periodic):
            raise InputError("method is 'spectral', expected a grid that is periodic on every axis")
        if not fields:
            raise InputError("fields: expected at least one field")
        # the values are taken as means over cells, wherever in them they were found
        self.grid = grid if grid.at is None else Grid(grid.faces, grid.periodic, grid.mask)
        self.backend, self.order, self.method = backend, order, method
        self.fields, self.parameters, self.inputs = dict(fields), dict(parameters or {}), dict(inputs or {})
        self.rates, self.time = dict(rates or {}), time
        self.boundary, self.face_values = boundary or {}, dict(face_values or {})
        self.face_rule = dict(face_rule or {})
        self.stretch = (1.0,) * grid.dimensions if stretch is None else tuple(stretch)
        if body is not None and (stretch is not None or body.grid.shape != grid.shape):
            raise InputError(f"body: is of a grid of {body.grid.shape} cells, expected that of the fields, unstretched")
        self.body, self.walls = body, None if body is None else Walls(self, body)
        self.like = next(iter(self.fields.values()))
        for name, values in {**self.fields, **self.inputs}.items():
            if tuple(values.shape[-grid.dimensions :]) != grid.shape:
                got = tuple(values.shape)
                raise InputError(f"{name}: has shape {got}, expected cell values over (..., {str(grid.shape)[1:]}")
        self._cells: dict[Expression, Any] = {}
        self._faces: list[dict[Expression, Any]] = [{} for _ in range(grid.dimensions)]

    # Values at cell centres

    def cells(self, e: Expression) -> Any:
        return evaluate(e, self._cell_leaf, self._cell_partial, self.backend.functions, self._cells)

    def _cell_leaf(self, e: Expression) -> Any:
        match e:
            case Field(name):
                return _named(self.fields, name, "field")
            case Input(name):
                return _named(self.inputs, name, "input")
            case Rate(name):
                return _named(self.rates, name, "rate of the field")
            case Parameter(name):
                return _named(self.parameters, name, "parameter")
            case Coordinate(axis):
                return self.backend.asarray(self.grid.coordinate(axis), self.like) * self.stretch[axis]
            case Time():
                return self.time
        raise TypeError(f"unknown leaf {e!r}")

    def _cell_partial(self, e: Partial) -> Any:
        inner = self._as_cells(self.cells(e.argument))
        if self.method == "spectral":
            return self._spectral(inner, e.axis) / self.stretch[e.axis]
        rule = _cell_derivative(*self._key(e.axis), self.order + 1)
        return self._apply(rule, inner, e.axis) / self.stretch[e.axis]

    def _spectral(self, values: Any, axis: int) -> Any:
        faces = self.grid.faces[axis]
        widths = np.diff(faces)
        if np.ptp(widths) > 1e-9 * widths[0]:
            raise InputError(f"method is 'spectral', expected equal cells along {AXES[axis]}")
        n = len(widths)
        k = 2 * np.pi / (faces[-1] - faces[0]) * np.arange(n // 2 + 1)
        if n % 2 == 0:
            k[-1] = 0.0  # the derivative of the Nyquist mode is not representable
        shape = (-1,) + (1,) * axis
        spectrum = self.backend.rfft(values, -1 - axis)
        factor = self.backend.asarray(k.reshape(shape), self.like)
        return self.backend.irfft(spectrum * (1j * factor), n, -1 - axis)

    # Values at the faces normal to one axis

    def hold(self, name: str, axis: int, values: Any) -> None:
        """Take `values` for those of a field on the faces normal to an axis, where its own value is asked for."""
        self._faces[axis][Field(name)] = values

    def faces(self, e: Expression, axis: int) -> Any:
        return evaluate(
            e,
            lambda leaf: self._face_leaf(leaf, axis),
            lambda p: self._face_partial(p, axis),
            self.backend.functions,
            self._faces[axis],
        )

    def _face_leaf(self, e: Expression, axis: int) -> Any:
        match e:
            case Coordinate(a) if a == axis:
                shape = (-1,) + (1,) * axis
                return self.backend.asarray(self.grid.faces[axis].reshape(shape), self.like) * self.stretch[axis]
            case Parameter() | Time() | Coordinate():
                return self._cell_leaf(e)
            case Field(name) if (name, axis) in self.face_values:
                return self.face_values[name, axis]
        values = self._cell_leaf(e)
        name = getattr(e, "name", "")
        if self.face_rule.get(name, "linear") == "harmonic":
            return 1.0 / self._apply(_face_mean(*self._key(axis)), 1.0 / values, axis)
        interior = self._apply(_face_value(*self._key(axis), self.order), values, axis)
        ends = [self._end_value(e, values, interior, axis, end) for end in ("min", "max")]
        return self._with_ends(interior, ends, axis)

    def _end_value(self, e: Expression, values: Any, interior: Any, axis: int, end: str) -> Any:
        """The given boundary value of a field at one end of an axis, or None where it is to be extrapolated."""
        condition = self._condition(e, axis, end)
        if condition is None:
            return None
        given, (a, b) = self._given(condition, interior, axis, end), condition.law or (1.0, 0.0)
        if b == 0:
            return given
        # with s the distance inwards, f(s) = f(0) + f′ s + c s² through two cells, and a f(0) − b f′ = g
        first, second = self._next_to(values, axis, end, 0), self._next_to(values, axis, end, 1)
        face, x = self.grid.faces[axis], self.grid.centres[axis]
        s, t = (x[0] - face[0], x[1] - face[0]) if end == "min" else (face[-1] - x[-1], face[-1] - x[-2])
        s, t = s * self.stretch[axis], t * self.stretch[axis]
        area = s * t * (t - s)
        return (b * (t * t * first - s * s * second) + given * area) / (b * (t * t - s * s) + a * area)

    def _given(self, condition: Condition, like: Any, axis: int, end: str) -> Any:
        """The value of a condition on one layer of faces."""
        points = self.grid.side_points(axis, int(end == "max")) if condition.in_space else None
        return self._along(condition.at(self.time, points), like, axis)

    def _condition(self, e: Expression, axis: int, end: str) -> Condition | None:
        if not isinstance(e, Field) or self.grid.periodic[axis]:
            return None
        condition = self.boundary.get(f"{AXES[axis]}_{end}", {}).get(e.name)
        return None if condition is None or condition.law is None else condition

    def _face_partial(self, e: Partial, axis: int) -> Any:
        inner = e.argument
        if e.axis != axis:
            # Gauss: the cell mean of the tangential derivative from its own faces, carried to this face.
            tangential = self.faces(inner, e.axis)
            widths = self.backend.asarray(self.grid.widths[e.axis].reshape((-1,) + (1,) * e.axis), self.like)
            cell = self._difference(self._as_faces(tangential, e.axis), e.axis) / (widths * self.stretch[e.axis])
            result = self._apply(_face_value(*self._key(axis), self.order), cell, axis)
            ends = [self._tangential_end(inner, e.axis, axis, end, result) for end in ("min", "max")]
            return self._with_ends(result, ends, axis)
        values = self._as_cells(self.cells(inner))
        stored = self.face_values.get((inner.name, axis)) if isinstance(inner, Field) else None
        if stored is None:
            result = self._apply(_face_slope(*self._key(axis), self.order), values, axis)
        else:  # cell values are means of these; near a wall their slope would lose an order
            result = self._apply(_slope_between_faces(*self._key(axis), self.order), stored, axis)
        result = result / self.stretch[axis]
        if self.grid.periodic[axis]:
            return result
        known = self.faces(inner, axis)
        ends: list[Any] = []
        for end in ("min", "max"):
            condition = self._condition(inner, axis, end)
            if condition is not None and condition.law is not None and condition.law[1]:
                a, b = condition.law
                outwards = (self._given(condition, result, axis, end) - a * self._next_to(known, axis, end, 0)) / b
                ends.append(outwards if end == "max" else -outwards)
            elif stored is None and self._bounded(inner, axis, end):
                slope = self._end_slope(values, self._next_to(known, axis, end, 0), axis, end)
                ends.append(slope / self.stretch[axis])
            else:
                ends.append(None)
        return self._with_ends(result, ends, axis)

    def _tangential_end(self, inner: Expression, along: int, axis: int, end: str, result: Any) -> Any:
        """∂/∂along of given boundary values; only uniform ones are differentiated exactly (to zero)."""
        condition = self._condition(inner, axis, end)
        if condition is None or not condition.given or condition.in_space:
            return None
        return 0.0 * self._next_to(result, axis, end, 0)

    def _bounded(self, e: Expression, axis: int, end: str) -> bool:
        """Whether all fields in `e` have a given value on this end, so that its slope there may use it."""
        found = [leaf for leaf in leaves(e) if isinstance(leaf, Field)]
        conditions = [self._condition(leaf, axis, end) for leaf in found]
        return bool(found) and all(c is not None and c.given for c in conditions)

    def _end_slope(self, values: Any, face: Any, axis: int, end: str) -> Any:
        """The derivative at an end face from its value and the two (order 4: four) nearest cells."""
        centres, faces = self.grid.centres[axis], self.grid.faces[axis]
        resistive = [name for name, rule in self.face_rule.items() if rule == "harmonic"]
        if len(resistive) == 1 and len(centres) > 1:
            return self._end_slope_across_jumps(resistive[0], values, face, axis, end)
        count = min(self.order, len(centres))
        if end == "min":
            weights = fornberg(np.concatenate([[faces[0]], centres[:count]]), float(faces[0]), 1)
        else:
            weights = fornberg(np.concatenate([[faces[-1]], centres[::-1][:count]]), float(faces[-1]), 1)
        total = weights[0] * face
        for k in range(count):
            total = total + weights[k + 1] * self._next_to(values, axis, end, k)
        return total

    def _end_slope_across_jumps(self, name: str, values: Any, face: Any, axis: int, end: str) -> Any:
        """The same where a coefficient a is constant in each cell and may jump between the two: the parabola is fitted
        over the resistance s = ∫ dx/a, along which a constant flux is a straight line whatever the jumps."""
        coefficient = self._as_cells(self._cell_leaf(Field(name) if name in self.fields else Input(name)))
        a, b = (self._next_to(coefficient, axis, end, k) for k in (0, 1))
        widths = self.grid.widths[axis] if end == "min" else self.grid.widths[axis][::-1]
        s, t = widths[0] / (2 * a), widths[0] / a + widths[1] / (2 * b)
        first, second = self._next_to(values, axis, end, 0) - face, self._next_to(values, axis, end, 1) - face
        inwards = (t * t * first - s * s * second) / (s * t * (t - s) * a)
        return inwards if end == "min" else -inwards

    # Helpers

    def _key(self, axis: int) -> tuple[bytes, bool]:
        return np.ascontiguousarray(self.grid.faces[axis], dtype=np.float64).tobytes(), bool(self.grid.periodic[axis])

    def _apply(self, rule: Stencil, values: Any, axis: int) -> Any:
        total = None
        for k in range(rule.indices.shape[1]):
            weights = self.backend.asarray(rule.weights[:, k].reshape((-1,) + (1,) * axis), self.like)
            term = weights * self.backend.take(values, rule.indices[:, k], -1 - axis)
            total = term if total is None else total + term
        return total

    def _next_to(self, values: Any, axis: int, end: str, k: int) -> Any:
        index = np.array([k if end == "min" else values.shape[-1 - axis] - 1 - k])
        return self.backend.take(values, index, -1 - axis)

    def _with_ends(self, values: Any, ends: list[Any], axis: int) -> Any:
        n = values.shape[-1 - axis]
        if self.grid.periodic[axis] or all(e is None for e in ends):
            return values
        pieces = [
            self._next_to(values, axis, "min", 0) if ends[0] is None else ends[0],
            self.backend.take(values, np.arange(1, n - 1), -1 - axis),
            self._next_to(values, axis, "max", 0) if ends[1] is None else ends[1],
        ]
        return self.backend.concatenate(pieces, -1 - axis)

    def _along(self, value: Any, like: Any, axis: int) -> Any:
        """A boundary value broadcast over one layer of faces; one with more axes than the grid is that of a batch."""
        shape = list(like.shape)
        shape[-1 - axis] = 1
        array = self.backend.asarray(value, self.like)
        if 0 < array.ndim <= self.grid.dimensions:  # varies along the boundary
            layer = list(self.grid.shape)
            layer[-1 - axis] = 1
            array = array.reshape(tuple(layer))
        return self.backend.broadcast(array, tuple(shape))

    def _as_cells(self, values: Any) -> Any:
        shape = (*tuple(self.like.shape)[: -self.grid.dimensions], *self.grid.shape)
        return self.backend.broadcast(self.backend.asarray(values, self.like), shape)

    def _as_faces(self, values: Any, axis: int) -> Any:
        shape = [*tuple(self.like.shape)[: -self.grid.dimensions], *self.grid.shape]
        shape[-1 - axis] += 1
        return self.backend.broadcast(self.backend.asarray(values, self.like), tuple(shape))

    def _difference(self, values: Any, axis: int) -> Any:
        n = values.shape[-1 - axis]
        high = self.backend.take(values, np.arange(1, n), -1 - axis)
        return high - self.backend.take(values, np.arange(n - 1), -1 - axis)

    # Balances

    def strong(self, balance: Balance) -> list[Any]:
        """∂t storage + ∇·flux − source at cell centres, one array a component."""
        rows = []
        for storage, flux, source in balance.components():
            total = None if storage is None else self.cells(time_derivative(storage))
            for axis, f in enumerate(flux):
                term = self.cells(Partial(f, axis))
                total = term if total is None else total + term
            rows.append(self._as_cells(total - self.cells(source)))
        return rows

    def fluxes(self, balance: Balance) -> list[list[Any]]:
        """Face fluxes per unit area: [component][axis], n + 1 values along that axis."""
        self._use(balance)
        return [
            [self._bounded_flux(storage, self._as_faces(self.faces(f, a), a), f, a) for a, f in enumerate(flux)]
            for storage, flux, _ in balance.components()
        ]

    def _bounded_flux(self, storage: Expression | None, values: Any, flux: Expression, axis: int) -> Any:
        """Face fluxes with those that a `Flux` condition gives for a field that the balance stores (or, of a steady
        one, moves)."""
        if self.grid.periodic[axis]:
            return values
        fields = {leaf.name for leaf in leaves(flux if storage is None else storage) if isinstance(leaf, Field)}
        ends = []
        for end, sign in (("min", -1.0), ("max", 1.0)):
            given = self.boundary.get(f"{AXES[axis]}_{end}", {})
            condition = next((c for n, c in given.items() if n in fields and isinstance(c, Flux)), None)
            ends.append(None if condition is None else sign * self._given(condition, values, axis, end))
        return self._with_ends(values, ends, axis)

    def finite_volume(self, balance: Balance) -> list[Any]:
        """(d/dt ∫ storage + ∮ flux·n − ∫ source) / volume for every cell, one array a component.

        Each face has one flux, so that sums over cells telescope: what leaves one cell enters the next, to rounding.
        Around a body the volume is that of the whole cell, open or not, and so they do there.
        """
        rows = []
        for (storage, flux, source), on_faces in zip(balance.components(), self.fluxes(balance), strict=True):
            total = -1.0 * self._as_cells(self.cells(source))
            if storage is not None:
                total = total + self._as_cells(self.cells(time_derivative(storage)))
            if self.body is not None and self.walls is not None:
                volumes = self.backend.asarray(self.body.apertures.volumes, self.like)
                total = total * volumes + self.walls.outflow(storage, flux)
                on_faces = [self._through_open(f, flux[axis], axis) for axis, f in enumerate(on_faces)]
            for axis, f in enumerate(on_faces):
                width = self.backend.asarray(self.grid.widths[axis].reshape((-1,) + (1,) * axis), self.like)
                total = total + self._difference(f, axis) / (width * self.stretch[axis])
            rows.append(total)
        return rows

    def _through_open(self, values: Any, flux: Expression, axis: int) -> Any:
        """Face fluxes by open shares, each from the middle of its share; what is stored on faces is a mean of it."""
        assert self.body is not None
        found = [leaf for leaf in leaves(flux) if isinstance(leaf, Field)]
        if not all((leaf.name, axis) in self.face_values for leaf in found):
            beside, here = -2 if axis == 0 else -1, values
            n = values.shape[beside]
            for weights, step in zip(self.body.shifts(axis), (1, -1), strict=True):
                other = self.backend.take(here, np.clip(np.arange(n) + step, 0, n - 1), beside)
                values = values + self.backend.asarray(weights, self.like) * (other - here)
        return values * self.backend.asarray(self.body.apertures.faces[axis], self.like)

    def _use(self, balance: Balance) -> None:
        if dict(balance.face_rule) != self.face_rule:
            self.face_rule = dict(balance.face_rule)
            self._faces = [{} for _ in range(self.grid.dimensions)]


def _named(table: Mapping[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise InputError(f"the equation needs the {what} {name!r}, which was not given{suggest(name, table)}")
    return table[name]


def _line(faces: bytes, periodic: bool) -> tuple[np.ndarray, np.ndarray, float | None]:
    f = np.frombuffer(faces)
    return f, (f[1:] + f[:-1]) / 2, float(f[-1] - f[0]) if periodic else None


@lru_cache(maxsize=64)
def _cell_derivative(faces: bytes, periodic: bool, width: int) -> Stencil:
    _, centres, period = _line(faces, periodic)
    return stencil(centres, centres, width, 1, period)


@lru_cache(maxsize=64)
def _face_value(faces: bytes, periodic: bool, order: int) -> Stencil:
    f, centres, period = _line(faces, periodic)
    inner = stencil(centres, f, order, 0, period)
    return inner if periodic else _with_wider_ends(inner, f, centres, order + 1, 0)


@lru_cache(maxsize=64)
def _face_slope(faces: bytes, periodic: bool, order: int) -> Stencil:
    f, centres, period = _line(faces, periodic)
    inner = stencil(centres, f, order, 1, period)
    return inner if periodic else _with_wider_ends(inner, f, centres, order + 1, 1)


@lru_cache(maxsize=64)
def _slope_between_faces(faces: bytes, periodic: bool, order: int) -> Stencil:
    """The derivative at faces from values on faces."""
    f, _, period = _line(faces, periodic)
    return stencil(f[:-1] if periodic else f, f, order + 1, 1, period)


@lru_cache(maxsize=64)
def _face_mean(faces: bytes, periodic: bool) -> Stencil:
    """Distance-weighted mean of the two neighbours (of 1/a, for the harmonic rule); an end face takes its cell's."""
    f, centres, period = _line(faces, periodic)
    if period is not None:
        return _resistance(stencil(centres, f, 2, 0, period), f)
    rule = stencil(centres, f, 2, 0, None)
    rule = _resistance(rule, f)
    n = len(centres)
    rule.indices[0], rule.indices[-1] = 0, n - 1
    return rule


def _resistance(rule: Stencil, faces: np.ndarray) -> Stencil:
    """1/a_face = (h₁/a₁ + h₂/a₂)/(h₁ + h₂): half cells in series, so weights go by the widths of the two cells."""
    widths = np.diff(faces)[rule.indices]
    return Stencil(rule.indices, widths / widths.sum(axis=1, keepdims=True))


def _with_wider_ends(rule: Stencil, faces: np.ndarray, centres: np.ndarray, width: int, order: int) -> Stencil:
    """End faces lie outside the cell centres: extrapolate with one point more, to keep the order."""
    width = min(width, len(centres))
    if width <= rule.indices.shape[1]:
        return rule
    extra = width - rule.indices.shape[1]
    indices = np.pad(rule.indices, ((0, 0), (0, extra)), mode="edge")
    weights = np.pad(rule.weights, ((0, 0), (0, extra)))
    ends = stencil(centres, faces[[0, -1]], width, order)
    indices[[0, -1]], weights[[0, -1]] = ends.indices, ends.weights
    return Stencil(indices, weights)
