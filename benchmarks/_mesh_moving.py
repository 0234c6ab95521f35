"""Moving meshes in time: a ring in a swirl, and fronts of Burgers' equation on a square and on a line.

All rows are one scheme. A static row is the mesh that stays, at several resolutions; a moving row has the nodes of the
first of these and a mover, asked every few steps; and beside each moving row stands the static mesh that costs as much
in all, mover and monitor included. Errors are those of the linear functions on the cells as they are, by quadrature
against the exact solution, at the end and as the mean over five times, so that interpolation counts.

`break_even_cost` is how many times as dear a step of the flow would have to be, on every mesh alike, for the moving row
to cost in all what the static mesh of the same error costs (between the static rows' figures, which are taken as powers
of each other; beyond the finest it is continued): at most 1 where moving wins as it is, none where it never does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.interpolate import RectBivariateSpline

from benchmarks._ledger import Kept, Ledger
from sciml.meshing import Elastic, Equidistribution, MeshMover, MongeAmpere, MovingMesh, Springs, gradient
from sciml.meshing._simplices import contents, rule
from sciml.problem import Case
from sciml.problems import BurgersFront, Swirl

SHARES = (1.0, 1.5, 2.0, 3.0)  # resolutions of static rows over that of the moving ones
FINER = 5.0  # than the finest of these a static mesh may be that costs as much as a moving one
FRAMES = 5
BRIEF = 4.0
PATHS = 400  # sides of the grid from whose nodes paths are followed
_PATHS: dict[Any, Any] = {}


class Setting(NamedTuple):
    """One comparison.

    Args:
        name, case, last: which, and until when.
        resolution: of the moving rows.
        monitor: of all of them.
        shares: resolutions of the static rows over that one.
    """

    name: str
    case: Case
    last: float
    resolution: int
    monitor: Any
    shares: tuple[float, ...] = SHARES


def settings(quick: bool) -> list[Setting]:
    """What is compared."""
    soft, sharp = (partial(gradient, strength=s, smoothing=10.0) for s in (10.0, 30.0))
    plane, line = BurgersFront(2), BurgersFront(1)
    if quick:
        return [
            Setting("swirl", Swirl().case(width=0.05), 0.2, 10, soft),
            Setting("front on a line, viscosity 5e-3", line.case(viscosity=5e-3), 0.2, 20, sharp),
        ]
    return [
        Setting("swirl", Swirl().case(), 1.0, 40, soft),
        Setting("front on a square, viscosity 4e-3", plane.case(viscosity=4e-3), 0.4, 30, sharp),
        Setting("front on a square, viscosity 1e-3", plane.case(viscosity=1e-3), 0.4, 30, sharp),
        Setting("front on a line, viscosity 5e-3", line.case(viscosity=5e-3), 0.8, 50, sharp),
        Setting(
            "front on a line, viscosity 5e-4",
            line.case(viscosity=5e-4),
            0.8,
            50,
            partial(gradient, strength=1000.0, smoothing=3.0),
            (1.0, 4.0, 8.0, 16.0, 24.0),
        ),
    ]


def movers(dimensions: int) -> dict[str, tuple[MeshMover, int]]:
    """By name, and after how many steps each is asked again: the dearer, the more."""
    if dimensions == 1:
        return {"equidistribution": (Equidistribution(4), 4), "springs": (Springs(2), 4)}
    return {"springs": (Springs(2), 5), "elastic": (Elastic(1e-2), 4), "monge_ampere": (MongeAmpere(1e-2), 8)}


def exactly(case: Case, time: float) -> Any:
    """The solution at a time, as a function of points. The paths of a swirl are followed once for each time, from the
    nodes of a fine grid, and splines are laid through where they lead: off by less than 1e-4 of u."""
    problem: Any = case.problem
    if not isinstance(problem, Swirl):
        return partial(_values, problem, case, time)
    key = (tuple(sorted(case.parameters.items())), time)
    if key not in _PATHS:
        axis = np.linspace(0, 1, PATHS + 1)
        x, y = np.meshgrid(axis, axis, indexing="ij")
        ends = problem.origins(case, np.stack([x.ravel(), y.ravel()], 1), time, steps=50)
        _PATHS[key] = [RectBivariateSpline(axis, axis, e.reshape(x.shape)) for e in ends.T]

    def values(points: np.ndarray) -> np.ndarray:
        return problem.start(case, np.stack([spline.ev(*points.T) for spline in _PATHS[key]], 1))

    return values


def _values(problem: Any, case: Case, time: float, points: np.ndarray) -> np.ndarray:
    return problem.values(case, points, time)


def errors(found: Any, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """In L¹ and L² at all times."""
    places, weights = rule(found.points.shape[2])
    first, second = [], []
    for t, x, u in zip(found.times, found.points, found.values, strict=True):
        at = np.einsum("qk,ckd->cqd", places, x[found.cells])
        exact = exactly(case, float(t))(at.reshape(-1, x.shape[1])).reshape(at.shape[:2])
        off, size = np.abs(u[found.cells] @ places.T - exact), contents(x, found.cells)
        first.append(np.einsum("cq,q,c->", off, weights, size))
        second.append(math.sqrt(np.einsum("cq,q,c->", off**2, weights, size)))
    return np.array(first), np.array(second)


def measured(setting: Setting, row: str, solver: MovingMesh) -> dict[str, Any]:
    """One row; what takes less than `BRIEF` seconds thrice, of which the least counts."""
    times = setting.last * np.linspace(0, 1, FRAMES + 1)[1:]
    each: list[float] = []
    found: Any = None
    while not each or (len(each) < 3 and min(each) < BRIEF):
        began = time.process_time()
        found = solver.simulate(setting.case, times)
        each.append(time.process_time() - began)
    spent = min(each)
    tally, closed = found.tally, bool(setting.case.problem.invariants)
    first, second = errors(found, setting.case) if not found.failure else (np.full(1, math.nan),) * 2
    return {
        "case": setting.name, "row": row, "resolution": solver.resolution, "nodes": found.points.shape[1],
        "error_l1": float(first[-1]), "error_l2": float(second[-1]), "mean_error_l1": float(first.mean()),
        "mean_error_l2": float(second.mean()),
        "mass_defect": float(np.abs(found.mass / found.mass[0] - 1).max()) if closed else None,
        "inverted_cells": sum(int((contents(x, found.cells) <= 0).sum()) for x in found.points),
        "inverted_by_the_mover": tally.inverted, "steps": tally.steps, "moves": tally.moves, "seconds": tally.seconds,
        "processor_seconds": spent, "processor_seconds_most": max(each),
        "mover_share": tally.mover_seconds / tally.seconds,
        "monitor_share": tally.monitor_seconds / tally.seconds, "failure": found.failure,
    }  # fmt: skip


def static(setting: Setting, resolution: int, row: str) -> dict[str, Any]:
    return measured(setting, row, MovingMesh(None, resolution=resolution))


def beside(row: Mapping[str, Any], curve: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of a moving row, what static meshes of the same error take, and the break-even cost."""
    ordered = sorted(curve, key=lambda r: r["resolution"])
    error = -np.log([r["mean_error_l2"] for r in ordered])
    seconds = np.log([r["processor_seconds"] for r in ordered])
    goal = -math.log(row["mean_error_l2"])
    needed = float(np.exp(_continued(goal, error, seconds)))
    of_movement = (row["mover_share"] + row["monitor_share"]) * row["processor_seconds"]
    of_flow = row["processor_seconds"] - of_movement
    even = of_movement / (needed - of_flow) if needed > of_flow else None
    return {
        "static_seconds_at_equal_error": needed, "static_is_continued": bool(goal > error.max()),
        "break_even_cost": even, "wins_in_total_time": bool(row["processor_seconds"] < needed),
    }  # fmt: skip


