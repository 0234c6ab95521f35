"""Laws put on data themselves: measured velocities, which have noise, brought to the nearest that lose no fluid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Float

from sciml.constraints import DiscreteProjection, Equations, central_divergence
from sciml.data import _pack, schema
from sciml.derivatives import central
from sciml.errors import InputError, is_number, suggest
from sciml.problem import Case
from sciml.support import Grid, support_of
from sciml.training.laws.divergence_free import LARGE, DivergenceFree, _factorised, _flux, _place, _Volumes
from sciml.training.laws.kept import Kept

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Change:
    """What a law did to one case; divergences are means over frames and over the cells that have an equation.

    Args:
        case: its label.
        divergence_before, divergence_after: root mean square, in the units of the data.
        largest_before, largest_after: of their absolute values.
        relative: divergence_after over the root mean square of speed over the width of a cell: that of rounding.
        change: ‖û − u‖ / ‖u‖ in L².
        root_mean_square_change: of |û − u|, in the unit of the velocity.
        equations: how many cells are held.
        cells: how many have a value.
        walls: how many of them are taken as walls; divergences are those of the others.
    """

    case: str
    divergence_before: float
    divergence_after: float
    largest_before: float
    largest_after: float
    relative: float
    change: float
    root_mean_square_change: float
    equations: int
    cells: int
    walls: int = 0


@dataclass(frozen=True)
class Lawful:
    """Data that obey a law.

    Args:
        data: as they were given, with other velocities, in float64.
        changes: what was done to each case.
    """

    data: xr.Dataset
    changes: tuple[Change, ...]


def enforce(
    data: xr.Dataset,
    law: DivergenceFree | None = None,
    *,
    velocity: Sequence[str] | None = None,
    still: float | None = None,
) -> Lawful:
    """Bring velocities on grids to the nearest, in ∫|û − u|² dV, whose divergence is zero in every frame.

        û = u − M⁻¹Aᵀ (A M⁻¹Aᵀ)⁺ (A u − b)

    A is the divergence that an audit measures: of problems with equations that of their control volumes with the values
    b of their conditions, of others central differences, where all neighbours are inside. Masked cells, such as those
    of vectors that were measured badly, are left alone. Of noise without a pattern a projection takes away the share
    rank A / n of its energy, about a half in the plane and a third in space; noise that itself obeys the law stays.

    Args:
        data: one solution or a packed data set, of one to three dimensions of space.
        law: with the balance that counts, where the problem has several.
        velocity: names of the components along x, y, z, for problems that do not say which fields these are.
        still: speed that cells of walls, tissue or the like nowhere exceed in any frame: they get velocity 0, and the
            others are held with these zeros beside them. Without it fluid may flow wherever there is a value.

    Raises:
        InputError: values at points, no velocity, or values that are not finite.

    Source: A. J. Chorin, Math. Comp. 22, 745 (1968); for measured fields C. M. de Silva, J. Philip, I. Marusic, Exp.
    Fluids 54, 1557 (2013).
    """
    law, kept = law or DivergenceFree(), Kept()
    if still is not None and not (is_number(still) and still >= 0):
        raise InputError(f"still: expected a speed of at least 0, got {still!r:.40}")
    if not schema.is_packed(data):
        case = Case.from_parts(data.attrs, {str(k): v.values for k, v in data.variables.items()})
        found, change = _one(case, data, law, velocity, still, kept)
        return Lawful(found, (change,))
    solutions, changes = [], []
    for k in range(data.sizes["case"]):
        found, change = _one(*_pack.case(data, k), law, velocity, still, kept)
        solutions.append(_pack.single(found, None))
        changes.append(change)
    names = schema.flag_names(data["split"]) if "split" in data.variables else None
    return Lawful(_pack.concat(solutions, None if names is None else list(names)), tuple(changes))


def _one(
    case: Case,
    solution: xr.Dataset,
    law: DivergenceFree,
    velocity: Sequence[str] | None,
    still: float | None,
    kept: Kept,
) -> tuple[xr.Dataset, Change]:
    grid = support_of(case, solution)
    label = case.label or case.problem.name
    if not isinstance(grid, Grid):
        raise InputError(f"data: {label}: expected values on a grid, got {grid!r}; resample them first")
    balances = case.problem.balances()
    names = _names(case, solution, law, velocity, grid, bool(balances))
    dims = (*(["time"] if "time" in solution.dims else []), *grid.dims)
    arrays = [np.asarray(solution[n].transpose(*dims).values, dtype=np.float64) for n in names]
    u = np.stack([a.reshape(-1, *grid.shape) for a in arrays], axis=1)
    inside = np.ones(grid.shape, bool) if grid.inside is None else grid.inside
    if not np.isfinite(u[..., inside]).all():
        raise InputError(f"data: {label}: velocities that are not finite, where the mask says there is fluid")
    u = np.where(inside, u, 0.0)
    if balances and still is not None:
        raise InputError(f"still: {case.problem.name} has equations, and says itself where walls are")
    if balances:
        volumes = _Volumes(case, grid, tuple(names), balances[law.balance])
        equations, projection = kept.get(volumes.key, volumes.equations)
        times = np.zeros(1) if case.problem.steady else np.asarray(solution["time"].values, dtype=np.float64)
        target = volumes.target(equations, times)
        judged = equations.judged

        walls = np.zeros(grid.shape, bool)

        def divergence(v: np.ndarray) -> np.ndarray:
            return volumes._residual(np.where(inside, v, np.nan))[:, judged]
    else:
        walls = np.zeros(grid.shape, bool)
        if still is not None:
            walls = inside & (np.square(u).sum(1).max(0) <= still**2)
        equations, projection = kept.get(("central", _place(grid), walls.tobytes()), lambda: _central(grid, walls))
        target, judged = projection.target.numpy(), equations.judged & ~walls

        def divergence(v: np.ndarray) -> np.ndarray:
            return central.divergence(v.swapaxes(0, 1), grid)[:, judged]

    if not judged.any():
        raise InputError(f"data: {label}: no cell has all its neighbours inside, expected at least three along an axis")
    found = np.where(walls, 0.0, u)
    for k in range(len(u)):
        found[k] = projection(torch.from_numpy(found[k]), torch.from_numpy(target)).numpy()
    found = np.where(inside, found, u)
    changed = solution.copy()
    for i, n in enumerate(names):
        changed[n] = (dims, found[:, i].reshape(arrays[i].shape), dict(solution[n].attrs))
        changed[n] = changed[n].transpose(*solution[n].dims)
    return changed, _change(label, u, found, divergence, grid, inside, walls, int(judged.sum()))


def _central(grid: Grid, walls: np.ndarray) -> tuple[Equations, DiscreteProjection]:
    """Central differences in all cells but walls, whose velocities, 0, are no unknowns."""
    found = central_divergence(grid)
    if not walls.any():
        return found, found.projection(_factorised(grid))
    free = np.tile(~walls.ravel(), grid.dimensions).astype(float)
    matrix = found.matrix[~walls[found.judged]] @ scipy.sparse.diags_array(free)
    direct = grid.dimensions < 3 or int((~walls).sum()) <= LARGE
    return found, DiscreteProjection(matrix, None, found.weights, found.shape, direct)


def _names(
    case: Case, solution: xr.Dataset, law: DivergenceFree, velocity: Sequence[str] | None, grid: Grid, equations: bool
) -> tuple[str, ...]:
    if equations:
        if velocity is not None:
            raise InputError(f"velocity: {case.problem.name} has equations, which say what its velocity is")
        names = _flux(case.problem.name, law.balance, dict(case.problem.balances()))
    else:
        names = tuple(velocity if velocity is not None else case.problem.velocity)
    if len(names) != grid.dimensions:
        raise InputError(
            f"velocity: expected the names of {grid.dimensions} components, got {', '.join(names) or 'none'}; of "
            f"{', '.join(f.name for f in case.problem.fields)}"
        )
    for n in names:
        if n not in solution.variables:
            raise InputError(f"velocity: no field is called {n!r}{suggest(n, map(str, solution.data_vars))}")
    return names


def _change(
    label: str, before: Float[np.ndarray, "frame axis *grid"], after: Float[np.ndarray, "frame axis *grid"],
    divergence: Any, grid: Grid, inside: np.ndarray, walls: np.ndarray,
    equations: int,
) -> Change:  # fmt: skip
    weights = grid.weights()
    total = float((weights * inside).sum()) * len(before)
    old, new = divergence(before), divergence(after)

    def size(v: np.ndarray) -> float:
        return float(np.sqrt((np.square(v).sum(1) * weights).sum() / total))

    width = min(float(w.min()) for w in grid.widths)
    speed, moved = size(before), size(after - before)
    rms = [float(np.sqrt(np.mean(np.square(d)))) for d in (old, new)]
    return Change(
        label, rms[0], rms[1], float(np.abs(old).max()), float(np.abs(new).max()),
        rms[1] * width / speed if speed else 0.0, moved / speed if speed else 0.0, moved, equations, int(inside.sum()),
        int(walls.sum()),
    )  # fmt: skip
