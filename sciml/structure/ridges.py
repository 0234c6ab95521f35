"""Ridges of a field between seeds: where it is largest across a direction.

At a ridge point  ξ·∇σ = 0  and  ξ·∇∇σ·ξ < 0,  ξ the direction of greatest stretching: material there is parted along ξ,
and the ridge runs across it.

Source: G. Haller, Physica D 240, 574 (2011), section 4; S. C. Shadden, F. Lekien, J. E. Marsden, Physica D 212, 271
(2005).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from sciml.errors import InputError, is_number
from sciml.geometry import AXES
from sciml.structure.gradient import Differences
from sciml.support import Grid


def ridges(
    found: xr.Dataset, *, threshold: float = 0.6, field: str = "ftle", smooth: float = 0.0, alignment: float = 0.0
) -> xr.Dataset:
    """Points, and in 2-D lines, of the ridges of finite-time Lyapunov exponents, between the seeds.

    ξ·∇σ is taken at seeds by central differences; along each line between neighbouring seeds, whose ξ are turned to the
    same side first (ξ and −ξ are one direction), its zero is found by linear interpolation.

    Args:
        found: what `ftle` gave on a `Grid` of seeds.
        threshold: ridges are kept where σ is at least this share of its maximum.
        field: another field of `found`, whose ridges along the same directions are asked for.
        smooth: standard deviation, in cells, of a Gaussian that σ is smoothed by before it is differentiated.
        alignment: least |cos| between ξ and the line between two seeds: 0 takes all zeros, 0.5 leaves out those found
            along lines that hardly cross the ridge, whose places are the least certain.

    Returns:
        over "node": x, y, (z); the field; "curvature" ξ·∇∇σ·ξ < 0; "normal_x", ... ξ. In 2-D "connectivity" (cell, 2):
        pieces of lines between nodes.

    Raises:
        InputError: seeds that are loose points, a field that is not there.
    """
    d = len([a for a in AXES if a in found.dims])
    need = [field, *(f"stretching_{a}" for a in AXES[:d])]
    missing = [n for n in need if n not in found]
    if d < 2 or missing:
        raise InputError(f"ridges: expected {', '.join(need)} on a grid of seeds, got {', '.join(map(str, found))}")
    if not is_number(threshold) or not 0 <= threshold < 1:
        raise InputError(f"threshold: expected a share of the maximum in [0, 1), got {threshold!r}")
    grid = _grid(found, d)
    dims = grid.dims
    sigma = found[field].transpose(*dims).values
    xi = np.stack([found[f"stretching_{a}"].transpose(*dims).values for a in AXES[:d]])
    good = np.isfinite(sigma)
    if not good.any():
        raise InputError(f"ridges: {field} has no finite value")
    level = threshold * float(sigma[good].max())
    slope, bend = _derivatives(sigma, good, grid, smooth)
    across = np.einsum("a...,a...->...", xi, slope)
    curvature = np.einsum("a...,ab...,b...->...", xi, bend, xi)
    fields = {"value": sigma, "curvature": curvature, "across": across, "xi": xi}
    nodes, edges = [], {}
    count = 0
    for axis in range(d):
        made = _crossings(fields, grid, axis, level, alignment)
        edges[axis] = np.full(made["shape"], -1)
        edges[axis][made["index"]] = count + np.arange(len(made["value"]))
        count += len(made["value"])
        nodes.append(made)
    x = np.concatenate([m["points"] for m in nodes])
    normal = np.concatenate([m["xi"] for m in nodes])
    unit = str(found[field].attrs.get("units", "1"))
    data: dict[str, Any] = {
        field: ("node", np.concatenate([m["value"] for m in nodes]), {"units": unit}),
        "curvature": ("node", np.concatenate([m["curvature"] for m in nodes]), {"units": f"{unit} m-2"}),
    }
    data |= {f"normal_{a}": ("node", normal[:, k], {"units": "1"}) for k, a in enumerate(AXES[:d])}
    if d == 2:
        data["connectivity"] = (("cell", "vertex"), _pieces(edges, grid, x))
    coords = {a: ("node", x[:, k], {"units": "m"}) for k, a in enumerate(AXES[:d])}
    return xr.Dataset(data, coords, {"threshold": level})


def _grid(found: xr.Dataset, d: int) -> Grid:
    periodic = np.asarray(found.attrs.get("periodic", np.zeros(d))).astype(bool)
    centres = tuple(np.asarray(found[a].values, dtype=np.float64) for a in AXES[:d])
    plain = Grid.from_centres(centres)
    return Grid(plain.faces, tuple(bool(p) for p in periodic), None, plain.at)


def _derivatives(sigma: np.ndarray, good: np.ndarray, grid: Grid, smooth: float) -> tuple[np.ndarray, np.ndarray]:
    """∇σ (D, *shape) and ∇∇σ (D, D, *shape) by three-point differences; NaN beside what is not known."""
    if smooth > 0:
        mode: Any = ["wrap" if p else "nearest" for p in reversed(grid.periodic)]
        weight = gaussian_filter(good.astype(float), smooth, mode=mode)
        filled = gaussian_filter(np.where(good, sigma, 0.0), smooth, mode=mode)
        sigma = np.where(good, filled / np.where(weight > 0, weight, 1.0), np.nan)
    known = None if good.all() else good
    # ridges are no smooth functions: neighbours, not Fourier modes
    rule = Differences(Grid(grid.faces, grid.periodic, known, grid.at), width=3, fourier=False)
    d = grid.dimensions
    slope = rule.gradient(sigma)
    bend = np.empty((d, d, *grid.shape))
    for i in range(d):
        bend[i, i] = rule(sigma, i, 2)
    for i, j in combinations(range(d), 2):
        bend[i, j] = bend[j, i] = rule(slope[i], j)
    return slope, bend


def _ahead(values: np.ndarray, axis: int, wraps: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values at the lower and at the upper end of each line between neighbours along an axis."""
    k = values.ndim - 1 - axis
    if wraps:
        return values, np.roll(values, -1, axis=k)
    n = values.shape[k]
    return np.take(values, range(n - 1), axis=k), np.take(values, range(1, n), axis=k)


