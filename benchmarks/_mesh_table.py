"""The table of movers: what moving a mesh buys on fields and meshes that no mover was trained on.

Of each case the screened Poisson equation u − ∇²u = f is solved with linear elements, m = 1 + 5‖H‖/max ‖H‖ is made of
the H that is recovered from that solution, every mover moves the mesh by it, and the equation is solved again. Errors
are in L², against the exact u, by quadrature on the mesh itself. The seconds of a row are those of recovery, monitor
and mover; its total adds both solves. Nothing is left out: a mesh that the safeguard returns counts as returned, and a
mover that raises an error counts as one that moves nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks._ledger import Kept, Ledger, extremes, quantiles
from benchmarks._mesh_cases import COUNTS, NONCONVEX, SEEN, SMALL, SQUARES, Case, cases
from benchmarks._mesh_classical import peak
from sciml.errors import SolverError
from sciml.meshing import Elastic, ErrorDescent, MeshMover, MongeAmpere, NewtonMongeAmpere, Springs, hessian, optimal
from sciml.meshing.linear_elements import LinearElements

MONGE_AMPERE = "Monge-Ampère, relaxation"
MIXED, NEWTON, ELASTIC = "Monge-Ampère, mixed", "Monge-Ampère, Newton", "elastic"
OPTIMAL = "elastic, monitor `optimal`"  # the density that is best for interpolation in L², in place of 1 + 5‖H‖/max
CEILING = "descent of the error (knows u)"
DESCENTS = 4  # cases of a kind on which the error itself is descended
REPEATS = 3  # of every timing, of which the least counts


def classical() -> dict[str, MeshMover]:
    """Rows that learn nothing."""
    return {
        "springs": Springs(), MONGE_AMPERE: MongeAmpere(1e-3), MIXED: MongeAmpere(1e-3, memory=5),
        NEWTON: NewtonMongeAmpere(1e-3), ELASTIC: Elastic(),
    }  # fmt: skip


def measured(case: Case, movers: Mapping[str, MeshMover]) -> list[dict[str, Any]]:
    """Rows of one case."""
    elements = LinearElements(case.u)
    solve = [_timed(lambda: LinearElements(case.u).solve(case.points, case.cells)) for _ in range(REPEATS)]
    u, seconds = solve[0][0], min(s for _, s in solve)
    base = elements.errors(case.points, case.cells, u).l2
    curve = _curve(case, base, seconds)
    found = [{"row": "uniform", "error": base, "reduction": 0.0, "inverted": 0, "safeguard": 1.0, "converged": True,
              "seconds": 0.0, "total_seconds": seconds, "left": 0, "over_uniform_of_equal_time": 1.0}]  # fmt: skip
    every = {**movers, OPTIMAL: Elastic()}
    if len(case.points) <= SMALL and case.number < DESCENTS:
        every[CEILING] = ErrorDescent(elements, start=Elastic())
    for name, mover in every.items():
        monitor = optimal if name == OPTIMAL else hessian
        runs = [_moved(case, mover, u, monitor) for _ in range(1 if name == CEILING else REPEATS)]
        x, info, spent = min(runs, key=lambda run: run[2])
        try:
            error = elements.error(x, case.cells).l2
        except SolverError:
            error = base
        total = spent + 2 * seconds
        found.append({
            "row": name, "error": error, "reduction": (base - error) / base,
            "inverted": info.inverted if info else 0, "safeguard": info.safeguard if info else 0.0,
            "converged": bool(info and info.converged), "left": int((_areas(x, case.cells) <= 0).sum()),
            "equidistribution": info.equidistribution if info else None, "seconds": spent, "total_seconds": total,
            "over_uniform_of_equal_time": error / curve(total),
        })  # fmt: skip
    return [{**row, "nodes": len(case.points), "field": case.field} for row in found]


def _timed(run: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    return run(), time.perf_counter() - began


def _moved(case: Case, mover: MeshMover, u: np.ndarray, monitor: Any) -> tuple[np.ndarray, Any, float]:
    began = time.perf_counter()
    try:
        x, info = mover.move(case.points, case.cells, monitor=monitor(case.points, case.cells, u))
    except Exception:  # whatever a mover cannot do is no gain
        return case.points, None, time.perf_counter() - began
    return x, info, time.perf_counter() - began


def _areas(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    a, b, c = (points[cells[:, i]] for i in range(3))
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


def _curve(case: Case, base: float, seconds: float) -> Any:
    """Error of a uniform mesh that is solved in a given time, between meshes with edges 1, 1/2 and 1/3 as long, and
    beyond by the last two."""
    times, errors = [seconds], [base]
    for n in (2, 3) if len(case.points) < 5000 else (2,):
        mesh = case.refined(n)
        runs = [_timed(lambda m=mesh: LinearElements(case.u).solve(*m)) for _ in range(REPEATS)]
        times.append(max(min(s for _, s in runs), times[-1] * 1.01))
        errors.append(LinearElements(case.u).errors(*mesh, runs[0][0]).l2)
    x, y = np.log(times), np.log(errors)

    def at(total: float) -> float:
        t = np.log(total)
        if t > x[-1]:
            return float(np.exp(y[-1] + (t - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])))
        return float(np.exp(np.interp(t, x, y)))

    return at


def measure(ledger: Ledger, work: Any) -> None:
    """All cases, rows by kind of mesh, and the checks."""
    from benchmarks._mesh_learned import movers

    learned = movers(work)
    kept = Kept("mesh", dry=work.quick)
    every = {**classical(), **learned}
    found: list[dict[str, Any]] = []
    for case in cases(work.quick):
        rows = kept(lambda c=case: measured(c, every), what="table", case=case.name, rows=sorted(every))
        found += [{**row, "kind": case.kind, "number": case.number} for row in rows]
        print(case.name, {r["row"]: round(r["reduction"], 3) for r in rows}, flush=True)
    kinds = list(dict.fromkeys(r["kind"] for r in found))
    for kind in kinds:
        _told(ledger, kind, [r for r in found if r["kind"] == kind])
    _told(ledger, "all", found)
    kinds = ("gaussians", "waves", "front", "layer")
    for name in dict.fromkeys(r["row"] for r in found if r["row"] not in ("uniform", CEILING)):
        means = {k: [r["reduction"] for r in found if r["row"] == name and r["field"] == k] for k in kinds}
        ledger.row(section="fields", row=name, **{k: statistics.fmean(v) if v else None for k, v in means.items()})
    if not work.quick:
        for name in every:
            most = kept(lambda name=name: peak(name, 99), what="memory", mover=name, n=99)
            ledger.row(section="memory", row=name, nodes=10_000, peak_mebibytes=most)
        _checks(ledger, found, tuple(learned))


def _told(ledger: Ledger, kind: str, found: Sequence[dict[str, Any]]) -> None:
    cases = {(r["kind"], r["number"]) for r in found}
    ceiled = {(r["kind"], r["number"]) for r in found if r["row"] == CEILING}
    for name in dict.fromkeys(r["row"] for r in found):
        _row(ledger, kind, name, [r for r in found if r["row"] == name])
        if ceiled and len(ceiled) < len(cases) and name != CEILING:
            # beside the ceiling only what was measured on the same cases
            some = [r for r in found if r["row"] == name and (r["kind"], r["number"]) in ceiled]
            _row(ledger, f"{kind}, cases of the ceiling", name, some)


def _row(ledger: Ledger, kind: str, name: str, rows: Sequence[dict[str, Any]]) -> None:
    gains = [r["reduction"] for r in rows]
    spread = quantiles(gains, "cases")
    ledger.row(
        section="table", meshes=kind, row=name, cases=len(rows),
        nodes_median=statistics.median(r["nodes"] for r in rows),
        reduction_mean=statistics.fmean(gains), reduction_median=statistics.median(gains), reduction_worst=min(gains),
        reduction_low=spread["low"], reduction_high=spread["high"],
        positive_share=statistics.fmean(g > 0 for g in gains),
        proposals_inverted=sum(r["inverted"] > 0 for r in rows), cells_inverted_after=sum(r["left"] for r in rows),
        not_converged=sum(not r["converged"] for r in rows),
        move_ms_median=1e3 * statistics.median(r["seconds"] for r in rows),
        total_ms_median=1e3 * statistics.median(r["total_seconds"] for r in rows),
        error_over_uniform_of_equal_time=statistics.median(r["over_uniform_of_equal_time"] for r in rows),
        better_than_uniform_of_equal_time=statistics.fmean(r["over_uniform_of_equal_time"] < 1 for r in rows),
    )  # fmt: skip


def _checks(ledger: Ledger, found: Sequence[dict[str, Any]], learned: Sequence[str]) -> None:
    def gain(name: str, kinds: Sequence[str]) -> float:
        return statistics.fmean(r["reduction"] for r in found if r["row"] == name and r["kind"] in kinds)

    every = tuple(COUNTS)
    best = max(learned, key=lambda name: gain(name, every))
    peers = {"MA": gain(MONGE_AMPERE, SQUARES), "elastic, which learns nothing": gain(ELASTIC, SQUARES)}
    told = ", ".join(f"{k} {100 * v:.1f} %" for k, v in peers.items())
    shares = [gain(best, (k,)) / gain(MONGE_AMPERE, (k,)) for k in SQUARES]
    for id in ("learned_error_reduction_share_of_monge_ampere", "learned_error_reduction_share_of_monge_ampere_far"):
        ledger.check(
            id, gain(best, SQUARES) / gain(MONGE_AMPERE, SQUARES), spread=extremes(shares, "kinds of meshes"),
            note=f"{best}, on the square, where Monge-Ampère is at home: {100 * gain(best, SQUARES):.1f} % ({told})",
        )  # fmt: skip
    left = sum(r["left"] for r in found)
    ledger.check("inverted_elements_anywhere", left, note=f"{len(found)} moves of the table, after the safeguard")
    unseen = tuple(k for k in every if k not in SEEN)
    polygons = tuple(k for k in every if k not in SQUARES)
    means = {name: gain(name, polygons) for name in (MONGE_AMPERE, ELASTIC, "springs")}
    ledger.check(
        "mean_error_reduction_unseen_geometry", gain(best, polygons),
        spread=quantiles([r["reduction"] for r in found if r["row"] == best and r["kind"] in polygons], "cases"),
        note=f"{best}, on polygons and with holes, none of them seen; all meshes of other sorts than in training "
             f"{gain(best, unseen):.3f}; {', '.join(f'{k} {v:.3f}' for k, v in means.items())}",
    )  # fmt: skip
    fails = {
        (r["kind"], r["number"]) for r in found
        if r["row"] == MONGE_AMPERE and r["kind"] in NONCONVEX
        and (r["inverted"] or not r["converged"] or r["reduction"] <= 0)
    }  # fmt: skip
    wins = {
        name: [r["reduction"] > 0 for r in found if r["row"] == name and (r["kind"], r["number"]) in fails]
        for name in (best, ELASTIC, "springs", MONGE_AMPERE)
    }
    told = ", ".join(f"{k} {statistics.fmean(v):.2f}" for k, v in wins.items() if k != best and v)
    for id in ("nonconvex_success_share", "nonconvex_success_share_far"):
        ledger.check(
            id, statistics.fmean(wins[best]) if fails else None, reason=None if fails else "it never failed",
            note=f"{best}; {len(fails)} cases in which Monge-Ampère turned a cell over, did not converge or gained "
                 f"nothing; {told}",
        )  # fmt: skip
    ratios = []
    for number in range(COUNTS["square, rows 100 × 100"][0]):
        pair = {
            r["row"]: r["seconds"] for r in found if r["kind"] == "square, rows 100 × 100" and r["number"] == number
        }
        ratios.append([pair[name] / pair[best] for name in (MONGE_AMPERE, MIXED, NEWTON, ELASTIC)])
    first, *others = (statistics.median(v) for v in zip(*ratios, strict=True))
    told = ", ".join(f"{n} {v:.2f}" for n, v in zip((MIXED, NEWTON, ELASTIC), others, strict=True))
    ledger.check(
        "learned_time_vs_monge_ampere", first, spread=extremes([r[0] for r in ratios], "cases"),
        note=f"{MONGE_AMPERE} over {best}, 10,201 nodes, recovery and monitor included; other rows over it: {told}",
    )  # fmt: skip
