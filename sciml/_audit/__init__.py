"""What a solution violates, computed from the problem alone.

Every balance is integrated over control volumes of growing size, from one cell to the whole domain:

    defect(V) = (d/dt ∫_V storage + ∮_∂V flux·n − ∫_V source) / |V|

with the fluxes of the finite-volume form, so that what is inside V telescopes away. Beside each defect stands its
floor: what the audit's own second-order fluxes would see if the solution were exact, the larger of two estimates: the
same integral on a grid of half the resolution, |D(2h) − D(h)| / 3, and the same with fourth-order fluxes,
|D₄(h) − D(h)|; to both is added what storage and source lose by being sampled at cell centres. A defect near its floor
says no more than "as right as this grid can tell".

Where a mask, or a body in the geometry, makes some cells solid or cuts them, control volumes whose defect reads a value
of such a cell are left out, and with them every larger one that contains them; invariants are integrals over the rest.
The whole domain is balanced all the same where what goes into the body is known, see `sciml._audit.bodies`; where no
rates of change are known it is balanced between frames, see `sciml._audit.in_time`. Fields that have bounds are held
within them.

Where a solution tells by its quantities what drives it, as a flow whose rate is kept does, sources are what it tells. A
model of what the solver's grid did not hold is remarked.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from sciml._audit.balances import audit_balance, fields_of
from sciml._audit.bodies import audit_domain, audit_walls, back_flow, cut_cells, embedded
from sciml._audit.conditions import audit_boundaries, audit_invariants
from sciml._audit.data import audit_data, bounds_of
from sciml._audit.in_time import audit_between
from sciml._audit.laws import audit_laws
from sciml._audit.rows import Audit, Defect
from sciml._audit.view import View, fluid_cells
from sciml.errors import InputError
from sciml.geometry import AXES, SIDES
from sciml.problem import Case
from sciml.support import Grid, check_span

if TYPE_CHECKING:
    import xarray

#: by which a value may leave its bounds
ROUNDINGS = 8.0

__all__ = ["Audit", "Defect", "audit"]


def audit(solution: xarray.Dataset, frames: int | None = 20) -> Audit:
    """Audit one solution.

    Args:
        solution: what any solver's `solve` returned, or `sciml.data.case(ds, i)[1]`.
        frames: at most so many frames, evenly chosen; None for all.

    Axes whose coordinates do not increase are brought in order first. A solution to a problem that states no equations
    is held against what its training data keep, on nodes too; see `sciml._audit.data`.

    Raises:
        InputError: not a solution on a grid, or one without its case.
    """
    if not hasattr(solution, "variables"):
        raise InputError(f"audit: expected a solution (xarray.Dataset), got {type(solution).__name__}")
    if "row_size" in solution.variables:
        raise InputError("audit: got a data set of many cases, expected one solution; take sciml.data.case(ds, i)[1]")
    if "time" in solution.coords and "time" not in solution.dims:  # cut down to a single time
        solution = solution.expand_dims("time")
    solution = _in_order(solution)
    case = Case.from_parts(solution.attrs, {str(k): v.values for k, v in solution.variables.items()})
    if not case.problem.balances():
        laws, remarks, count = audit_laws(_some(solution, frames), case)
        if laws:
            return Audit(case.problem.name, case.label or repr(case), tuple(laws), tuple(remarks), count)
        found, remarks, count = audit_data(_some(solution, frames), case)
        return Audit(case.problem.name, case.label or repr(case), tuple(found), tuple(remarks), count)
    missing = [f.name for f in case.problem.fields if f.name not in solution]
    dims = AXES[: case.problem.dimensions][::-1]
    if any("node" in solution[f.name].dims for f in case.problem.fields if f.name in solution):
        raise InputError(f"audit: the fields of this solution live on nodes, expected a grid over {dims}")
    if any(d not in solution.dims for d in dims):
        raise InputError(f"audit: the solution has dimensions {tuple(solution.dims)}, expected a grid over {dims}")
    check_span({d: solution[d].values for d in dims}, case.geometry)
    for d in dims:
        if solution.sizes.get(f"{d}_face", solution.sizes[d] + 1) != solution.sizes[d] + 1:
            raise InputError(f"audit: the solution is cut along {d}; expected a face more than cells")
    grid = Grid.from_centres(tuple(solution[a].values for a in dims[::-1]), case.geometry)
    fluid = fluid_cells(solution, case, grid)
    for name in case.problem.fields:
        found = solution.get(name.name)
        if found is not None and not np.isfinite(np.where(fluid, found.values, 0.0)).all():
            raise InputError(f"audit: {name.name} holds values that are not finite; audit the frames before them")
    body = embedded(case, grid)
    cut = fluid & cut_cells(case, grid, body)
    view = View(solution, case, grid, fluid, cut)
    chosen = view.choose(frames)
    rows: list[Defect] = []
    notes: list[str] = []
    if view.masked:
        notes.append(
            f"{fluid.size - int(fluid.sum())} of {fluid.size} cells are solid"
            + (f" and {int(cut.sum())} are cut by a boundary" if cut.any() else "")
            + ": control volumes that touch them are left out of the balances, and invariants are over the rest"
        )
    if case.problem.steady is False and view.rates_from is None:
        notes.append(view.why_no_rates)
    if isinstance(body, str):
        notes.append(f"values on bodies, and balances of the whole domain: not computed, {body}")
        body = None
    notes += [remark for remark in (view.forcing_remark, _closure(solution)) if remark]
    for name, balance in case.problem.balances().items():
        needed = fields_of(balance)
        absent = sorted(needed & set(missing))
        if absent:
            notes.append(f"{name}: not computed, the solution does not hold {', '.join(absent)}")
        elif balance.storage is not None and view.rates_from is None:
            between = audit_between(name, balance, view, body)
            rows += between
            left = "over the whole domain alone, between frames: others need" if between else "not computed, it needs"
            notes.append(f"{name}: {left} rates of change")
        else:
            found = audit_balance(name, balance, view, chosen)
            if body is not None:
                whole = audit_domain(name, balance, view, body, chosen)
                found += whole
                if len(whole) < len(balance.components()):
                    notes.append(f"{name} over the whole domain: not computed, what the body takes of it is not known")
            rows += found
            if not found:
                notes.append(f"{name}: not computed, every control volume touches a solid cell")
    for boundary in case.boundary_conditions:
        if boundary not in SIDES and boundary not in view.parts and (body is None or boundary not in body.names):
            notes.append(f"boundary values on {boundary}: not computed, it is no side of the grid")
    for boundary in back_flow(view, chosen):
        notes.append(
            f"fluid comes back through {boundary}: where it does, IncompressibleFlow holds the pressure at −½ρ(u·n)² "
            "instead of what is given, and that shows in p there and in the momentum beside it"
        )
    rows += audit_boundaries(view, chosen)
    if body is not None:
        rows += audit_walls(view, body, chosen)
    rows += audit_invariants(view)
    rows += [
        bounds_of(f.name, view.stored(f.name), *f.bounds, Grid(grid.faces, grid.periodic, view.wet), ROUNDINGS)
        for f in case.problem.fields
        if f.bounds is not None and f.name in view.fields
    ]
    return Audit(case.problem.name, case.label or repr(case), tuple(rows), tuple(notes), len(chosen))


def _closure(solution: xarray.Dataset) -> str:
    """What is to be said of a model of what the grid of the solver did not hold; "" where there was none."""
    try:
        found = json.loads(str(solution.attrs.get("settings", "{}")))
    except ValueError:
        return ""
    closure = found.get("closure") if isinstance(found, dict) else None
    if not isinstance(closure, dict):
        return ""
    name = closure.get("model", closure.get("name", "a closure"))
    return (
        f"the solver's model of what its grid does not hold ({name}) is no part of the equations: balances over "
        "control volumes smaller than the domain show its stresses, too, above their floor"
    )


def _some(solution: xarray.Dataset, frames: int | None) -> xarray.Dataset:
    """At most so many frames, evenly chosen, the first and the last among them."""
    count = solution.sizes.get("time", 1)
    if frames is None or count <= max(frames, 2):
        return solution
    chosen = np.unique(np.linspace(0, count - 1, max(frames, 2)).round().astype(int))
    return solution.isel(time=chosen)


def _in_order(solution: xarray.Dataset) -> xarray.Dataset:
    """Axes in the order time, z, y, x, each with increasing coordinates."""
    for name in (d for a in AXES for d in (a, f"{a}_face") if d in solution.dims):
        if name not in solution.coords:
            along = name.removesuffix("_face")
            if name != along and along in solution.coords and not np.all(np.diff(solution[along].values) > 0):
                raise InputError(
                    f"audit: {along} does not increase and {name} has no coordinates; sort both along {along}"
                )
            continue
        values = np.asarray(solution[name].values, dtype=np.float64)
        if not np.isfinite(values).all() or len(np.unique(values)) < len(values):
            raise InputError(f"audit: {name}: expected finite coordinates, each once, got {values}")
        if not np.all(np.diff(values) > 0):
            solution = solution.sortby(name)
    order = [d for a in reversed(AXES) for d in (a, f"{a}_face")]
    return solution.transpose("time", ..., *order, missing_dims="ignore")
