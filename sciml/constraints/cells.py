"""The equations of control volumes as a sparse matrix, from the very function that measures them.

An audit interpolates a cell-centred velocity to faces, takes given values on the sides of the grid, and sums over the
faces of each cell; cells next to solid ones are not judged. All this is affine in the values, A x − b, and reads a few
cells around each. `linearise` reads A and b off the function itself: it is evaluated on fields that are one in cells so
far apart that no control volume reads two of them. A `DiscreteProjection` onto these equations then gives fields whose
audited divergence is zero to rounding, with no second discretisation of it that could differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float

from sciml.boundary import Conditions
from sciml.constraints._linear import csr
from sciml.constraints.discrete import DiscreteProjection
from sciml.derivatives import central
from sciml.derivatives import numpy as provider
from sciml.errors import InputError
from sciml.expressions import Balance, Field
from sciml.geometry import AXES
from sciml.support import Grid

MOST = 2**22  # numbers that are evaluated at once


@dataclass(frozen=True)
class Equations:
    """A x = b, of values x on the cells of a grid.

    Args:
        matrix: A (m, n), n = components · cells.
        target: b (m,).
        judged: (*grid) where a cell has an equation; the first equations are those of these cells, in array order.
        shape: (components, *grid).
        weights: (components, *grid) volumes of cells.
    """

    matrix: Any
    target: Float[np.ndarray, " m"]
    judged: Bool[np.ndarray, "*grid"]
    shape: tuple[int, ...]
    weights: Float[np.ndarray, "*shape"]

    def projection(self, factorise: bool = True) -> DiscreteProjection:
        """Onto these equations, of least change in ∫|x' − x|² dV; other targets may be given call by call."""
        return DiscreteProjection(self.matrix, self.target, self.weights, self.shape, factorise)


