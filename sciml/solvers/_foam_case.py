"""Case files of icoFoam and interFoam, from a case of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sciml.boundary import Condition, Dirichlet, Outflow, Periodic
from sciml.errors import InputError, suggest
from sciml.geometry import SIDES
from sciml.problem import Case
from sciml.solvers._foam_files import entry, put, rows
from sciml.solvers._foam_mesh import FRONT_AND_BACK, Mesh, Patch
from sciml.solvers._side_values import check_ends, values_in_time
from sciml.support import Grid

VELOCITY, KINEMATIC, PRESSURE, NONE = "[0 1 -1 0 0 0 0]", "[0 2 -2 0 0 0 0]", "[1 -1 -2 0 0 0 0]", "[0 0 0 0 0 0 0]"


@dataclass(frozen=True)
class Options:
    """How a case is solved, see `OpenFOAM`."""

    cfl: float
    time_step: float | None
    time_scheme: str
    convection: str
    correctors: int
    tolerance: float
    pressure: str = "GAMG"
    skewed: int = 1  # times that the pressure is solved again on cells that are not at right angles
    predictor: bool | None = None  # whether the momentum is solved for before the pressure; None: of one fluid
    program: str | None = None  # None: icoFoam, of two fluids interFoam; interIsoFoam knows the same files
    implicit: bool = True  # interFoam's α: an implicit step that is corrected, or an explicit one alone


@dataclass(frozen=True)
class Side:
    """A patch and what is given on it.

    Args:
        knots, values: (K,) times and (K, edge, 2) velocities; of open and periodic patches none.
        alpha: of what comes in.
    """

    patch: Patch
    knots: np.ndarray
    values: np.ndarray
    alpha: float = 0.0

    @property
    def given(self) -> bool:
        return len(self.knots) > 0


def sides(case: Case, mesh: Mesh, shape: tuple[int, int], times: Any, begun: float = 0.0) -> list[Side]:
    """What is given on each patch.

    Raises:
        InputError: conditions that are not supported, or more fluid that comes in than can go out.
    """
    conditions, name = case.boundary_conditions, case.problem.name
    known = [patch.part for patch in mesh.patches]
    for key in conditions:
        if key not in known and key not in case.geometry.boundaries:
            raise InputError(f"{name}: {key}: no boundary is called that{suggest(key, known)}")
    if mesh.places is not None:
        grid = Grid.uniform(case.geometry, shape)
        for wall in ("x_min", "x_max", "y_min", "y_max"):
            check_ends(name, list(case.geometry.boundaries.values()), grid, wall)
    found = [_side(case, mesh, patch, shape, times, begun) for patch in mesh.patches]
    if all(side.given or side.patch.partner for side in found):
        _check_closed(name, mesh, found)
    return found


def _side(case: Case, mesh: Mesh, patch: Patch, shape: tuple[int, int], times: Any, begun: float) -> Side:
    name, here = case.problem.name, case.boundary_conditions.get(patch.part, {})
    nothing = np.zeros(0), np.zeros((0, patch.count, 2))
    if patch.partner:
        if not all(isinstance(c, Periodic) for c in here.values()):
            raise InputError(f"{name}: {patch.part} is periodic, expected no condition on it")
        return Side(patch, *nothing)
    is_open = all(isinstance(here.get(f), Outflow) for f in ("u", "v"))
    if not is_open and not all(f in here and here[f].given for f in ("u", "v")):
        got = ", ".join(f"{f}: {here.get(f)}" for f in ("u", "v"))
        raise InputError(f"{name}: {patch.part}: expected the velocity (Dirichlet) or Outflow, for both, got {got}")
    pressure = here.get("p", Dirichlet(0.0))
    if is_open and not pressure.zero:
        raise InputError(f"{name}: p on {patch.part}, which is open: expected Dirichlet(0), got {pressure}")
    if not is_open and "p" in here:
        raise InputError(f"{name}: p on {patch.part}: expected no pressure but where it is open, got {pressure}")
    alpha = here.get("alpha")
    share = alpha.value if alpha is not None and alpha.given else 0.0
    if callable(share) or np.ndim(share) or not 0 <= float(share) <= 1:  # type: ignore[arg-type]
        raise InputError(f"{name}: alpha on {patch.part}: expected one number in [0, 1], got {share!r}")
    if is_open:
        return Side(patch, *nothing, float(share))  # type: ignore[arg-type]
    pairs = [_over(case, here[f], mesh, patch, shape, times, begun) for f in ("u", "v")]
    knots = np.unique(np.concatenate([k for k, _ in pairs]))
    if len(knots) > 1 and knots[0] > begun:  # lists along a patch have to begin before the run does
        knots = np.concatenate([[begun], knots])
    values = [np.stack([np.interp(knots, k, column) for column in v.T], axis=1) for k, v in pairs]
    return Side(patch, knots, np.stack(values, axis=-1), float(share))  # type: ignore[arg-type]


def _over(
    case: Case, condition: Condition, mesh: Mesh, patch: Patch, shape: tuple[int, int], times: Any, begun: float
) -> tuple[np.ndarray, np.ndarray]:
    """Knots (K,) and means over the edges (K, edge), by Simpson's rule."""
    ends = mesh.points[mesh.edges[patch.edges]]
    n, middles = patch.count, ends.mean(1)
    points = np.concatenate([ends[:, 0], middles, ends[:, 1]])
    knots, values = values_in_time(condition, times, begun, case.scales.time, points)
    if isinstance(condition.value, np.ndarray) and condition.value.ndim:
        values = _along(case, values[0], patch, middles, shape)[None]
    elif values.ndim == 2:
        values = (values[:, :n] + 4 * values[:, n : 2 * n] + values[:, 2 * n :]) / 6
    else:
        values = np.repeat(values[:, None], n, axis=1)
    return knots, values


