"""The table of movers: what moving a mesh buys on fields and meshes that are drawn anew.

Of each case the screened Poisson equation u − ∇²u = f is solved with linear elements, m = 1 + 5‖H‖/max ‖H‖ is made of
the H that is recovered from that solution, every mover moves the mesh by it, and the equation is solved again. Errors
are in L², against the exact u, by quadrature on the mesh itself. The seconds of a row are those of a processor for
recovery, monitor and mover, all movers by turns; its total adds both solves. Nothing is left out: a mesh that the
safeguard returns counts as returned, and a mover that raises an error counts as one that moves nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks._ledger import Kept, Ledger, extremes, quantiles
from benchmarks._mesh_cases import NONCONVEX, SMALL, SQUARES, UNSEEN, Case, cases
from benchmarks._mesh_classical import peak
from sciml.errors import SolverError
from sciml.meshing import (
    Elastic,
    ErrorDescent,
    MeshMover,
    MongeAmpere,
    NewtonMongeAmpere,
    Springs,
    folded,
    hessian,
    optimal,
)
from sciml.meshing.linear_elements import LinearElements

MONGE_AMPERE = "Monge-Ampère, relaxation"
MIXED, NEWTON, ELASTIC = "Monge-Ampère, mixed", "Monge-Ampère, Newton", "elastic"
OPTIMAL = "elastic, monitor `optimal`"  # the density that is best for interpolation in L², in place of 1 + 5‖H‖/max
TESTED = (MONGE_AMPERE, MIXED, NEWTON, ELASTIC, OPTIMAL)  # who stop by a residual; the others stop by themselves
SHIPPED = "local, for evenness"  # the learned row that is judged: it comes with the package
CEILING = "descent of the error (knows u)"
DESCENTS = 5  # cases of a kind on which the error itself is descended
SLOW = 1.0  # seconds from which on once is enough
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
    runs: dict[str, list[Any]] = {name: [] for name in every}
    for turn in range(REPEATS):
        for name, mover in every.items():
            if turn == 0 or (name != CEILING and runs[name][0][2] < SLOW):
                runs[name].append(_moved(case, mover, u, optimal if name == OPTIMAL else hessian))
    for name in every:
        x, info, spent = min(runs[name], key=lambda run: run[2])
        try:
            error = elements.error(x, case.cells).l2
        except SolverError:
            error = base
        total = spent + 2 * seconds
        found.append({
            "row": name, "error": error, "reduction": (base - error) / base,
            "inverted": info.inverted if info else 0, "safeguard": info.safeguard if info else 0.0,
            "converged": bool(info and info.converged) if name in TESTED else None,
            "left": int(folded(x, case.cells).sum()),
            "equidistribution": info.equidistribution if info else None, "seconds": spent, "total_seconds": total,
            "over_uniform_of_equal_time": error / curve(total),
        })  # fmt: skip
    return [{**row, "nodes": len(case.points), "field": case.field} for row in found]


def _timed(run: Any) -> tuple[Any, float]:
    began = time.process_time()
    return run(), time.process_time() - began


def _moved(case: Case, mover: MeshMover, u: np.ndarray, monitor: Any) -> tuple[np.ndarray, Any, float]:
    began = time.process_time()
    try:
        x, info = mover.move(case.points, case.cells, monitor=monitor(case.points, case.cells, u))
    except Exception:  # whatever a mover cannot do is no gain
        return case.points, None, time.process_time() - began
    return x, info, time.process_time() - began


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
    for case in cases(work.quick, work.full):
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
        ledger.row(section="fields", row=name, **{k: statistics.fmean(v) if v else None for k, v in means.items()},
                   **{f"{k}_cases": len(v) for k, v in means.items()})  # fmt: skip
    if not work.quick:
        for name in every:
            most = kept(lambda name=name: peak(name, 99), what="memory", mover=name, n=99)
            ledger.row(section="memory", row=name, nodes=10_000, peak_mebibytes=most)
        _checks(ledger, found)


def _told(ledger: Ledger, kind: str, found: Sequence[dict[str, Any]]) -> None:
    ceiled = {(r["kind"], r["number"]) for r in found if r["row"] == CEILING}
    for name in dict.fromkeys(r["row"] for r in found):
        if name != CEILING:
            _row(ledger, kind, name, [r for r in found if r["row"] == name])
        if ceiled:  # beside the descent only what was measured on the same cases
            some = [r for r in found if r["row"] == name and (r["kind"], r["number"]) in ceiled]
            _row(ledger, f"{kind}, cases of the descent", name, some)


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
        not_converged=None if rows[0]["converged"] is None else sum(not r["converged"] for r in rows),
        move_ms_median=1e3 * statistics.median(r["seconds"] for r in rows),
        total_ms_median=1e3 * statistics.median(r["total_seconds"] for r in rows),
        error_over_uniform_of_equal_time=statistics.median(r["over_uniform_of_equal_time"] for r in rows),
        better_than_uniform_of_equal_time=statistics.fmean(r["over_uniform_of_equal_time"] < 1 for r in rows),
    )  # fmt: skip


def _checks(ledger: Ledger, found: Sequence[dict[str, Any]]) -> None:
    rows = [r for r in dict.fromkeys(r["row"] for r in found) if r not in ("uniform", CEILING)]

    def gains(name: str, kinds: Sequence[str]) -> list[float]:
        return [r["reduction"] for r in found if r["row"] == name and r["kind"] in kinds]

    def told(figure: Any, but: str = SHIPPED) -> str:
        return ", ".join(f"{name} {figure(name):.3f}" for name in rows if name != but)

    def gain(name: str, kinds: Sequence[str]) -> float:
        return statistics.fmean(gains(name, kinds))

    shares = [gain(SHIPPED, (k,)) / gain(MONGE_AMPERE, (k,)) for k in SQUARES]
    home = tuple(k for k in SQUARES if k != "square, four triangles a cell")
    ratio = gain(SHIPPED, SQUARES) / gain(MONGE_AMPERE, SQUARES)
    for id in ("learned_error_reduction_share_of_monge_ampere", "learned_error_reduction_share_of_monge_ampere_far"):
        ledger.check(
            id, ratio, spread=extremes(shares, "kinds of meshes"),
            note=f"{SHIPPED}, on the square; without cells of four triangles, where relaxation does not always "
                 f"converge, {gain(SHIPPED, home) / gain(MONGE_AMPERE, home):.3f}; less error: {SHIPPED} "
                 f"{gain(SHIPPED, SQUARES):.3f}, {told(lambda name: gain(name, SQUARES))}",
        )  # fmt: skip
    moves = [r for r in found if r["row"] != "uniform"]
    ledger.check(
        "inverted_elements_anywhere", sum(r["left"] for r in moves),
        note=f"{len(moves)} moves of the table after the safeguard, whose doing it is; it was needed in "
             f"{sum(r['inverted'] > 0 for r in moves)}",
    )  # fmt: skip
    ledger.check(
        "mean_error_reduction_unseen_geometry", gain(SHIPPED, NONCONVEX),
        spread=quantiles(gains(SHIPPED, NONCONVEX), "cases"),
        note=f"{SHIPPED}, on polygons that are not convex and squares with holes, of which training had none; with "
             f"graded meshes and cells of four triangles {gain(SHIPPED, UNSEEN):.3f}; "
             f"others on the first: {told(lambda name: gain(name, NONCONVEX))}",
    )  # fmt: skip
    base = [r for r in found if r["row"] == MONGE_AMPERE and r["kind"] in NONCONVEX]
    worse = {(r["kind"], r["number"]) for r in base if r["reduction"] <= 0}
    fails = worse | {(r["kind"], r["number"]) for r in base if r["inverted"] or not r["converged"]}

    def share(name: str, of: set[Any]) -> float:
        return statistics.fmean(
            r["reduction"] > 0 for r in found if r["row"] == name and (r["kind"], r["number"]) in of
        )

    strict = f"; in the {len(worse)} where it gained nothing: {SHIPPED} {share(SHIPPED, worse):.3f}, " + told(
        lambda name: share(name, worse)
    ) if worse else ""  # fmt: skip
    for id in ("nonconvex_success_share", "nonconvex_success_share_far"):
        ledger.check(
            id, share(SHIPPED, fails) if fails else None, reason=None if fails else "it never failed",
            note=f"{SHIPPED}; {len(fails)} of {len(base)} cases in which Monge-Ampère's relaxation turned a cell over, "
                 f"did not converge or gained nothing; {told(lambda name: share(name, fails))}{strict}",
        )  # fmt: skip
    large = [r for r in found if r["kind"] == "square, rows 100 × 100"]
    times = {name: [r["seconds"] for r in large if r["row"] == name] for name in rows}
    ratios = [a / b for a, b in zip(times[MONGE_AMPERE], times[SHIPPED], strict=True)]

    def over(name: str) -> float:
        return statistics.median(a / b for a, b in zip(times[MONGE_AMPERE], times[name], strict=True))

    ledger.check(
        "learned_time_vs_monge_ampere", statistics.median(ratios), spread=extremes(ratios, "cases"),
        note=f"{MONGE_AMPERE} over {SHIPPED}, 10,201 nodes, recovery and monitor included, seconds of a processor; "
             f"over others: {told(over)}",
    )  # fmt: skip
