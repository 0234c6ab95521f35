"""Coherent structures: ridges of finite-time Lyapunov exponents of the double gyre against its invariant manifolds.

ψ = A sin(π f(x, t)) sin(π y),  f = ε sin(ωt) x² + (1 − 2ε sin(ωt)) x,  on [0, 2] × [0, 1];  A = 0.1, ε = 0.25,
ω = 2π/10.

The reference owes nothing to exponents: on each wall an orbit of the period 10 repels along the wall and attracts from
the inside (y = 0), or the other way about (y = 1). It is found by iteration of the Poincaré map along the wall, in the
direction of time in which the map contracts. The stable (unstable) manifold at the time t is a short piece of the
normal through that orbit at t + D (t − D), followed back (on) to t by an independent integrator (SciPy's DOP853 at
10⁻¹²); new points go in where neighbours have come further apart than `gap`.

Source: S. C. Shadden, F. Lekien, J. E. Marsden, Physica D 212, 271 (2005).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.spatial import KDTree

from sciml import structure
from sciml.support import Grid

A, EPSILON, OMEGA, PERIOD = 0.1, 0.25, 2 * np.pi / 10, 10.0
DURATION = 15.0
SEEDS = (50, 100, 200)  # along the height
DATA = 64  # cells of the sampled velocity along the height
THRESHOLD = 0.8
#: how the flow map is differentiated: between seeds, or by particles beside them, how many cells of seeds away
GRADIENTS = (("half a cell", 0.5), ("close", None), ("between seeds", None))
HEIGHT = 1.0  # the shorter side: distances are shares of it


def velocity(x: np.ndarray, t: float) -> np.ndarray:
    """(N, 2)."""
    a = EPSILON * np.sin(OMEGA * t)
    f, slope = a * x[:, 0] ** 2 + (1 - 2 * a) * x[:, 0], 2 * a * x[:, 0] + 1 - 2 * a
    along = -np.pi * A * np.sin(np.pi * f) * np.cos(np.pi * x[:, 1])
    return np.stack([along, np.pi * A * np.cos(np.pi * f) * np.sin(np.pi * x[:, 1]) * slope], 1)


def box(n: int) -> Grid:
    """n by 2n cells."""
    return Grid((np.linspace(0, 2, 2 * n + 1), np.linspace(0, 1, n + 1)))


def sampled(n: int, times: np.ndarray) -> tuple[xr.Dataset, Grid]:
    """The velocity at cell centres and times, as a solver would give it."""
    grid = box(n)
    frames = np.stack([velocity(grid.points().reshape(-1, 2), t).T.reshape(2, *grid.shape) for t in times], axis=1)
    coords = {"time": times, "x": grid.centres[0], "y": grid.centres[1]}
    return xr.Dataset({n: (("time", "y", "x"), v) for n, v in zip("uv", frames, strict=True)}, coords), grid


def places(ridge: xr.Dataset) -> np.ndarray:
    return np.stack([ridge.x.values, ridge.y.values], 1)


def march(x: np.ndarray, start: float, end: float, tolerance: float = 1e-12) -> np.ndarray:
    def rate(t: float, y: np.ndarray) -> np.ndarray:
        return velocity(y.reshape(-1, 2), t).ravel()

    done = solve_ivp(rate, (start, end), np.ravel(x), method="DOP853", rtol=tolerance, atol=tolerance)
    return done.y[:, -1].reshape(-1, 2)


def hyperbolic(at: float, forward: bool) -> tuple[np.ndarray, float]:
    """Place at a time of the orbit on the wall whose stable (forward) or unstable manifold enters the gyres, and by how
    much it fails to return."""
    wall = 0.0 if forward else HEIGHT
    way = -PERIOD if forward else PERIOD
    x, defect = np.array([1.0, wall]), np.inf
    for _ in range(40):
        new = march(x, at, at + way)[0]
        defect, x = float(np.abs(new - x).max()), np.array([new[0], wall])
        if defect < 1e-12:
            break
    return x, defect


def manifold(at: float, forward: bool, duration: float = 20.0, length: float = 1e-2, gap: float = 2e-3) -> np.ndarray:
    """(N, 2) points in order along the stable (forward) or unstable manifold at a time.

    Args:
        duration: for how long the piece of the normal is followed.
        length: of that piece.
        gap: between neighbours, at most.
    """
    later = at + (duration if forward else -duration)
    orbit, defect = hyperbolic(later, forward)
    if defect > 1e-10:
        raise RuntimeError(f"the orbit was found to {defect:.1e} alone")
    side = 1.0 if forward else -1.0

    def piece(s: np.ndarray) -> np.ndarray:
        return march(np.stack([np.full_like(s, orbit[0]), orbit[1] + side * s], 1), later, at)

    s = np.linspace(0, length, 20)
    x = piece(s)
    for _ in range(40):
        apart = np.linalg.norm(np.diff(x, axis=0), axis=1)
        wide = np.nonzero(apart > gap)[0]
        if not len(wide):
            return x
        share = np.array([0.25, 0.5, 0.75])
        new = (s[wide, None] + (s[wide + 1] - s[wide])[:, None] * share).ravel()
        order = np.argsort(np.concatenate([s, new]), kind="stable")
        s, x = np.concatenate([s, new])[order], np.concatenate([x, piece(new)])[order]
    raise RuntimeError(f"points of the manifold stay more than {gap:g} apart")


def exponents(what: Any, grid: Grid, forward: bool, n: int, way: str, beside: float | None) -> xr.Dataset:
    """Over n by 2n seeds, of a function or of data on a grid."""
    given: dict[str, Any] = {"domain" if callable(what) else "grid": grid}
    if way == "between seeds":
        given["gradient"] = "grid"
    elif beside is not None:
        given["spacing"] = beside / n
    return structure.ftle(what, (0.0, DURATION if forward else -DURATION), box(n), **given)


def double_gyre(seeds: tuple[int, ...] = SEEDS, data: int = DATA) -> dict[str, Any]:
    """How far ridges lie from the manifolds.

    Returns:
        "rows": one for each direction of time, velocity (the function, or data on 2 `data` by `data` cells every half a
        second), way to differentiate the flow map and seeds along the height. Distances are in heights of the domain,
        of ridge points with σ at least `THRESHOLD` of its maximum; `random_distance_mean` is what points anywhere have;
        `manifold_within_a_cell` the share of the manifold that has a ridge point within a cell of seeds.
        "error": the largest distance of any row with the most seeds; "means": of these rows; "note": one line on both.
    """
    rows: list[dict[str, Any]] = []
    frames, grid = sampled(data, np.linspace(-DURATION, DURATION, 61))
    anywhere = np.random.default_rng(0).uniform(size=(4000, 2)) * [2.0, 1.0]
    for forward in (True, False):
        _, defect = hyperbolic(0.0, forward)
        line = manifold(0.0, forward)
        tree = KDTree(line)
        for source in ("function", f"data on {2 * data} x {data} cells"):
            for way, beside in GRADIENTS:
                if source != "function" and way == "close":  # as many evaluations as half a cell, and no other answer
                    continue
                for n in seeds:
                    begun = time.perf_counter()
                    found = exponents(velocity if source == "function" else frames, grid, forward, n, way, beside)
                    seconds = time.perf_counter() - begun
                    points = places(structure.ridges(found, threshold=THRESHOLD))
                    off = tree.query(points)[0] / HEIGHT
                    rows.append({
                        "table": "double gyre", "direction": "forward" if forward else "backward",
                        "velocity": source, "flow_map_gradient": way, "seeds_along_height": n,
                        "ridge_points": len(points), "distance_mean": float(off.mean()),
                        "distance_quantile_95": float(np.quantile(off, 0.95)), "distance_max": float(off.max()),
                        "random_distance_mean": float(tree.query(anywhere)[0].mean() / HEIGHT),
                        "manifold_within_a_cell": float((KDTree(points).query(line)[0] <= 1 / n).mean()),
                        "manifold_length": float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() / HEIGHT),
                        "orbit_defect": defect, "ftle_max_per_second": float(found.ftle.max()),
                        "time_seconds": seconds,
                    })  # fmt: skip
    finest = [r for r in rows if r["seeds_along_height"] == max(seeds)]
    return {
        "rows": rows,
        "error": max(r["distance_max"] for r in finest),
        "means": [r["distance_mean"] for r in finest],
        "note": f"largest distance of any ridge point above {THRESHOLD:g} of the largest exponent, over the height, "
        f"{max(seeds)} seeds along it, all ways, forward and backward, function and data",
    }


def picture(path: str | Path, seeds: int = 150) -> None:
    """Exponents, the strong part of their ridges, and the manifolds, forward and backward."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.9), layout="constrained")
    panels: Any = figure.subplots(2, 2, sharex=True, sharey=True)
    for row, forward in zip(panels, (True, False), strict=True):
        found = exponents(velocity, box(2), forward, seeds, *GRADIENTS[0])
        points = places(structure.ridges(found, threshold=THRESHOLD))
        line = manifold(0.0, forward)
        for axes in row:
            shown = axes.pcolormesh(found.x, found.y, found.ftle, cmap="viridis", rasterized=True)
            axes.set_aspect("equal")
        row[1].plot(*line.T, color="white", lw=0.6, label="manifold")
        row[1].plot(*points.T, "o", color="#D55E00", ms=1.4, label=f"ridge, above {THRESHOLD:g} of the largest σ")
        row[0].set_ylabel("forward: repelling\ny" if forward else "backward: attracting\ny")
        figure.colorbar(shown, ax=row, label="σ, 1/s", shrink=0.9)
    handles, labels = panels[0, 1].get_legend_handles_labels()
    shown_as = figure.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=8)
    shown_as.get_frame().set_facecolor("#9aa0a6")
    for axes in panels[1]:
        axes.set_xlabel("x")
    figure.savefig(path, dpi=150)