def linearise(
    function: Callable[[np.ndarray], np.ndarray],
    grid: Grid,
    components: int,
    reach: int = 3,
) -> Equations:
    """The equations function(x) = 0 of an affine function of cell values.

    Args:
        function: (batch, components, *grid) -> (batch, *grid); NaN where a control volume reads a cell that is NaN, and
            where it has no equation.
        grid: cells; of those outside its mask the function is given NaN, and they are no unknowns.
        reach: how many cells away, along each axis, a control volume may read.

    Raises:
        InputError: a function that is not affine, or reads further than that.
    """
    shape, inside = grid.shape, np.ones(grid.shape, bool) if grid.inside is None else grid.inside
    none = np.where(inside, 0.0, np.nan)
    base = _evaluated(function, np.broadcast_to(none, (1, components, *shape)))[0]
    judged = np.isfinite(base)
    width = 2 * reach + 1
    colours = [_colours(n, width, p) for n, p in zip(shape, grid.periodic[::-1], strict=True)]
    # of each colour along an axis, the one cell of it that an equation at each place may read (-1: none)
    sources = [_sources(c, reach, p) for c, p in zip(colours, grid.periodic[::-1], strict=True)]
    number = np.arange(judged.sum())
    rows, columns, entries = [], [], []
    kinds = list(product(range(components), *(range(int(c.max()) + 1) for c in colours)))
    size = max(1, MOST // (components * int(np.prod(shape))))
    for chunk in (kinds[k : k + size] for k in range(0, len(kinds), size)):
        fields = np.empty((len(chunk), components, *shape))
        fields[:] = none
        for field, (component, *colour) in zip(fields, chunk, strict=True):
            lit = np.ix_(*(c == k for c, k in zip(colours, colour, strict=True)))
            field[component][lit] += 1.0
        slopes = _evaluated(function, fields)[:, judged] - base[judged]
        for slope, (component, *colour) in zip(slopes, chunk, strict=True):
            index = np.ix_(*(s[k] for s, k in zip(sources, colour, strict=True)))
            read = np.all(np.broadcast_arrays(*(i >= 0 for i in index)), axis=0)[judged]
            flat = np.ravel_multi_index(np.broadcast_arrays(*index), shape, mode="clip")[judged]
            found = slope != 0
            if np.any(found & ~read):
                raise InputError(f"function: a control volume reads more than {reach} cells away; give reach")
            rows.append(number[found])
            columns.append(component * judged.size + flat[found])
            entries.append(slope[found])
    parts = (np.concatenate(rows), np.concatenate(columns))
    n = components * judged.size
    matrix = csr(scipy.sparse.coo_array((np.concatenate(entries), parts), shape=(len(number), n)))
    # differences of equal numbers leave roundings
    matrix.data[np.abs(matrix.data) < 1e-13 * np.abs(matrix.data).max(initial=0.0)] = 0.0
    matrix.eliminate_zeros()
    trial = np.random.default_rng(0).standard_normal((1, components, *shape)) + none
    there = _evaluated(function, trial)[0][judged]
    gap = np.abs(matrix @ np.nan_to_num(trial).ravel() + base[judged] - there).max(initial=0.0)
    if not gap <= 1e-9 * (np.abs(there).max(initial=0.0) + np.abs(base[judged]).max(initial=0.0)):
        raise InputError(f"function: expected one that is affine and reads no more than {reach} cells away")
    weights = np.broadcast_to(grid.volumes(), (components, *shape))
    return Equations(matrix, -base[judged], judged, (components, *shape), weights)


def _evaluated(function: Callable[[np.ndarray], np.ndarray], fields: np.ndarray) -> np.ndarray:
    found = np.asarray(function(fields), dtype=np.float64)
    if found.shape != (fields.shape[0], *fields.shape[2:]):
        raise InputError(f"function: of {fields.shape} expected (batch, *grid), got {found.shape}")
    return found


def _colours(n: int, width: int, periodic: bool) -> np.ndarray:
    """A number for each place so that equal ones are at least `width` apart, around the circle too."""
    found = np.arange(n) % width
    if periodic and n % width:
        rest = n % width if n >= width else n
        found[n - rest :] = np.arange(rest) + (width if n >= width else 0)
    return found


def _sources(colours: np.ndarray, reach: int, periodic: bool) -> np.ndarray:
    """(colour, place) -> the place of that colour within reach; -1 for none."""
    n = len(colours)
    found = np.full((int(colours.max()) + 1, n), -1)
    for step in range(-reach, reach + 1):
        there = np.arange(n) + step
        inside = np.ones(n, bool) if periodic else (there >= 0) & (there < n)
        here, there = np.arange(n)[inside], there[inside] % n
        found[colours[there], here] = there
    return found


def cell_divergence(
    grid: Grid, boundary: Conditions | None = None, velocity: Sequence[str] = AXES, whole: bool = False
) -> Equations:
    """∮ v·n / |V| = 0 over every cell, as the audit of a problem with a continuity equation measures it.

    Face velocities are means of those beside them, on the sides of the grid what is given there, and elsewhere
    extrapolated. Cells that read a cell outside the mask of the grid are not judged.

    Args:
        boundary: conditions by side of the grid ("x_min", ...) and component; values may vary in space. Further values
            are targets: `target_of` gives those of other conditions of the same kinds.
        velocity: the names of the components in `boundary`, in the order of the axes; x, y, z by default.
        whole: whether what goes through the sides of the grid is to vanish in sum as well, which does not follow from
            the cells alone where some are not judged.
    """
    names = tuple(velocity)[: grid.dimensions]
    if len(names) != grid.dimensions:
        raise InputError(f"velocity: expected {grid.dimensions} names, got {names}")
    _known(grid, boundary, names)
    equations = linearise(lambda x: _divergence(x, grid, boundary, names), grid, len(names))
    if not whole:
        return equations
    # the parts of the cells beside the sides, from which their sum is one equation more
    open_grid = Grid(grid.faces, grid.periodic)
    parts = linearise(lambda x: _through(x, grid, boundary, names), open_grid, len(names))
    inside = np.ones(grid.shape, bool) if grid.inside is None else grid.inside
    row = csr(parts.matrix.sum(axis=0)[None, :] * np.tile(inside.ravel(), len(names)))
    size = float(grid.volumes()[inside].sum())
    matrix = csr(scipy.sparse.vstack([equations.matrix, row / size]))
    return replace(equations, matrix=matrix, target=np.append(equations.target, parts.target.sum() / size))


def target_of(
    equations: Equations, grid: Grid, boundary: Conditions | None, velocity: Sequence[str] = AXES
) -> Float[np.ndarray, " m"]:
    """b of the same control volumes with other given values: of `cell_divergence` with these conditions."""
    names = tuple(velocity)[: grid.dimensions]
    _known(grid, boundary, names)
    zero = np.zeros((1, len(names), *grid.shape))
    found = -_divergence(zero, grid, boundary, names)[0][equations.judged]
    if len(equations.target) == len(found):
        return found
    inside = np.ones(grid.shape, bool) if grid.inside is None else grid.inside
    whole = -_through(zero, grid, boundary, names).sum() / float(grid.volumes()[inside].sum())
    return np.append(found, whole)


def central_divergence(grid: Grid) -> Equations:
    """Σ ∂v/∂x by central differences = 0, as data without equations are audited: where all neighbours are inside."""
    return linearise(lambda x: central.divergence(x.swapaxes(0, 1), grid), grid, grid.dimensions, reach=1)


def _known(grid: Grid, boundary: Conditions | None, names: tuple[str, ...]) -> None:
    sides = {f"{a}_{e}" for a in AXES[: grid.dimensions] for e in ("min", "max")}
    for side, conditions in (boundary or {}).items():
        if side not in sides:
            raise InputError(f"boundary: {side!r}, expected one of {', '.join(sorted(sides))}")
        for name in conditions:
            if name not in names:
                raise InputError(f"boundary: {side}: {name!r}, expected one of {', '.join(names)}")


def _lattice(x: np.ndarray, grid: Grid, boundary: Conditions | None, names: tuple[str, ...]) -> Any:
    fields = {name: x[:, k] for k, name in enumerate(names)}
    return provider.lattice(Grid(grid.faces, grid.periodic), fields, boundary=boundary)


def _divergence(x: np.ndarray, grid: Grid, boundary: Conditions | None, names: tuple[str, ...]) -> np.ndarray:
    flux = tuple(Field(n) for n in names)
    balance = Balance(flux=flux[0] if len(flux) == 1 else flux)
    return _lattice(x, grid, boundary, names).finite_volume(balance)[0]


def _through(x: np.ndarray, grid: Grid, boundary: Conditions | None, names: tuple[str, ...]) -> np.ndarray:
    """What leaves through the sides of the grid, at the cells beside them."""
    lattice, found = _lattice(x, grid, boundary, names), np.zeros((x.shape[0], *grid.shape))
    inside = np.ones(grid.shape, bool) if grid.inside is None else grid.inside
    for axis, name in enumerate(names):
        if grid.periodic[axis]:
            continue
        area = grid.volumes() / grid.widths[axis].reshape((-1,) + (1,) * axis)
        values = np.moveaxis(lattice.faces(Field(name), axis), -1 - axis, -1)
        into, areas = np.moveaxis(found, -1 - axis, -1), np.moveaxis(area * inside, -1 - axis, -1)
        into[..., 0] -= values[..., 0] * areas[..., 0]
        into[..., -1] += values[..., -1] * areas[..., -1]
    return found
