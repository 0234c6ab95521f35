"""The interface between turbulent and non-turbulent fluid: an isosurface of enstrophy ω² = ω_iω_i, and how it moves.

A surface element moves with u + v n, n its normal out of the turbulent region. On it ω² stays what it is, hence

    v = (Dω²/Dt) / |∇ω²|,    Dω²/Dt = 2 ω_iω_jS_ij + 2ν ω_i∇²ω_i    (constant density, no force)

is the entrainment velocity, positive where turbulence spreads into the fluid around it; its parts are the inertial one,
by stretching, and the viscous one. Holzner and Lüthi take the normal into the turbulent region, along ∇ω², and so have
−v. In solenoidal flow the turbulent volume grows by ∫ v dA.

Source: M. Holzner, B. Lüthi, Phys. Rev. Lett. 106, 134503 (2011); C. B. da Silva, J. C. R. Hunt, I. Eames,
J. Westerweel, Annu. Rev. Fluid Mech. 46, 567 (2014); D. K. Bisset, J. C. R. Hunt, M. M. Rogers, J. Fluid Mech. 451, 383
(2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciml.derivatives._stencils import fornberg
from sciml.errors import InputError, is_number
from sciml.geometry import AXES
from sciml.structure._flow import Flow, Walls, frame_at, read
from sciml.structure.gradient import Differences, velocity_gradient
from sciml.structure.interpolation import Interpolant
from sciml.structure.isosurface import isosurface
from sciml.structure.vortices import curl
from sciml.support import Grid

_FRAMES = 5  # of a derivative in time
_DECADES, _PER_DECADE = 8, 20  # of thresholds, below the largest enstrophy
_PLATEAU = 0.5  # decades over which the fraction should not change


def turbulent_fraction(solution: xr.Dataset, time: float | None = None, **where: Any) -> xr.Dataset:
    """The share of the volume in which ω² exceeds a threshold, and the threshold in the middle of its plateau.

    Where interface and noise are apart, the share hardly depends on the threshold. The plateau is where the share,
    between 1 % and 99 %, changes least over half a decade.

    Args:
        time: one of the solution's; the last one by itself.
        where: grid, velocity, walls as of `vortices`.

    Returns:
        over "threshold" (1/s²): "fraction" and "slope", its change over half a decade; the attributes "threshold" and
        "slope" of the plateau.

    Raises:
        InputError: no velocity, no vorticity, or no threshold that parts the volume.
    """
    flow, walls = _read("turbulent_fraction", solution, **where)
    enstrophy = _Frame(flow, frame_at("turbulent_fraction", flow, time), walls).enstrophy
    return _scan(enstrophy, flow.grid)


def _scan(enstrophy: np.ndarray, grid: Grid) -> xr.Dataset:
    weights = grid.weights()
    wet = (weights > 0) & np.isfinite(enstrophy)
    values, weights = enstrophy[wet], weights[wet]
    most = float(values.max())
    if most <= 0:
        raise InputError("interface: expected a flow with vorticity, got none")
    half = int(_PLATEAU * _PER_DECADE / 2)
    levels = most * 10.0 ** np.linspace(-_DECADES, 0, _DECADES * _PER_DECADE + 1)
    order = np.argsort(values)
    below = np.concatenate([[0.0], np.cumsum(weights[order])])
    fraction = 1 - below[np.searchsorted(values[order], levels, side="right")] / below[-1]
    slope = np.full(len(levels), np.nan)
    slope[half:-half] = fraction[: -2 * half] - fraction[2 * half :]
    parted = (fraction > 0.01) & (fraction < 0.99) & np.isfinite(slope)
    if not parted.any():
        raise InputError(
            "interface: threshold: there is none for which a share of the volume between 1 % and 99 % is turbulent; "
            "expected a flow that is turbulent in a part of it, or a threshold"
        )
    best = np.nanmin(slope[parted])
    ties = np.nonzero(parted & (slope <= best + 1e-12))[0]
    k = int(ties[len(ties) // 2])
    return xr.Dataset(
        {
            "fraction": ("threshold", fraction, {"units": "1", "long_name": "share of the volume above the threshold"}),
            "slope": ("threshold", slope, {"units": "1", "long_name": "its change over half a decade"}),
        },
        {"threshold": ("threshold", levels, {"units": "s-2", "long_name": "threshold of ω²"})},
        {"threshold": float(levels[k]), "slope": float(slope[k])},
    )


def interface(
    solution: xr.Dataset,
    threshold: float | None = None,
    time: float | None = None,
    *,
    viscosity: float | None = None,
    grid: Grid | None = None,
    velocity: Sequence[str] | None = None,
    walls: Walls | None = None,
) -> xr.Dataset:
    """The surface (line, in 2-D) ω² = threshold of one frame, and its velocity through the fluid.

    Args:
        solution: of any solver on a grid in 2 or 3 dimensions.
        threshold: of ω² in 1/s²; by itself in the middle of the plateau, see `turbulent_fraction`.
        time: one of the solution's; the last one by itself.
        viscosity: kinematic, in m²/s, constant; parts of the velocity need it.
        grid, velocity, walls: as of `vortices`.

    Returns:
        over "node": x, y, (z); "normal_x", ... out of the turbulent region; "area" of each node, so that ∫ f dA is
        Σ f · area; "velocity_x", ... of the fluid; "enstrophy_gradient" |∇ω²|;
        "entrainment_velocity" v from ∂ω²/∂t by differences of up to five frames (zero in steady flow) and u·∇ω²;
        with a viscosity its parts "entrainment_inertial" and "entrainment_viscous" from the balance, whose sum also is
        v where the solution has one frame alone. Over "cell": "connectivity". Attributes: "threshold", "time",
        "volume" in which ω² is larger (within the lattice of cell centres), "spacing" of the grid, "periods".

    Raises:
        InputError: a threshold that is nowhere crossed; one frame of an unsteady flow and no viscosity.
    """
    flow, walls = _read("interface", solution, grid=grid, velocity=velocity, walls=walls)
    if viscosity is not None and (not is_number(viscosity) or viscosity < 0):
        raise InputError(f"viscosity: expected a number ≥ 0 in m²/s, got {viscosity!r}")
    if flow.times is not None and flow.frames < 2 and viscosity is None:
        raise InputError("interface: expected two frames or more, or viscosity=, to tell how it moves; got one frame")
    k = frame_at("interface", flow, time)
    frame = _Frame(flow, k, walls)
    chosen: Any = _scan(frame.enstrophy, flow.grid).attrs["threshold"] if threshold is None else threshold
    if not is_number(chosen) or chosen <= 0:
        raise InputError(f"threshold: expected a number > 0 in 1/s², got {threshold!r}")
    level = float(chosen)
    slope = frame.enstrophy_gradient()
    surface = isosurface(frame.enstrophy, flow.grid, level, slope)
    d = flow.grid.dimensions
    wanted = {"slope": slope, "velocity": frame.velocity}
    if flow.times is None or flow.frames > 1:
        wanted["rate"] = (_rate(flow, k, walls) + (frame.velocity * slope).sum(0))[None]
    if viscosity is not None:
        wanted["inertial"], wanted["viscous"] = frame.stretching()[None], viscosity * frame.diffusion()[None]
    there = _at_nodes(surface.points, flow.grid, wanted)
    steepness, speed = there["slope"], there["velocity"]
    size = np.sqrt((steepness**2).sum(0))
    normal = -steepness / size
    data: dict[str, Any] = {}
    for a, n in zip(AXES, normal, strict=False):
        data[f"normal_{a}"] = (n, "1", f"normal out of the turbulent region, {a}")
    data["area"] = (surface.areas, "m" if d == 2 else "m2", "share of the interface")
    for a, u in zip(AXES, speed, strict=False):
        data[f"velocity_{a}"] = (u, "m s-1", f"velocity of the fluid, {a}")
    data["enstrophy_gradient"] = (size, "s-2 m-1", "|∇ω²|")
    moves = there["rate"][0] / size if "rate" in there else None
    if viscosity is not None:
        inertial, viscous = there["inertial"][0] / size, there["viscous"][0] / size
        moves = inertial + viscous if moves is None else moves
        data["entrainment_inertial"] = (inertial, "m s-1", "entrainment velocity by stretching")
        data["entrainment_viscous"] = (viscous, "m s-1", "entrainment velocity by viscosity")
    data["entrainment_velocity"] = (moves, "m s-1", "velocity of the interface through the fluid, along the normal")
    fields = {n: ("node", v, {"units": unit, "long_name": text}) for n, (v, unit, text) in data.items()}
    coords = {a: ("node", surface.points[:, i], {"units": "m"}) for i, a in enumerate(AXES[:d])}
    periods = [f[-1] - f[0] if p else np.inf for f, p in zip(flow.grid.faces, flow.grid.periodic, strict=True)]
    attrs = {
        "threshold": level,
        "volume": surface.volume,
        "spacing": float(max(w.max() for w in flow.grid.widths)),
        "periods": np.array(periods),
    }
    if flow.times is not None:
        attrs["time"] = float(flow.times[k])
    return xr.Dataset({**fields, "connectivity": (("cell", "vertex"), surface.cells)}, coords, attrs)


def _at_nodes(points: np.ndarray, grid: Grid, fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """name -> (components, N) of fields (components, *shape), by cubic splines."""
    parts = {f"{n}_{i}": (grid.dims, part) for n, v in fields.items() for i, part in enumerate(v)}
    found = dict(zip(parts, Interpolant(xr.Dataset(parts), list(parts), grid=grid)(points).T, strict=True))
    return {n: np.stack([found[f"{n}_{i}"] for i in range(len(v))]) for n, v in fields.items()}


def _read(what: str, solution: Any, **where: Any) -> tuple[Flow, Walls | None]:
    walls = where.pop("walls", None)
    flow = read(what, solution, **where)
    if flow.grid.dimensions not in (2, 3):
        raise InputError(f"{what}: expected a velocity in 2 or 3 dimensions, got {flow.grid.dimensions}")
    return flow, walls


class _Frame:
    """One frame and what is made of its velocity."""

    def __init__(self, flow: Flow, k: int, walls: Walls | None):
        self.rule, self.velocity = Differences(flow.grid), flow.velocity(k)
        self.gradient = velocity_gradient(self.velocity, flow.grid, walls, self.rule)
        self.vorticity = np.stack(list(curl(self.gradient).values()))
        self.enstrophy = (self.vorticity**2).sum(0)

    def enstrophy_gradient(self) -> np.ndarray:
        """∇ω² = 2 ω_i ∇ω_i (D, *shape): of ω_i, which a grid resolves better than its square."""
        return 2 * sum(w * self.rule.gradient(w) for w in self.vorticity)  # type: ignore[return-value]

    def stretching(self) -> np.ndarray:
        """2 ω_iω_jS_ij; nothing in plane flow."""
        if len(self.vorticity) == 1:
            return np.zeros_like(self.enstrophy)
        return 2 * np.einsum("i...,j...,ij...->...", self.vorticity, self.vorticity, self.gradient)

    def diffusion(self) -> np.ndarray:
        """2 ω_i∇²ω_i."""
        return 2 * sum(w * self.rule.laplacian(w) for w in self.vorticity)  # type: ignore[return-value]


def _rate(flow: Flow, k: int, walls: Walls | None) -> Any:
    """∂ω²/∂t by the polynomial through up to five frames."""
    if flow.times is None:
        return 0.0
    first = int(np.clip(k - _FRAMES // 2, 0, max(0, flow.frames - _FRAMES)))
    frames = range(first, min(first + _FRAMES, flow.frames))
    weights = fornberg(flow.times[frames.start : frames.stop], float(flow.times[k]), 1)
    return sum(w * _Frame(flow, n, walls).enstrophy for w, n in zip(weights, frames, strict=True) if w != 0)