def _continued(at: float, x: np.ndarray, y: np.ndarray) -> float:
    """Linear between increasing x, and on from the last two."""
    k = min(max(int((x < at).sum()), 1), len(x) - 1)
    rise = x[k] - x[k - 1]
    return float(y[k] + (y[k] - y[k - 1]) * (at - x[k]) / rise) if rise > 0 else float(y[k])


def compared(setting: Setting, known: Mapping[str, tuple[MeshMover, int]]) -> list[dict[str, Any]]:
    """All rows of one case."""
    n = setting.resolution
    static(setting, n, "")  # so that nothing is loaded while the first row runs
    curve = [static(setting, round(s * n), "static") for s in setting.shares]
    base, rows = curve[0], list(curve)
    lasts = np.log([[r["resolution"], r["processor_seconds"]] for r in curve]).T
    for name, (mover, every) in known.items():
        solver = MovingMesh(mover, setting.monitor, resolution=n, every=every)
        row = measured(setting, f"moving, {name}", solver)
        if row["failure"]:
            rows.append({**row, "mean_error_l1": None, "mean_error_l2": None, "error_l1": None, "error_l2": None})
            continue
        row |= beside(row, curve) | {"every": every}
        fine = float(np.exp(_continued(math.log(row["processor_seconds"]), lasts[1], lasts[0])))
        same = static(setting, round(min(max(fine, n), FINER * setting.shares[-1] * n)), f"static, as long as {name}")
        row["error_over_static_of_equal_nodes"] = row["mean_error_l2"] / base["mean_error_l2"]
        row["error_over_static_of_equal_time"] = row["mean_error_l2"] / same["mean_error_l2"]
        rows += [row, same]
    return rows


def measure(ledger: Ledger, work: Any, more: Mapping[str, tuple[MeshMover, int]] | None = None) -> list[dict[str, Any]]:
    """Rows of all cases, in the ledger too.

    Args:
        more: further movers of the plane by name, each with the steps after which it is asked again.
    """
    kept = Kept("mesh", dry=work.quick)
    found: list[dict[str, Any]] = []
    if more is None and not work.quick:
        from benchmarks._mesh_learned import movers as learned

        taught = learned(work)
        more = {n: (taught[n], 4) for n in ("local, for evenness", "after DMM")}
    for setting in settings(work.quick):
        known = movers(setting.case.problem.dimensions)
        if setting.case.problem.dimensions == 2:
            known |= more or {}
        key = {n: [m.name, every, {k: v for k, v in vars(m).items() if isinstance(v, int | float)}]
               for n, (m, every) in known.items()}  # fmt: skip
        found += kept(lambda s=setting, k=known: compared(s, k), part="moving", piece=setting.name, movers=key)
    for row in found:
        ledger.row(section="moving", **row)
    return found
