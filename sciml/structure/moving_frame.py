"""The frame that moves with an interface: positions and means across it.

The first coordinate of this frame is the signed distance from the interface, positive in the turbulent region.
Exponents of particles (`ftle`) do not change with the frame's translation or rotation; what the frame gives them is
where they are: conditional means across the interface, and seeds placed along its normals.

Source: D. K. Bisset, J. C. R. Hunt, M. M. Rogers, J. Fluid Mech. 451, 383 (2002); M. Holzner, A. Liberzon, N. Nikitin,
B. Lüthi, W. Kinzelbach, A. Tsinober, J. Fluid Mech. 598, 465 (2008).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.spatial import KDTree

from sciml.errors import InputError, is_number
from sciml.geometry import AXES
from sciml.structure.interpolation import Interpolant
from sciml.support import Grid

if TYPE_CHECKING:
    from jaxtyping import Float


def interface_frame(points: Float[np.ndarray, "point dimension"], surface: xr.Dataset) -> xr.Dataset:
    """Positions relative to an interface.

    Args:
        points: (N, D), anywhere; periodic axes wrap.
        surface: what `interface` gave.

    Returns:
        over "point": "distance" in m, signed, positive in the turbulent region, to second order in the grid's spacing;
        "foot", the number of the nearest node of the interface; "foot_x", ... its place. Where the surface ends (at an
        end of the domain) distances beside its edge are those to the edge.
    """
    d = _dimensions(surface)
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != d:
        raise InputError(f"points: expected shape (N, {d}), got {points.shape}")
    places, normals = _columns(surface, "", d), _columns(surface, "normal_", d)
    periods = np.asarray(surface.attrs["periods"], dtype=np.float64)
    wraps = np.isfinite(periods)
    tree, number = _tree(places, periods)
    low = places.min(0)
    at = np.where(wraps, low + np.mod(points - low, np.where(wraps, periods, 1.0)), points)
    away, k = tree.query(at)
    offset = at - np.asarray(tree.data)[k]
    foot = number[k]
    across = -(offset * normals[foot]).sum(1)
    beside = np.sqrt(np.maximum(away**2 - across**2, 0.0))
    # the nearest node lies within a cell of the foot, unless the surface ends there
    distance = np.where(beside < 2 * surface.attrs["spacing"], across, np.sign(across) * away)
    data: dict[str, Any] = {"distance": ("point", distance, {"units": "m", "long_name": "into the turbulent region"})}
    data["foot"] = ("point", foot, {"units": "1", "long_name": "nearest node of the interface"})
    for i, a in enumerate(AXES[:d]):
        data[f"foot_{a}"] = ("point", places[foot, i], {"units": "m"})
    return xr.Dataset(data)


def across_interface(
    surface: xr.Dataset, distances: Sequence[float] | np.ndarray, every: int = 1
) -> Float[np.ndarray, "node distance dimension"]:
    """Points along the normals of an interface, for instance as seeds of `ftle`.

    Args:
        distances: (M,) from the interface in m, positive into the turbulent region.
        every: take one node of so many.
    """
    d = _dimensions(surface)
    far = np.asarray(distances, dtype=np.float64)
    if far.ndim != 1 or not len(far) or not np.isfinite(far).all():
        raise InputError(f"distances: expected numbers, got {distances!r:.60}")
    places, normals = _columns(surface, "", d)[::every], _columns(surface, "normal_", d)[::every]
    return places[:, None] - far[None, :, None] * normals[:, None]


def conditional_profiles(
    solution: xr.Dataset,
    surface: xr.Dataset,
    fields: Sequence[str],
    distances: Sequence[float] | np.ndarray,
    *,
    grid: Grid | None = None,
    nearest: float = 0.8,
) -> xr.Dataset:
    """Means of any fields at a distance from the interface, along its normals, weighted by area.

    A point counts only where the interface that it belongs to is about the nearest one: where another fold of it is
    nearer than `nearest` times the distance, and outside of the domain, it is left out.

    Args:
        solution: what has the fields, at the time of the interface if it has times: the flow, `vortices` of it, or what
            `ftle` gave on a grid of seeds.
        surface: what `interface` gave.
        fields: names.
        distances: (M,) in m, positive into the turbulent region.
        grid: where values are, if the solution does not say so.

    Returns:
        over "distance": "<field>_mean", "<field>_std", and "share", of the interface that counted there.

    Raises:
        InputError: no such field, a solution without the interface's time.
    """
    if not is_number(nearest) or not 0 <= nearest <= 1:
        raise InputError(f"nearest: expected a number from 0 to 1, got {nearest!r}")
    names = [fields] if isinstance(fields, str) else list(fields)
    time = surface.attrs.get("time")
    span = None
    if "time" in solution.dims:
        if time is None:
            raise InputError("conditional_profiles: the fields have times, but the interface is of a steady flow")
        span = (time, time)
    made = Interpolant(solution, names, grid=grid, span=span)
    points = across_interface(surface, distances)
    flat = points.reshape(-1, points.shape[-1])
    values = made(flat, 0.0 if time is None else time).reshape(*points.shape[:2], len(names))
    far = np.abs(np.asarray(distances, dtype=np.float64))
    slack = 0.5 * surface.attrs["spacing"]
    tree, _ = _tree(_columns(surface, "", points.shape[-1]), np.asarray(surface.attrs["periods"]))
    wraps, low = np.isfinite(surface.attrs["periods"]), _columns(surface, "", points.shape[-1]).min(0)
    at = np.where(wraps, low + np.mod(flat - low, np.where(wraps, surface.attrs["periods"], 1.0)), flat)
    near = tree.query(at)[0].reshape(points.shape[:2])
    counts = (near >= nearest * far - slack) & np.isfinite(values).all(-1)
    for a, wrap in enumerate(made.grid.periodic):
        if not wrap:
            f = made.grid.faces[a]
            counts &= (points[..., a] >= f[0]) & (points[..., a] <= f[-1])
    weight = surface["area"].values[:, None] * counts
    total = weight.sum(0)
    data: dict[str, Any] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for i, n in enumerate(names):
            v = np.where(counts, values[..., i], 0.0)
            mean = (weight * v).sum(0) / total
            spread = np.sqrt((weight * (v - mean) ** 2).sum(0) / total)
            unit = str(solution[n].attrs.get("units", "1"))
            data[f"{n}_mean"] = ("distance", mean, {"units": unit, "long_name": f"mean of {n}"})
            data[f"{n}_std"] = ("distance", spread, {"units": unit, "long_name": f"standard deviation of {n}"})
    share = total / surface["area"].values.sum()
    data["share"] = ("distance", share, {"units": "1", "long_name": "share of the interface that counts"})
    note = {"units": "m", "long_name": "distance into the turbulent region"}
    return xr.Dataset(data, {"distance": ("distance", np.asarray(distances, dtype=np.float64), note)}, {})


def _dimensions(surface: xr.Dataset) -> int:
    if "normal_x" not in getattr(surface, "data_vars", ()) or "periods" not in surface.attrs:
        raise InputError("surface: expected what `interface` gave")
    return 3 if "normal_z" in surface else 2


def _columns(surface: xr.Dataset, head: str, d: int) -> np.ndarray:
    return np.stack([surface[f"{head}{a}"].values for a in AXES[:d]], axis=1)


def _tree(places: np.ndarray, periods: np.ndarray) -> tuple[KDTree, np.ndarray]:
    """All nodes and their images a period to either side, and whose image each is."""
    turns = [(-1, 0, 1) if np.isfinite(p) else (0,) for p in periods]
    shifts = [np.where(np.isfinite(periods), np.array(t) * np.where(np.isfinite(periods), periods, 0.0), 0.0)
              for t in itertools.product(*turns)]  # fmt: skip
    number = np.tile(np.arange(len(places)), len(shifts))
    return KDTree(np.concatenate([places + s for s in shifts])), number