def _along(case: Case, values: np.ndarray, patch: Patch, middles: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values at the edges of a side, from those at the grid's cells along it, or equally spaced from end to end."""
    if patch.part not in SIDES:
        raise InputError(f"{case.problem.name}: {patch.part}: an array is for a whole side, expected a function")
    axis = 1 - SIDES[patch.part][0]
    low, high = case.geometry.extents[axis]
    n = len(values)
    have = (np.arange(n) + 0.5) / n if n == shape[1 - axis] else np.linspace(0, 1, n)
    return np.interp((middles[:, axis] - low) / (high - low), have, values)


def _check_closed(name: str, mesh: Mesh, found: list[Side]) -> None:
    given = [side for side in found if side.given]
    if not given:
        return
    times = np.unique(np.concatenate([side.knots for side in given]))
    total, size = np.zeros(len(times)), np.zeros(len(times))
    for side in given:
        flux = (side.values * mesh.normals[side.patch.edges]).sum((1, 2))
        flux = np.interp(times, side.knots, flux)
        total, size = total + flux, size + np.abs(flux)
    if np.any(np.abs(total) > 1e-6 * np.maximum(size, 1e-300)):
        k = int(np.argmax(np.abs(total)))
        raise InputError(
            f"{name}: at t = {times[k]:g} the box loses {total[k]:.3g} m²/s and has no open end; expected an Outflow"
        )


# -- files ----------------------------------------------------------------------------------------------------------


def instant(time: float) -> str:
    """What the folder of a time is called."""
    return f"{time:.15g}"


def write(folder: Path, case: Case, mesh: Mesh, found: list[Side], options: Options, two: bool) -> None:
    """Mesh, properties, schemes and solvers."""
    mesh.write(folder)
    value = case.parameters
    if two:
        fluids = [
            f"{name} {{ transportModel Newtonian; nu {value[mu] / value[rho]!r}; rho {value[rho]!r}; }}\n"
            for name, mu, rho in (("water", "viscosity", "density"), ("air", "air_viscosity", "air_density"))
        ]
        text = f"phases (water air);\n{''.join(fluids)}sigma 0;\n"
        down = -float(value.get("gravity", 0.0))
        put(folder, "constant/g", "uniformDimensionedVectorField",
            f"dimensions [0 1 -2 0 0 0 0];\nvalue (0 {down!r} 0);\n")  # fmt: skip
        put(folder, "constant/turbulenceProperties", "dictionary", "simulationType laminar;\n")
    else:
        text = f"nu [0 2 -1 0 0 0 0] {value['viscosity'] / value['density']!r};\n"
    put(folder, "constant/transportProperties", "dictionary", text)
    put(folder, "system/fvSchemes", "dictionary", _schemes(mesh, options, two))
    solvers(folder, mesh, options, two)
    for side in found:
        if side.given and len(side.knots) > 1 and _in_space(side):
            _mapped(folder, mesh, side)


def _schemes(mesh: Mesh, options: Options, two: bool) -> str:
    straight = "orthogonal" if mesh.places is not None else "corrected"
    divergences = f"div(phi,U) Gauss {options.convection};"
    if two:
        divergences = (
            f"div(rhoPhi,U) Gauss {options.convection}; div(phi,alpha) Gauss vanLeer; div(phirb,alpha) Gauss linear; "
            "div(((rho*nuEff)*dev2(T(grad(U))))) Gauss linear;"
        )
    return f"""ddtSchemes {{ default {options.time_scheme}; }}
gradSchemes {{ default Gauss linear; }}
divSchemes {{ default none; {divergences} }}
laplacianSchemes {{ default Gauss linear {straight}; }}
interpolationSchemes {{ default linear; }}
snGradSchemes {{ default {straight}; }}
"""


def solvers(folder: Path, mesh: Mesh, options: Options, two: bool) -> None:
    put(folder, "system/fvSolution", "dictionary", _solvers(mesh, options, two))


def _solvers(mesh: Mesh, options: Options, two: bool) -> str:
    # on cells that are not at right angles the rest of the gradient is brought in by a second solution
    again, tolerance = options.skewed * (mesh.places is None), options.tolerance
    control = f"nCorrectors {options.correctors}; nNonOrthogonalCorrectors {again};"
    velocity = f"solver smoothSolver; smoother symGaussSeidel; tolerance {tolerance / 10:g}; relTol 0;"
    by = "smoother DICGaussSeidel" if options.pressure == "GAMG" else "preconditioner DIC"
    pressure = f"solver {options.pressure}; {by}; tolerance {tolerance:g}; relTol 0.01;"
    predictor = "yes" if (not two if options.predictor is None else options.predictor) else "no"
    if not two:
        return f"""solvers {{
  p {{ {pressure} }}
  pFinal {{ $p; relTol 0; }}
  U {{ {velocity} }}
}}
PISO {{ momentumPredictor {predictor}; {control} pRefCell 0; pRefValue 0; }}
"""
    water = f"nAlphaCorr 2; cAlpha 1; MULESCorr {'yes' if options.implicit else 'no'}; nLimiterIter 5; {velocity}"
    if options.program == "interIsoFoam":
        water = "isoFaceTol 1e-6; surfCellTol 1e-6; nAlphaBounds 3; snapTol 1e-12; clip true; cAlpha 1;"
    return f"""solvers {{
  "alpha.water.*" {{ nAlphaSubCycles 1; {water} }}
  "pcorr.*" {{ solver GAMG; smoother DICGaussSeidel; tolerance 1e-6; relTol 0; }}
  p_rgh {{ {pressure} }}
  p_rghFinal {{ $p_rgh; relTol 0; }}
  "U.*" {{ {velocity} }}
}}
PIMPLE {{ momentumPredictor {predictor}; nOuterCorrectors 1; {control} pRefCell 0; pRefValue 0; }}
"""


def _in_space(side: Side) -> bool:
    return bool(np.any(side.values != side.values[:, :1]))


def _mapped(folder: Path, mesh: Mesh, side: Side) -> None:
    """Values that change in time and along a patch: one list for each knot, without headers."""
    place = folder / "constant" / "boundaryData" / side.patch.name
    place.mkdir(parents=True)
    middles = mesh.middles[side.patch.edges]
    (place / "points").write_text(rows(_space(middles, mesh.depth / 2)))
    for knot, values in zip(side.knots, side.values, strict=True):
        (place / instant(float(knot))).mkdir()
        (place / instant(float(knot)) / "U").write_text(rows(_space(values)))


def _space(values: np.ndarray, third: float = 0.0) -> np.ndarray:
    """(n, 3) from (n, 2)."""
    return np.column_stack([values, np.full(len(values), third)])


def velocity_on(side: Side) -> str:
    if side.patch.partner:
        return "type cyclic;"
    if not side.given:
        return "type pressureInletOutletVelocity; value uniform (0 0 0);"
    if not np.any(side.values):
        return "type noSlip;"
    if len(side.knots) == 1 or not np.any(side.values != side.values[:1]):
        return f"type fixedValue; value {entry(_space(side.values[0]))};"
    if not _in_space(side):
        table = " ".join(
            f"({t!r} ({u!r} {v!r} 0))"
            for t, (u, v) in zip(side.knots.tolist(), side.values[:, 0].tolist(), strict=True)
        )
        return f"type uniformFixedValue; uniformValue table ({table});"
    return "type timeVaryingMappedFixedValue; mapMethod nearest; setAverage off; offset (0 0 0);"


def _through(mesh: Mesh, side: Side) -> bool:
    """Whether fluid goes through a patch at some time."""
    across = np.abs((side.values * mesh.normals[side.patch.edges]).sum(-1))
    return bool(np.any(across > 1e-12 * np.abs(side.values).max(initial=0.0) * mesh.depth))


def start(
    folder: Path, time: float, case: Case, mesh: Mesh, found: list[Side], state: Mapping[str, np.ndarray], two: bool
) -> None:
    """The fields at a time, from "velocity" (cell, 2), and "alpha" (cell,) where there are two fluids."""

    def field(name: str, kind: str, dimensions: str, values: np.ndarray, on: Any) -> None:
        parts = "\n".join(f"  {side.patch.name} {{ {on(side)} }}" for side in found)
        cls = f"vol{kind.capitalize()}Field"
        put(
            folder, f"{instant(time)}/{name}", cls,
            f"dimensions {dimensions};\ninternalField {entry(values)};\nboundaryField {{\n{parts}\n"
            f"  {FRONT_AND_BACK} {{ type empty; }}\n}}\n",
        )  # fmt: skip

    field("U", "vector", VELOCITY, _space(state["velocity"]), velocity_on)
    nowhere = np.zeros(len(mesh.cells))
    if not two:
        is_open = not all(side.given or side.patch.partner for side in found)

        def pressure(side: Side) -> str:
            if side.patch.partner:
                return "type cyclic;"
            if not side.given:  # where fluid comes back p = −½ρ(u·n)², as with `IncompressibleFlow`
                return "type totalPressure; p0 uniform 0; value uniform 0;"
            if is_open and _through(mesh, side):  # fluid that comes in faster and faster is pushed
                return "type fixedFluxExtrapolatedPressure; value uniform 0;"
            return "type zeroGradient;"

        field("p", "scalar", KINEMATIC, nowhere, pressure)
        return

    def fraction(side: Side) -> str:
        if side.patch.partner:
            return "type cyclic;"
        if not side.given:
            return f"type inletOutlet; inletValue uniform {side.alpha!r}; value uniform {side.alpha!r};"
        return f"type fixedValue; value uniform {side.alpha!r};" if _through(mesh, side) else "type zeroGradient;"

    def above(side: Side) -> str:
        if side.patch.partner:
            return "type cyclic;"
        if side.given:
            return "type fixedFluxPressure; value uniform 0;"
        outside = air_at_rest(case, mesh.middles[side.patch.edges])
        return f"type prghPressure; p {entry(outside)}; value uniform 0;"

    field("alpha.water", "scalar", NONE, state["alpha"], fraction)
    field("p_rgh", "scalar", PRESSURE, nowhere, above)


def air_at_rest(case: Case, points: np.ndarray) -> np.ndarray:
    """The hydrostatic pressure of air, Pa, from which ours is counted: p_rgh + ρ g·x less this is ours."""
    weight = float(case.parameters["air_density"] * case.parameters.get("gravity", 0.0))
    return -weight * points[:, 1]


def control(
    folder: Path,
    program: str,
    start: str,
    end: float,
    step: float,
    interval: float,
    adjustable: tuple[float, float] | None,
) -> None:
    """Times of a run, and which of them are written.

    Args:
        start: the name of the folder that it starts from.
        adjustable: the largest Courant number and step; None where steps are as given.
    """
    most, longest = (1.0, step) if adjustable is None else adjustable  # interFoam reads them in any case
    much = f"maxCo {most!r}; maxAlphaCo {most!r}; maxDeltaT {longest!r};"
    much += f" adjustTimeStep {'no' if adjustable is None else 'yes'};"
    put(
        folder, "system/controlDict", "dictionary",
        f"""application {program};
startFrom startTime; startTime {start}; stopAt endTime; endTime {end!r};
deltaT {step!r}; {much}
writeControl {"runTime" if adjustable is None else "adjustableRunTime"}; writeInterval {interval!r}; purgeWrite 0;
writeFormat binary; writePrecision 15; writeCompression off; timeFormat general; timePrecision 15;
runTimeModifiable false;
""",
    )  # fmt: skip


def groups(begun: float, times: np.ndarray) -> list[tuple[float, float, int]]:
    """Requested times after the start as runs of equal distances: (start, distance, how many)."""
    later = times[times > begun + 1e-12 * max(abs(begun), 1e-300)]
    found: list[tuple[float, float, int]] = []
    previous = begun
    for time in later.tolist():
        gap = time - previous
        if found and math.isclose(found[-1][1], gap, rel_tol=1e-9):
            first, distance, count = found[-1]
            found[-1] = (first, distance, count + 1)
        else:
            found.append((previous, gap, 1))
        previous = time
    return found
