"""Finite-time Lyapunov exponents: how fast neighbours part.

σ(x₀) = 1/|T| ln √λ_max(FᵀF),  F = ∂x(t₀ + T; x₀)/∂x₀; T < 0 follows particles backward.

Source: S. C. Shadden, F. Lekien, J. E. Marsden, Physica D 212, 271 (2005); G. Haller, Physica D 149, 248 (2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from sciml.errors import InputError, is_number
from sciml.geometry import AXES
from sciml.structure._flow import Walls
from sciml.structure.gradient import Differences
from sciml.structure.trajectories import Domain, Landed, follow, velocity_of
from sciml.support import Grid

_SLACK = 0.01  # of a cell


def ftle(
    velocity: Any,
    times: tuple[float, float],
    seeds: Any,
    *,
    gradient: str = "auxiliary",
    spacing: float | None = None,
    domain: Grid | None = None,
    method: str = "rk45",
    tolerance: float = 1e-8,
    steps: int = 200,
    grid: Grid | None = None,
    names: Sequence[str] | None = None,
    walls: Walls | None = None,
) -> xr.Dataset:
    """The exponents of a flow between two times.

    Args:
        velocity: a solution of any solver on a grid, steady or over "time", which is interpolated by cubic splines in
            space and time (`Interpolant`); or a function of (N, D) points and a time that gives (N, D) velocities.
        times: from and to; to < from follows particles backward.
        seeds: a `Grid`, whose centres are the seeds; or (N, D) points, with gradient="auxiliary".
        gradient: "auxiliary": central differences of particles that start `spacing` beside each seed along each axis,
            of order `spacing`², however coarse the seeds are; "grid": differences between neighbouring seeds.
        spacing: distance of auxiliary particles, in m; by itself 10⁻⁴ of the smallest cell of `seeds` (10⁻⁵ of the box
            around them where they are points).
        domain: the box that particles of a velocity function may leave, and which axes are periodic; that of a
            solution is its grid's.
        method, tolerance, steps: of the integration, see `follow`.
        grid, names, walls: of a solution: where values are, names of the velocity's components, velocities at ends.

    Returns:
        over the axes of `seeds`, or "node": "ftle" in 1/s; "map_x", ... the final positions, not wrapped;
        "stretching_x", ... the unit vector at the start along which neighbours part most; "left": 1 where a particle,
        or one that its gradient needs, left the domain. With auxiliary particles such a seed stops with them, and the
        exponent is that of "time_inside"; with differences between seeds it is NaN.

    Raises:
        InputError: times outside of the solution's or a single frame; seeds outside of the domain.
    """
    if gradient not in ("auxiliary", "grid"):
        raise InputError(f"gradient: expected 'auxiliary' or 'grid', got {gradient!r}")
    given = {"grid": grid, "velocity": names, "walls": walls}
    if callable(velocity) and any(v is not None for v in given.values()):
        raise InputError("grid, names, walls: are of a solution, but velocity is a function")
    of_grid = isinstance(seeds, Grid)
    points = np.asarray(seeds.points() if of_grid else seeds, dtype=np.float64)
    if not of_grid and (points.ndim != 2 or points.shape[1] not in (2, 3) or not len(points)):
        raise InputError(f"seeds: expected a Grid or points (N, 2 or 3), got shape {points.shape}")
    if gradient == "grid" and not of_grid:
        raise InputError("gradient: 'grid' takes differences between seeds, but the seeds are loose points")
    rule, own = velocity_of(velocity, times, **{k: v for k, v in given.items() if v is not None})
    domain = own if own is not None else domain
    d = points.shape[-1]
    if domain is not None and domain.dimensions != d:
        raise InputError(f"seeds: expected seeds in {domain.dimensions} dimensions, got {d}")
    box = None if domain is None else Domain(domain.extents, domain.periodic, _slack(domain))
    flat = points.reshape(-1, d)
    if box is not None and (off := box.outside(flat)).any():
        spans = ", ".join(f"{a} from {low:g} to {high:g}" for a, (low, high) in zip(AXES, box.extents, strict=False))
        raise InputError(f"seeds: expected all within {spans}; {int(off.sum())} of {len(flat)} lie outside")
    settings: dict[str, Any] = {"domain": box, "method": method, "tolerance": tolerance, "steps": steps}
    if gradient == "grid":
        landed = follow(rule, flat[:, None], times, **settings)
        f, left = _between_seeds(landed, seeds)
    else:
        step = _spacing(spacing, seeds, flat)
        offsets = step * np.concatenate([np.zeros((1, d)), np.eye(d), -np.eye(d)])
        begun = _within(flat[:, None] + offsets, box)
        landed = follow(rule, begun, times, **settings)
        width = np.stack([begun[:, 1 + j, j] - begun[:, 1 + d + j, j] for j in range(d)], axis=1)
        f = (landed.points[:, 1 : 1 + d] - landed.points[:, 1 + d :]).swapaxes(1, 2) / width[:, None]
        left = landed.left
    return _labelled(f, landed, left, seeds if of_grid else flat, times, own)


def _slack(domain: Grid) -> tuple[float, ...]:
    return tuple(_SLACK * float(min(w[0], w[-1])) for w in domain.widths)


def _spacing(spacing: float | None, seeds: Any, flat: np.ndarray) -> float:
    if spacing is not None:
        if not is_number(spacing) or spacing <= 0:
            raise InputError(f"spacing: expected a number > 0, got {spacing!r}")
        return float(spacing)
    if isinstance(seeds, Grid):
        return 1e-4 * float(min(w.min() for w in seeds.widths))
    return 1e-5 * (float(np.ptp(flat, axis=0).max()) or 1.0)


def _within(points: np.ndarray, box: Domain | None) -> np.ndarray:
    """Auxiliary particles of a seed on an end of the domain start at that end: a one-sided difference."""
    if box is None:
        return points
    ends = [(-np.inf, np.inf) if wraps else e for e, wraps in zip(box.extents, box.periodic, strict=True)]
    low, high = np.array(ends).T
    return np.clip(points, low, high)


def _between_seeds(landed: Landed, seeds: Grid) -> tuple[np.ndarray, np.ndarray]:
    """(N, D, D) gradient of the map between the seeds of a grid, and whose stencil has a particle that left."""
    d, shape = seeds.dimensions, seeds.shape
    moved = (landed.points[:, 0] - seeds.points().reshape(-1, d)).T.reshape(d, *shape)
    lost = landed.left.reshape(shape)
    inside = ~lost if seeds.inside is None else seeds.inside & ~lost
    if not inside.any():
        return np.full((landed.left.size, d, d), np.nan), np.ones(landed.left.size, bool)
    # neighbours, not Fourier modes: the map need not be smooth on the seeds
    rule = Differences(Grid(seeds.faces, seeds.periodic, inside, seeds.at), width=3, fourier=False)
    f = np.stack([rule.gradient(m) for m in moved])  # (component, axis, *shape)
    f = f.reshape(d, d, -1).transpose(2, 0, 1) + np.eye(d)
    return f, lost.reshape(-1) | ~np.isfinite(f).all((1, 2))


def _labelled(f: np.ndarray, landed: Landed, left: np.ndarray, seeds: Any, times: Any, own: Grid | None) -> xr.Dataset:
    d = f.shape[-1]
    known = np.isfinite(f).all((1, 2)) & (landed.elapsed > 0)
    _, s, vt = np.linalg.svd(np.where(known[:, None, None], f, np.eye(d)))
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.where(known, np.log(s[:, 0]) / landed.elapsed, np.nan)
    direction = np.where(known[:, None], vt[:, 0], np.nan)
    if isinstance(seeds, Grid):
        dims, shape = seeds.dims, seeds.shape
        coords = {a: (a, c, {"units": "m"}) for a, c in zip(AXES, seeds.centres, strict=False)}
    else:
        dims, shape = ("node",), (len(seeds),)
        coords = {a: ("node", seeds[:, k], {"units": "m"}) for k, a in enumerate(AXES[:d])}
    way = "forward" if times[1] > times[0] else "backward"

    def field(values: np.ndarray, unit: str, text: str) -> tuple[Any, np.ndarray, dict[str, str]]:
        return dims, values.reshape(shape), {"units": unit, "long_name": text}

    fields = {"ftle": field(exponent, "s-1", f"finite-time Lyapunov exponent, {way}")}
    for k, a in enumerate(AXES[:d]):
        fields[f"map_{a}"] = field(landed.points[:, 0, k], "m", f"final {a}")
    for k, a in enumerate(AXES[:d]):
        fields[f"stretching_{a}"] = field(direction[:, k], "1", f"direction of greatest stretching, {a}")
    fields["time_inside"] = field(landed.elapsed, "s", "time that was followed")
    fields["left"] = field(left.astype(np.uint8), "1", "whether a particle left the domain")
    if isinstance(seeds, Grid) and seeds.mask is not None:
        fields["mask"] = (dims, seeds.mask, {"units": "1"})
    attrs: dict[str, Any] = {"from": float(times[0]), "to": float(times[1]), "steps": landed.steps}
    if isinstance(seeds, Grid):
        attrs["periodic"] = np.array(seeds.periodic, dtype=np.uint8)
    return xr.Dataset(fields, coords, attrs)
