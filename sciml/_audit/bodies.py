"""Balances of domains that hold a body, and values on it.

A control volume that a body cuts cannot be told from cells, but the whole domain can: what its sides let through, what
is stored in the open shares of its cells, and what the body takes. It takes no mass where the velocity on it is given,
and of momentum the force on it, where the solution holds that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml._audit.rows import Defect
from sciml._audit.view import View
from sciml.boundary import Outflow
from sciml.derivatives import numpy as provider
from sciml.errors import InputError
from sciml.expressions import Balance, Expression, Field, evaluate, leaves, time_derivative
from sciml.geometry import AXES, Box
from sciml.problem import Case
from sciml.support import Apertures, EmbeddedBoundary, Grid, Stencil


def embedded(case: Case, grid: Grid) -> EmbeddedBoundary | str | None:
    """What bounds a plane domain within the grid; a sentence where the grid is too coarse for that, None in a box."""
    if isinstance(case.geometry, Box) or grid.dimensions != 2:
        return None
    try:
        return EmbeddedBoundary.of(case.geometry, Grid(grid.faces, grid.periodic))
    except InputError as error:
        return str(error)


def cut_cells(case: Case, grid: Grid, body: EmbeddedBoundary | str | None) -> np.ndarray:
    """True where the boundary of a plane domain runs through a cell: fluxes over its faces are not those of a whole
    cell."""
    if body is None:
        return np.zeros(grid.shape, dtype=bool)
    found = Apertures.of(case.geometry, grid) if isinstance(body, str) else body.apertures
    return (found.volumes > 1e-9) & (found.volumes < 1 - 1e-9)


def audit_domain(name: str, balance: Balance, view: View, body: EmbeddedBoundary, chosen: list[int]) -> list[Defect]:
    """The balance of the whole domain, for each component whose exchange with the body is known."""
    components, grid, case = balance.components(), body.grid, view.case
    goes_in = [taken(k, c, view, body) for k, c in enumerate(components)]
    sums, others = np.zeros((len(components), len(chosen))), np.zeros((len(components), len(chosen)))
    sizes = np.zeros(len(components))
    shares, total = body.apertures.volumes * grid.volumes(), float((body.apertures.volumes * grid.volumes()).sum())
    for j, k in enumerate(chosen):
        lattices = [view.lattice(k, order=o, filled=True) for o in (2, 4 if min(grid.shape) >= 5 else 2)]
        for i, (storage, _, source) in enumerate(components):
            goes = goes_in[i]
            if goes is None:
                continue
            stored = -1.0 * lattices[0].cells(source) * np.ones(grid.shape)
            if storage is not None:
                stored = stored + lattices[0].cells(time_derivative(storage))
            inside = float((stored * shares).sum())
            crossing = [through(lattice.fluxes(balance)[i], grid, body.apertures.faces) for lattice in lattices]
            sums[i, j] = (inside + crossing[0][0] + goes[k]) / total
            # cells whose middle is in the body hold no value that is known
            lost = float((np.abs(stored) * np.where(view.cut, shares, 0.0)).sum()) / 4
            others[i, j] = (abs(crossing[1][0] - crossing[0][0]) + lost) / total
            sizes[i] += crossing[0][1] / len(chosen)
    rows = []
    for i in range(len(components)):
        if goes_in[i] is None:
            continue
        label = name if len(components) == 1 else f"{name} {AXES[i]}"
        rms, flux = float(np.sqrt(np.mean(sums[i] ** 2))), math.sqrt(sizes[i])
        # what is stored on faces, and the force, have been through single precision in most files
        rounding = (
            4 * max(view.epsilon, float(np.finfo(np.float32).eps)) * flux / min(float(w.min()) for w in grid.widths)
        )
        rows.append(
            Defect(
                "balance", label, balance.unit, rms, float(np.abs(sums[i]).max()),
                rms * case.scales.length / flux if flux > 0 else 0.0,
                max(float(np.sqrt(np.mean(others[i] ** 2))), rounding), 0,
                max(b - a for a, b in case.geometry.extents),
            )
        )  # fmt: skip
    return rows


def back_flow(view: View, chosen: list[int]) -> list[str]:
    """The open ends through which fluid comes back in some frame: there the flow solver gives the pressure another
    value than the problem states."""
    found = []
    velocity = () if view.case.problem.phase else view.case.problem.velocity  # of two fluids air comes in at p = 0
    for name, conditions in view.case.boundary_conditions.items():
        part = view.case.geometry.boundaries.get(name)
        if part is None or part.side is None:
            continue
        axis, end = part.side
        if axis >= len(velocity) or not isinstance(conditions.get(velocity[axis]), Outflow):
            continue
        field = velocity[axis]
        values = view.faces.get((field, axis), view.fields.get(field))
        if values is not None:
            outwards = np.take(values[chosen], -end, axis=-1 - axis) * (1 if end else -1)
            if np.nanmin(outwards, initial=0.0) < 0:
                found.append(name)
    return found


def taken(k: int, component: tuple, view: View, body: EmbeddedBoundary) -> np.ndarray | None:
    """(T,) what goes into the body at each time; None where that is not known."""
    storage, flux, _ = component
    velocity = view.case.problem.velocity
    if velocity and all(_carried(e, velocity) for e in flux):
        given = [view.case.boundary_conditions.get(part, {}).get(f) for part in body.names for f in velocity]
        return np.zeros(len(view.times)) if all(c is not None and c.zero for c in given) else None
    stored = set() if storage is None else {leaf.name for leaf in leaves(storage) if isinstance(leaf, Field)}
    if k < len(velocity) and stored & set(velocity) == {velocity[k]}:
        return view.quantities.get(f"force_{AXES[k]}")
    return None


def _carried(flux: Expression, velocity: Sequence[str]) -> bool:
    """Whether a flux is none where the velocity is none, whatever else there is."""
    random = np.random.default_rng(0)

    def leaf(e: Expression) -> Any:
        return 0.0 if isinstance(e, Field) and e.name in velocity else random.random() + 0.5

    # slopes of a velocity that vanishes on a wall do not
    return evaluate(flux, leaf, lambda e: random.random() + 0.5, provider.backend.functions) == 0


def through(
    fluxes: Sequence[np.ndarray], grid: Grid, shares: Sequence[np.ndarray] | None = None
) -> tuple[float, float]:
    """What leaves through the sides of a grid, and the mean square of the flux there.

    Args:
        fluxes: along each axis, on the faces normal to it.
        shares: how much of each of these faces is open; all of it by default.
    """
    total, squares = 0.0, []
    for axis, flux in enumerate(fluxes):
        if grid.periodic[axis]:
            continue
        areas = np.ones(())
        for other in range(grid.dimensions - 1, -1, -1):
            if other != axis:
                areas = areas[..., None] * grid.widths[other]
        for end, sign in ((0, -1.0), (-1, 1.0)):
            share = np.ones(areas.shape) if shares is None else np.take(shares[axis], end, axis=-1 - axis)
            values = np.where(share > 0, np.take(flux, end, axis=-1 - axis), 0.0)
            total += sign * float((values * share * areas).sum())
            squares.append(float((values**2 * share).mean()))
    return total, float(np.mean(squares)) if squares else 0.0


def audit_walls(view: View, body: EmbeddedBoundary, chosen: list[int]) -> list[Defect]:
    """Given values on the body against those of the solution, extrapolated along the normal from beside it. Their floor
    is what the solution changes by over the last cell."""
    near = [body.beside(k) for k in (1, 2)]
    good = np.all([_clear(s, view.wet) for s in near], axis=0)
    rows = []
    for number, part in enumerate(body.names):
        here = good & (body.part == number)
        for name, condition in view.case.boundary_conditions.get(part, {}).items():
            if not condition.given or name not in view.fields or not here.any():
                continue
            gaps, floors = [], []
            for k in chosen:
                values = np.nan_to_num(view.fields[name][k]).ravel()
                one, two = ((values[s.index] * s.weight).sum(1)[here] for s in near)
                given = np.broadcast_to(condition.at(float(view.times[k]), body.points), here.shape)[here]
                gaps.append(2 * one - two - given)
                floors.append(one - two)
            rms, floor = (float(np.sqrt(np.mean(np.square(a)))) for a in (gaps, floors))
            scale = view.case.scales.fields.get(name, 1.0)
            rows.append(
                Defect(
                    "boundary", f"{name} on {part}", view.case.problem.field(name).unit, rms,
                    float(np.abs(gaps).max()), rms / scale, max(floor, view.epsilon * scale),
                )
            )  # fmt: skip
    return rows


def _clear(stencil: Stencil, fluid: np.ndarray) -> np.ndarray:
    return np.all(fluid.ravel()[stencil.index] | (np.abs(stencil.weight) < 1e-12), axis=1)
