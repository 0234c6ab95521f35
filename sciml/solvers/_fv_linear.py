"""Linear systems of finite volumes: on the grid itself where the matrix is that of conductances between cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import breadth_first_order

from sciml.calculus import Derivative, tangent, weak
from sciml.errors import InputError
from sciml.expressions import Field, leaves
from sciml.geometry import SIDES
from sciml.problem import Case
from sciml.solvers._control_volumes import ControlVolumes
from sciml.solvers._sparse_jacobian import Pattern
from sciml.solvers.linear import End, Ends, GridSystem, LinearSystem, MatrixSystem
from sciml.solvers.linear.discretisation import Discretisation, Given
from sciml.support import Grid, Points
from sciml.support.embedded import WITHIN

SAME = 1e-12  # of the largest entry: what rounding alone makes of equal ones
LINEAR = 1e-9  # of a residual: how far a linear one is from its tangent
LEVEL = 1e-11  # of the largest entry: what a matrix makes of a constant that it does not see


def linear_system(
    name: str, case: Case, volumes: ControlVolumes, given: tuple[Any, ...], answer: Callable[[np.ndarray, str], Any]
) -> Discretisation:
    """The system m · storage + c · A = known on the cells.

    Args:
        name: of the solver, for messages.
        given: (data, mass, factor, known), as `ControlVolumes.residual` takes them.
        answer: (q on all cells, status) -> the solution.

    Raises:
        InputError: a balance that is not linear.
    """
    grid, field = volumes.grid, volumes.field
    zero = np.zeros(grid.shape)
    rest = np.asarray(volumes.residual(zero, *given))
    matrix = _matrix(case, volumes, rest, given)
    if matrix is None:
        raise InputError(
            f"{name}: {case.problem.name}: its equation is not linear in {field}, expected one that is; use solve, "
            "which is Newton's method"
        )
    rhs = -rest.ravel()
    alive = None if volumes.body is None else np.flatnonzero(np.asarray(volumes.body.alive).ravel())
    if alive is not None:
        matrix, rhs = matrix[alive][:, alive], rhs[alive]
    if matrix.diagonal().max() < 0:  # the same equations, signed as solvers take them
        matrix, rhs = -matrix, -rhs
    scale = symmetriser(matrix)
    if scale is not None:
        matrix, rhs = scipy.sparse.csr_array(scipy.sparse.diags_array(scale) @ matrix), scale * rhs
    found: LinearSystem | None = on_grid(matrix, grid) if alive is None and scale is not None else None
    if found is None:
        ones = np.ones(len(rhs))
        seen = np.abs(matrix @ ones).max() > LEVEL * abs(matrix).max()
        places = grid.points().reshape(-1, grid.dimensions)
        found = MatrixSystem(matrix, None if seen else ones, Points(places if alive is None else places[alive]))
    rhs = rhs.reshape(found.shape)

    def solution(x: np.ndarray, status: str) -> Any:
        q = np.zeros(int(np.prod(grid.shape)))
        q[slice(None) if alive is None else alive] = x.ravel()
        return answer(q.reshape(grid.shape), status)

    return Discretisation(case, found, rhs, grid, (field,), _known(volumes, given[0]), solution)


def _matrix(
    case: Case, volumes: ControlVolumes, rest: np.ndarray, given: tuple[Any, ...]
) -> scipy.sparse.csr_array | None:
    """The tangent of a balance, by the narrowest stencil that gives what a random field gives; None where it depends
    on the state."""
    if not _is_linear(case):
        return None
    grid = volumes.grid
    trial = case.scales.fields.get(volumes.field, 1.0) * np.random.default_rng(0).standard_normal(grid.shape)
    expected = (np.asarray(volumes.residual(trial, *given)) - rest).ravel()
    for reach in (1, 2, 3):
        pattern = Pattern(grid.shape, tuple(grid.periodic[::-1]), reach)
        slopes = np.asarray(volumes.along(np.zeros(grid.shape), pattern.directions, *given))
        found = scipy.sparse.csr_array(pattern.matrix(slopes))
        if np.abs(found @ trial.ravel() - expected).max() <= LINEAR * np.abs(expected).max():
            return found
    return None


def _is_linear(case: Case) -> bool:
    """Whether no derivative of the balance by the field holds the field."""
    names, d = [f.name for f in case.problem.fields], case.problem.dimensions
    for row in weak(case.problem.balances().values(), names):
        for e in (row.storage, *row.flux, row.source):
            for slope in () if e is None else tangent(e, names, d).values():
                if any(
                    isinstance(leaf.field if isinstance(leaf, Derivative) else leaf, Field) for leaf in leaves(slope)
                ):
                    return False
    return True


def symmetriser(matrix: scipy.sparse.csr_array) -> np.ndarray | None:
    """(n,) the factors > 0 of the rows with which a matrix is symmetric, the largest is 1; None where none do.

    Beside boundary values the fluxes of second order make rows longer by a factor, which changes no solution.
    """
    matrix = matrix.copy()
    matrix.eliminate_zeros()
    size, n = abs(matrix).max(), len(matrix.indptr) - 1
    transposed = scipy.sparse.csr_array(matrix.T)
    if abs(matrix - transposed).max() <= SAME * size:
        return np.ones(n)
    transposed.sort_indices()
    matrix.sort_indices()
    if not (np.array_equal(matrix.indptr, transposed.indptr) and np.array_equal(matrix.indices, transposed.indices)):
        return None
    factors, left = np.zeros(n), np.ones(n, bool)
    entries = matrix.tocoo()
    back = np.asarray(transposed.tocsr()[entries.row, entries.col]).ravel()
    ratio = back / entries.data  # of row i over row j: D_i a_ij = D_j a_ji
    ratio[np.abs(ratio - 1) <= SAME] = 1.0
    if (ratio <= 0).any():
        return None
    steps = scipy.sparse.csr_array((ratio, (entries.row, entries.col)), shape=matrix.shape)
    while left.any():
        start = int(left.argmax())
        order, before = breadth_first_order(matrix, start, directed=False)
        children = order[1:]
        jumps = np.asarray(steps[children, before[children]]).ravel() if len(children) else np.zeros(0)
        factors[start] = 1.0
        for child, above, jump in zip(children.tolist(), before[children].tolist(), jumps.tolist(), strict=True):
            factors[child] = factors[above] * jump
        factors[order] /= factors[order].max()
        left[order] = False
    scaled = scipy.sparse.diags_array(factors) @ matrix
    return factors if abs(scaled - scaled.T).max() <= SAME * size else None


def on_grid(matrix: scipy.sparse.csr_array, grid: Grid) -> GridSystem | None:
    """The same matrix as a sum over faces of c (φ − φ_neighbour)/h²; None where it is none.

    What a row has more than its neighbours take is what lies beyond the ends of the box: of the sides where there is
    any, which thereby are open.
    """
    spacing = tuple(float(w.mean()) for w in grid.widths)
    if any(np.ptp(w) > SAME * h * len(w) for w, h in zip(grid.widths, spacing, strict=True)) or grid.mask is not None:
        return None
    shape, d = grid.shape, grid.dimensions
    if any(n < 3 for n in shape):
        return None
    number, size = np.arange(int(np.prod(shape))).reshape(shape), abs(matrix).max()
    rest = matrix.diagonal().reshape(shape).copy()
    inner, sides = [], []
    for k in range(d):
        axis = d - 1 - k
        one, other = np.moveaxis(number, axis, 0), np.moveaxis(np.roll(number, -1, axis), axis, 0)
        if not grid.periodic[k]:
            one, other = one[:-1], other[:-1]
        weight = -np.asarray(matrix[one.ravel(), other.ravel()]).reshape(one.shape)
        np.subtract.at(rest.reshape(-1), one.ravel(), weight.ravel())
        np.subtract.at(rest.reshape(-1), other.ravel(), weight.ravel())
        inner.append(weight * spacing[k] ** 2)
        sides += [] if grid.periodic[k] else [(k, 0), (k, -1)]
    rest[np.abs(rest) <= 16 * SAME * size] = 0.0
    beside = np.zeros((len(sides), *shape), bool)
    for cells, (k, place) in zip(beside, sides, strict=True):
        np.moveaxis(cells, d - 1 - k, 0)[place] = True
    alone = beside.sum(0) == 1
    is_open = np.array([(rest[cells & alone] != 0).any() for cells in beside], bool)
    weights = np.array([2 / spacing[k] ** 2 for k, _ in sides])
    total = np.tensordot(weights * is_open, beside.astype(float), 1) if sides else np.zeros(shape)
    if np.any((rest != 0) & (total == 0)) or any(w.min() < 0 for w in inner) or rest.min() < 0:
        return None
    outer = np.divide(rest, total, out=np.zeros(shape), where=total > 0)
    ends: list[Ends] = []
    coefficients = []
    for k in range(d):
        axis = d - 1 - k
        if grid.periodic[k]:
            ends.append((End.PERIODIC, End.PERIODIC))
            line = np.concatenate([inner[k][-1:], inner[k]])
        else:
            at = sides.index((k, 0))
            ends.append(tuple(End.OPEN if o else End.WALL for o in is_open[at : at + 2]))  # type: ignore[arg-type]
            edge = np.moveaxis(outer, axis, 0)
            line = np.concatenate([edge[:1], inner[k], edge[-1:]])
        coefficients.append(np.ascontiguousarray(np.moveaxis(line, 0, axis)))
    found = GridSystem(shape, tuple(ends), spacing, tuple(coefficients))
    return found if abs(found.matrix() - matrix).max() <= 32 * SAME * size else None


def _known(volumes: ControlVolumes, data: Any) -> tuple[Given, ...]:
    found = []
    for boundary, condition in volumes.conditions.items():
        if boundary in SIDES:
            points = volumes.grid.side_points(*SIDES[boundary])
        else:
            points = np.zeros((0, volumes.grid.dimensions)) if volumes.body is None else volumes.body.points
        values = np.broadcast_to(np.asarray(data["boundary"][boundary], np.float64).ravel(), len(points))
        name = boundary.removesuffix(WITHIN)
        found.append(Given(name, volumes.field, type(condition).__name__, points, np.array(values)))
    return tuple(found)
