"""What a solution of cases satisfies, as rows over derivatives of its fields that are linear in a basis.

A `Block` belongs to one kind of points: cells of the sub-domains, one side, the start. Of its rows it has the slopes by
every D^α of a field, and the slopes of these, as expressions: a residual, its Jacobian and its Hessian by the weights
of a basis are sums of products of these with the D^α of the basis, which are taken once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml._magnitudes import magnitude
from sciml._well_posed import required_conditions
from sciml.boundary import Condition, Flux
from sciml.calculus import Derivative, expanded, owners, slope, strong
from sciml.constraints._differences import Differences, Face
from sciml.constraints._program import Program, Slot
from sciml.constraints._split import Split
from sciml.derivatives.torch import backend
from sciml.errors import InputError, suggest
from sciml.expressions import (
    ZERO,
    Constant,
    Coordinate,
    Expression,
    Field,
    Input,
    Parameter,
    Time,
    leaves,
)
from sciml.geometry import Box
from sciml.problem import Case, PDEProblem, beginning
from sciml.support import Grid

Alpha = tuple[int, ...]
Weight = float | Callable[[np.ndarray, np.ndarray], Any]


class Rows:
    """Scalar rows r = 0 over derivatives of fields, and their slopes.

    Args:
        names: of the rows.
        residuals: expanded expressions.
        dimensions: of space.

    Attributes:
        terms: the fields and derivatives of fields that they hold.
        residual, first, second: of each row where a `Program` has r, ∂r/∂term and ∂²r/∂term∂term, by the numbers of
            terms, where these are not zero.
        given: the leaves that are no terms.
    """

    def __init__(self, names: Sequence[str], residuals: Sequence[Expression], dimensions: int):
        self.names, self.dimensions = tuple(names), dimensions
        found = sorted({leaf for r in residuals for leaf in leaves(r) if _of_field(leaf)}, key=repr)
        self.terms: tuple[Expression, ...] = tuple(found)
        first = [{a: s for a, t in enumerate(found) if (s := slope(r, t)) != ZERO} for r in residuals]
        second = [
            {(a, b): s for a, e in each.items() for b, t in enumerate(found) if (s := slope(e, t)) != ZERO}
            for each in first
        ]
        every = [e for r, f in zip(residuals, first, strict=True) for e in (r, *f.values())]
        self.given = {x for e in every for x in leaves(e) if not (_of_field(x) or isinstance(x, Constant))}
        self.program = add = Program()
        self.residual = [add.add(r) for r in residuals]
        self.first = [{a: add.add(e) for a, e in each.items()} for each in first]
        self.second = [{ab: add.add(e) for ab, e in each.items()} for each in second]

    @property
    def linear(self) -> bool:
        """Whether no slope depends on the fields."""
        return not any(self.second)

    def alpha(self, term: Expression) -> tuple[str, Alpha]:
        """The field of a term and how it is differentiated, time last."""
        if isinstance(term, Derivative):
            assert isinstance(term.field, Field)
            return term.field.name, term.alpha
        assert isinstance(term, Field)
        return term.name, (0,) * (self.dimensions + 1)


@lru_cache(maxsize=256)
def rows(names: tuple[str, ...], residuals: tuple[Expression, ...], dimensions: int) -> Rows:
    """`Rows`, the same for the same expressions."""
    return Rows(names, residuals, dimensions)


def _of_field(leaf: Expression) -> bool:
    return isinstance(leaf, Field) or (isinstance(leaf, Derivative) and isinstance(leaf.field, Field))


class Point:
    """Rows where the terms have certain values; equal parts of expressions are evaluated once.

    Args:
        values: of each term, (system, place).
        given: of every other leaf, what broadcasts with these.
        factors: (row, system, place), by which rows are multiplied.
    """

    def __init__(self, rows: Rows, values: Sequence[Tensor], given: Mapping[Expression, Tensor], factors: Tensor):
        self.rows, self.values, self.given, self.factors = rows, list(values), given, factors
        self._leaves = {**given, **dict(zip(rows.terms, values, strict=True))}
        self._memory: dict[int, Any] = {}
        self._residuals: dict[int, Tensor] = {}

    def only(self, keep: Tensor) -> Point:
        """Some of the systems."""
        given = {e: g[keep] if len(g) == self.factors.shape[1] else g for e, g in self.given.items()}
        return Point(self.rows, [v[keep] for v in self.values], given, self.factors[:, keep])

    def _value(self, of: Slot | Constant, row: int) -> Tensor:
        """(system, place) an expression of a row times the factor of that row."""
        return self.factors[row] * self.rows.program.value(of, self._leaves.__getitem__, self._functions, self._memory)

    def residual(self, row: int) -> Tensor:
        if row not in self._residuals:
            self._residuals[row] = self._value(self.rows.residual[row], row)
        return self._residuals[row]

    def first(self, row: int) -> dict[int, Tensor]:
        return {a: self._value(e, row) for a, e in self.rows.first[row].items()}

    def second(self, row: int) -> dict[tuple[int, int], Tensor]:
        return {ab: self._value(e, row) for ab, e in self.rows.second[row].items()}

    @cached_property
    def _functions(self) -> dict[str, Any]:
        like = self.factors

        def where(decision: Tensor, above: Any, below: Any) -> Tensor:
            a, b = (v if isinstance(v, Tensor) else like.new_full((), v) for v in (above, below))
            return torch.where(decision, a, b)

        return {**backend.functions, "where": where}


@dataclass(frozen=True)
class Block:
    """Rows at the places of one kind.

    Args:
        name: "interior", "initial" or that of a side.
        places: in a sub-domain, or of all experts together where they are shared.
        owner: (place,) of shared ones, which expert is the one whose sub-domain is there; None of those of its own.
        given: of each leaf that is no term, (case or 1, expert or 1, place).
        scales: (row, case), those of the rows.
        measure: (expert or 1, place) the weight of each place in a mean square.
        face: the side; None within.
    """

    name: str
    rows: Rows
    places: int
    given: Mapping[Expression, Tensor]
    scales: Tensor
    measure: Tensor
    owner: Tensor | None = None
    face: Face | None = None

    @property
    def shared(self) -> bool:
        return self.owner is not None

    def point(self, values: Sequence[Tensor], of: Tensor, expert: Tensor) -> Point:
        """The rows of systems where their terms have these values, (system, place).

        Args:
            of, expert: (system,) of which case and of which expert each is.
        """
        given = {}
        for leaf, g in self.given.items():
            one = torch.zeros_like(of)
            each = g.shape[0] > 1 or g.shape[1] > 1
            given[leaf] = g[of if len(g) > 1 else one, expert if g.shape[1] > 1 else one] if each else g[0]
        measure = self.measure[expert] if len(self.measure) > 1 else self.measure
        return Point(self.rows, values, given, measure.sqrt() / self.scales[:, of, None])

    def unweighted(self, values: Sequence[Tensor], of: Tensor, expert: Tensor) -> Point:
        """The same over the scales of the rows alone."""
        return replace(self, measure=torch.ones_like(self.measure)).point(values, of, expert)


class Conditions:
    """The blocks of cases on one grid at given times.

    Args:
        cases: of one problem, with conditions of the same kinds.
        split: of the cells among experts.
        weights: in the mean squares of a block, by its name: a number, or a function of points (N, D) and times (N,);
            1 where left out.

    Raises:
        InputError: a domain that is no box, cases of several problems, a condition that is missing or of another kind.
    """

    def __init__(
        self, cases: Sequence[Case], grid: Grid, times: np.ndarray | None, split: Split, like: Tensor,
        weights: Mapping[str, Weight],
    ):  # fmt: skip
        self.cases, self.grid, self.times, self.split, self.like = list(cases), grid, times, split, like
        self.problem = cases[0].problem
        self.weights, self.names = weights, [f.name for f in self.problem.fields]
        self.blocks = [self._interior(), *self._sides()]
        start = self._start()
        if start is not None:
            self.blocks.append(start)
        unknown = sorted(set(weights) - {b.name for b in self.blocks})
        if unknown:
            raise InputError(
                f"weights: no rows are called {unknown[0]!r}{suggest(unknown[0], [b.name for b in self.blocks])}"
            )

    # -- blocks ---------------------------------------------------------------------------------------------------

    def _interior(self) -> Block:
        problem, names, residuals = self.problem, [], []
        for name, balance in problem.balances().items():
            parts = strong(balance)
            names += [name] if len(parts) == 1 else [f"{name}.{k}" for k in range(len(parts))]
            residuals += parts
        these = rows(tuple(names), tuple(residuals), problem.dimensions)
        if self.times is None and any(these.alpha(t)[1][-1] for t in these.terms):
            raise InputError(
                f"{problem.name}: times: the equations hold rates of change, expected (T,) times, got None"
            )
        scales = [[magnitude(c, r) or 1.0 for c in self.cases] for r in residuals]
        places = self.split.places(self._frames)
        return self._block("interior", these, scales, places, None)

    def _sides(self) -> list[Block]:
        problem, found = self.problem, []
        d, every = problem.dimensions, [required_conditions(c) for c in self.cases]
        for boundary, conditions in every[0].items():
            side = self.cases[0].geometry.boundaries[boundary].side
            if side is None:
                raise InputError(f"{problem.name}: {boundary}: expected conditions on whole sides of a box")
            others = [e[boundary] for e in every]
            names, residuals, scales, given = [], [], [], {}
            for k, name in enumerate(conditions):
                kinds = {(type(o[name]), o[name].law) for o in others}
                if len({kind for kind, _ in kinds}) > 1:
                    raise InputError(f"{problem.name}: {boundary}: {name}: cases have conditions of several kinds")
                leaf, laws = Input(f"{boundary}.{k}"), [law for o in others if (law := o[name].law) is not None]
                given[leaf] = self._values(boundary, name, [o[name] for o in others], side)
                sign = 1.0 if side[1] else -1.0
                if not laws:
                    flux = self._flux(name, side[0], boundary, conditions[name])
                    residuals.append(sign * flux - leaf)
                    scales.append([magnitude(c, flux) or 1.0 for c in self.cases])
                else:
                    ab = [Input(f"{boundary}.{k}.{which}") for which in "ab"]
                    given |= {
                        i: self.like.new_tensor(v)[:, None, None] for i, v in zip(ab, np.transpose(laws), strict=True)
                    }
                    normal = tuple(int(i == side[0]) for i in range(d + 1))
                    value = ab[0] * Field(name) if any(a for a, _ in laws) else ZERO
                    along = sign * ab[1] * Derivative(Field(name), normal) if any(b for _, b in laws) else ZERO
                    residuals.append(value + along - leaf)
                    sizes = [c.scales.fields.get(name, 1.0) for c in self.cases]
                    scales.append([
                        max(abs(a) * s, abs(b) * s / c.scales.length)
                        for (a, b), s, c in zip(laws, sizes, self.cases, strict=True)
                    ])  # fmt: skip
                names.append(f"{boundary}.{name}")
            these = rows(tuple(names), tuple(residuals), d)
            places = self.split.owners(side, self._frames)
            found.append(self._block(boundary, these, scales, len(places), side, given, places))
        return found

    def _flux(self, name: str, axis: int, boundary: str, condition: Condition) -> Expression:
        problem = self.problem
        if not isinstance(condition, Flux):
            raise InputError(f"{problem.name}: {boundary}: {name}: no rows for {condition!r:.60}")
        balances = problem.balances().values()
        own = owners(balances, self.names)[name]
        if len(own) != 1:
            raise InputError(
                f"{problem.name}: Flux of {name!r} may be that of several balances or none; say whose it is, as in "
                f"Balance(..., of={name!r})"
            )
        parts = [row for balance in balances for row in balance.components()]
        return expanded(parts[own[0]][1][axis], problem.dimensions)

    def _start(self) -> Block | None:
        problem = self.problem
        rates = [n for n in self.names if self.times is not None and self._has_rate(n)]
        if not rates:
            return None
        begun = [beginning(c, self.grid, rates) for c in self.cases]
        given, residuals = {}, []
        for n in rates:
            leaf = Input(f"initial.{n}")
            given[leaf] = self.like.new_tensor(np.stack([b[n].ravel() for b in begun]))[:, None]
            residuals.append(Field(n) - leaf)
        these = rows(tuple(f"initial.{n}" for n in rates), tuple(residuals), problem.dimensions)
        scales = [[c.scales.fields.get(n, 1.0) for c in self.cases] for n in rates]
        places = self.split.owners(None, 1)
        return self._block("initial", these, scales, len(places), None, given, places)

    def _has_rate(self, name: str) -> bool:
        inside = self.blocks[0].rows
        return any(n == name and alpha[-1] for n, alpha in map(inside.alpha, inside.terms))

    def _block(
        self, name: str, rows: Rows, scales: Any, places: int, face: Face | None,
        given: Mapping[Expression, Tensor] | None = None, owner: np.ndarray | None = None,
    ) -> Block:  # fmt: skip
        known = dict(given or {})
        for leaf in rows.given - set(known):
            known[leaf] = self._given(leaf, face)
        whose = None if owner is None else torch.as_tensor(owner, device=self.like.device)
        return Block(name, rows, places, known, self.like.new_tensor(scales), self._measure(name, face), whose, face)

    def _measure(self, name: str, face: Face | None) -> Tensor:
        """(expert or 1, place) weights of a mean: sizes of cells or faces and of the intervals of time about each, in
        sum one, times those that are asked for."""
        sizes = np.ones(())
        for axis, w in enumerate(self.grid.widths):
            if face is None or axis != face[0]:
                sizes = w.reshape((-1,) + (1,) * sizes.ndim) * sizes
        points = self.grid.points() if face is None else self.grid.side_points(*face)
        points = points.reshape(-1, self.grid.dimensions)
        if name == "initial" or self.times is None:
            times, spans = np.zeros(1) if self.times is None else self.times[:1], np.ones(1)
        else:
            edges = np.concatenate([self.times[:1], (self.times[2:] + self.times[1:-1]) / 2, self.times[-1:]])
            times, spans = self.times[1:], np.diff(edges)
        found = spans[:, None] * sizes.ravel()
        weight = self.weights.get(name, 1.0)
        wanted: Any = weight
        if callable(weight):
            wanted = np.asarray(weight(np.tile(points, (len(times), 1)), np.repeat(times, len(points))), np.float64)
            if wanted.shape not in ((), (found.size,)) or not (np.isfinite(wanted).all() and (wanted >= 0).all()):
                raise InputError(f"weights: {name}: expected ({found.size},) finite numbers ≥ 0, got {wanted.shape}")
            wanted = wanted.reshape(found.shape) if wanted.ndim else wanted
        whole = self.like.new_tensor(np.stack([found, np.broadcast_to(wanted, found.shape)]))
        if face is None and name != "initial":
            whole = self.split(whole.reshape(2, 1, len(times), *self.grid.shape)).squeeze(2)
        else:
            whole = whole.reshape(2, 1, -1)
        return whole[0] / whole[0].sum(-1, keepdim=True) * whole[1]

    # -- what is looked up ----------------------------------------------------------------------------------------

    @property
    def _frames(self) -> int:
        """How many times rows hold at: all but the start."""
        return 1 if self.times is None else len(self.times) - 1

    def _values(self, boundary: str, name: str, conditions: Sequence[Condition], side: Face) -> Tensor:
        """(case, 1, place) what conditions say after the start."""
        points = self.grid.side_points(*side)
        times = np.zeros(1) if self.times is None else self.times[1:]
        found = []
        for c in conditions:
            value = c.over(times, points)
            if value.shape[1:] not in ((), (len(points),)):
                raise InputError(f"{boundary}: {name}: has {value.shape[1:]} values, expected {len(points)}")
            found.append(np.broadcast_to(value.reshape(len(times), -1), (len(times), len(points))).ravel())
        return self.like.new_tensor(np.stack(found))[:, None]

    def _given(self, leaf: Expression, face: Face | None) -> Tensor:
        """A parameter, an input or its derivative, a coordinate or the time: (case or 1, expert or 1, place or 1)."""
        d, grid = self.grid.dimensions, self.grid
        match leaf:
            case Parameter(name):
                return self.like.new_tensor([c.parameters[name] for c in self.cases])[:, None, None]
            case Time():
                values = self.like.new_tensor([0.0] if self.times is None else self.times[1:])
                return self._spread(values.reshape(1, -1, *[1] * (d - (face is not None))), face)
            case Coordinate(axis):
                places = grid.points()[..., axis] if face is None else grid.side_points(*face)[:, axis]
                shape = grid.shape if face is None else _without(grid.shape, face)
                return self._spread(self.like.new_tensor(places.reshape(1, 1, *shape)), face)
            case Input(name) | Derivative(Input(name), _):
                alpha = leaf.alpha if isinstance(leaf, Derivative) else (0,) * (d + 1)
                if alpha[-1] or not next(s for s in self.problem.inputs if s.name == name).covers(d):
                    raise InputError(f"{self.problem.name}: the equations hold the input {name!r}, which no cells have")
                cells = self.like.new_tensor(np.stack([c.input_on(name, grid) for c in self.cases]))
                return self._spread(Differences(grid, None, 2, False)(cells, alpha[:-1], face)[:, None], face)
        raise InputError(f"{self.problem.name}: the basis has no values for {leaf!r}, which the equations hold")

    def _spread(self, values: Tensor, face: Face | None) -> Tensor:
        """(case or 1, time or 1, *space) as the places of a block have it: (case, expert, place)."""
        shape = self.grid.shape if face is None else _without(self.grid.shape, face)
        values = values.expand(len(values), self._frames, *shape)
        return values.reshape(len(values), 1, -1) if face is not None else self.split(values[:, None]).squeeze(2)

    def of(self, basis: Tensor, differences: Differences) -> list[list[Tensor]]:
        """The terms of every block, each (case, expert or 1, basis, place), of a basis (case, basis, field, time,
        *space)."""
        memory: dict[Any, Tensor] = {}
        found = []
        for block in self.blocks:
            mine = []
            for term in block.rows.terms:
                name, alpha = block.rows.alpha(term)
                key = (name, alpha, block.face, block.name == "initial")
                if key not in memory:
                    memory[key] = self._term(basis[:, :, self.names.index(name)], alpha, block, differences)
                mine.append(memory[key])
            found.append(mine)
        return found

    def _term(self, values: Tensor, alpha: Alpha, block: Block, differences: Differences) -> Tensor:
        if self.times is None:
            values = differences(values, alpha[:-1], block.face)[:, :, None]
        elif block.name == "initial":
            values = values[:, :, :1]
        else:
            values = differences(values, alpha, block.face)[:, :, 1:]
        return self.split(values) if not block.shared else values.flatten(2)[:, None]


def _without(shape: tuple[int, ...], face: Face) -> tuple[int, ...]:
    place = len(shape) - 1 - face[0]
    return shape[:place] + shape[place + 1 :]


def posed(problem: Any, cases: Sequence[Case], grid: Any) -> None:
    """Refuse what no such rows can be made of.

    Raises:
        InputError: see `Conditions`.
    """
    if not isinstance(problem, PDEProblem):
        raise InputError(f"problem: expected a PDEProblem, got {type(problem).__name__}")
    if not cases:
        raise InputError("cases: expected at least one")
    for case in cases:
        if not problem.same(case.problem):
            raise InputError(f"cases: expected cases of {problem.name!r}, got one of {case.problem.name!r}")
        if not isinstance(case.geometry, Box) or case.geometry.sections:
            raise InputError(f"{problem.name}: the geometry is a {type(case.geometry).__name__}, expected a plain Box")
    if not isinstance(grid, Grid) or grid.mask is not None:
        raise InputError(f"grid: expected a Grid without a mask, got {grid!r:.60}")
    if tuple(map(bool, grid.periodic)) != tuple(map(bool, cases[0].geometry.periodic)):
        raise InputError("grid: expected it to be periodic where the domain is")


def sampled(block: Block, terms: Sequence[Tensor], index: Tensor) -> tuple[Block, list[Tensor]]:
    """A block and its terms at (expert, m) places of sub-domains alone."""
    k, m = index.shape

    def take(values: Tensor) -> Tensor:
        if values.shape[-1] == 1:
            return values
        where = index.reshape(1, k, *[1] * (values.ndim - 3), m)
        values = values.expand(values.shape[0], k, *values.shape[2:])
        return torch.gather(values, -1, where.expand(*values.shape[:-1], m))

    measure = take(block.measure[None])[0] * (block.places / m)  # the mean of a sample is that of all on average
    return replace(block, places=m, given={e: take(g) for e, g in block.given.items()}, measure=measure), [
        take(t) for t in terms
    ]