def _crossings(fields: dict[str, np.ndarray], grid: Grid, axis: int, level: float, alignment: float) -> dict[str, Any]:
    wraps, d = grid.periodic[axis], grid.dimensions
    (a, b), (xa, xb) = (_ahead(fields[n], axis, wraps) for n in ("across", "xi"))
    side = np.where(np.einsum("a...,a...->...", xa, xb) < 0, -1.0, 1.0)
    b, xb = b * side, xb * side
    with np.errstate(divide="ignore", invalid="ignore"):
        share = a / (a - b)
        at = {n: (1 - share) * lo + share * hi for n in ("value", "curvature")
              for lo, hi in [_ahead(fields[n], axis, wraps)]}  # fmt: skip
        xi = (1 - share) * xa + share * xb
        xi = xi / np.sqrt((xi**2).sum(0))
    kept = (a * b <= 0) & (a != b) & (at["value"] >= level) & (at["curvature"] < 0)
    kept &= np.abs(xi[axis]) >= alignment
    index = np.nonzero(kept)
    points = np.empty((len(index[0]), d))
    for k in range(d):
        points[:, k] = grid.centres[k][index[d - 1 - k]]
    c, low = grid.centres[axis], index[d - 1 - axis]
    gaps = np.append(np.diff(c), grid.faces[axis][-1] - grid.faces[axis][0] - (c[-1] - c[0]))
    points[:, axis] += share[index] * gaps[low]
    return {
        "points": points, "index": index, "shape": kept.shape, "value": at["value"][index],
        "curvature": at["curvature"][index], "xi": xi[(slice(None), *index)].T,
    }  # fmt: skip


def _pieces(edges: dict[int, np.ndarray], grid: Grid, x: np.ndarray) -> np.ndarray:
    """(cell, 2) pieces: two crossings on the sides of one square of seeds are joined; of four the nearer pairs."""
    (low, high), (left, right) = (
        _ahead(edges[0], 1, grid.periodic[1]),
        _ahead(edges[1], 0, grid.periodic[0]),
    )
    sides = np.stack([low, high, left, right], axis=-1).reshape(-1, 4)
    count = (sides >= 0).sum(1)
    two = sides[count == 2]
    pairs = [np.sort(two, axis=1)[:, 2:]]
    for four in sides[count == 4]:
        ways = [((0, 2), (1, 3)), ((0, 3), (1, 2))]
        way = min(ways, key=lambda w: sum(np.linalg.norm(x[four[i]] - x[four[j]]) for i, j in w))
        pairs.append(four[np.array(way)])
    return np.concatenate(pairs).astype(np.int64)
