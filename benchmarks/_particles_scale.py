"""What answers at 100,000 places cost: few particles that are moved and a decoder, a dense graph, a simulation."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import Ledger
from benchmarks._particles_learned import NOISE, _numbers
from benchmarks._particles_rows import FRAMES, Entry, learned, made, trained
from sciml import data, load, problems
from sciml.evaluation import ParticleErrors, evaluate
from sciml.solver import Start
from sciml.solvers import MaterialPoint
from sciml.support.neighbours import moving_interpolation
from sciml.training.samples import table

PROBLEM, RESOLUTION, CASES = "dam_break", 100, 20  # 2,000 to 5,000 particles a case
FINE = 460  # cells at which a case has about 100,000
NODES = 1024
STEPS = FRAMES - 1
REPEATS = 3
ENTRIES = {
    "GIOROM, 1,024 nodes": Entry("giorom", settings={"nodes": NODES}, noise=NOISE),
    "GNS, all particles": Entry("gns", noise=NOISE),
    "GNS, 1,024 nodes": Entry("gns", settings={"nodes": NODES}, noise=NOISE),
    "grid particle model": Entry("grid_particle", noise=NOISE),
}


def measure(ledger: Ledger, work: Any) -> None:
    ledger.seeds(0)
    path = made(PROBLEM, RESOLUTION, CASES)
    folders = trained("scale", path, ENTRIES, work.minutes)
    models = {row: load(run) for row, (run,) in folders.items()}
    found = evaluate(
        models, path, steps=STEPS, starts=(0,), statistics=[ParticleErrors()], examples=0, every_frame=False
    ).summary
    errors = found["statistics"]["particle_errors"]["entries"]
    start, times = _fine(path)
    cost = _costs({row: _as_dense(row, run) for row, (run,) in folders.items()}, start, times)
    told: dict[str, dict[str, Any]] = {}
    for row in [*models, "material points"]:
        mine = [e for e in errors if e["row"] == row]
        told[row] = {
            "weights": models[row].weights if row in models else None,
            **(learned(folders[row]) if row in folders else {}),
            "particles_in_errors": int(np.median([c.size for c in _sizes(path)])) if mine else None,
            "position_error_last": _last(mine, "position_error"), "carried_last": _last(mine, "carried"),
            "misplaced_last": _last(mine, "misplaced"),
            "points": start.support.size, "core_seconds_per_step": cost[row],
        }  # fmt: skip
        ledger.row(section="scale", row=row, **told[row])
    few, dense = "GIOROM, 1,024 nodes", "GNS, all particles"
    no_worse = _not_worse(told, few, dense)
    ratio = cost[dense] / cost[few]
    ledger.check(
        "giorom_vs_dense_graph_network_at_100k_points", ratio if no_worse else None,
        note=f"after {STEPS} steps at {told[few]['particles_in_errors']} particles {told[few]['misplaced_last']} of "
        f"the mass is misplaced, by the dense graph {told[dense]['misplaced_last']}",
        reason=None if no_worse else "its rollout error on 5k points is larger", status=None if no_worse else "missed",
    )  # fmt: skip
    ledger.check("giorom_vs_mpm_at_100k_points", cost["material points"] / cost[few])
    _decoding(ledger, start)


def _not_worse(told: dict[str, dict[str, Any]], few: str, dense: str) -> bool:
    mine, its = (told[n]["misplaced_last"] for n in (few, dense))
    return mine is not None and (its is None or mine <= its)


def _sizes(path: Path) -> list[Any]:
    cases = table(data.open(path), "test")
    return [cases.support(i) for i in range(len(cases.cases))]


def _last(entries: list[dict[str, Any]], key: str) -> float | None:
    values = _numbers([e[key][-1] for e in entries])
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None


def _fine(path: Path) -> tuple[Start, np.ndarray]:
    """The beginning of a case with about 100,000 particles, and times as far apart as the data's."""
    known = table(data.open(path), "test")
    assert known.times is not None
    case = getattr(problems, "DamBreak")().case(width=0.3, height=0.4)  # noqa: B009
    solver = MaterialPoint(FINE)
    support = solver.grid(case)
    first = case.problem.initial_state(case, support)
    frame = np.stack([first[n] for n in known.fields if n in first])
    names = tuple(n for n in known.fields if n in first)
    return Start(case, support, frame[None].astype(np.float32), 0.0, fields=names), known.times[0][1:4]


def _as_dense(row: str, run: Path) -> Any:
    """A model for denser particles: those that move all of them join as many neighbours as in training."""
    model: Any = load(run)
    if "nodes" not in ENTRIES[row].settings:
        fitted = model.fitted_as
        encoding = dataclasses.replace(fitted.encoding, radius=fitted.encoding.radius * RESOLUTION / FINE)
        model.fitted_as = dataclasses.replace(fitted, encoding=encoding)
    return model


def _costs(models: dict[str, Any], start: Start, times: np.ndarray) -> dict[str, float]:
    """Row -> core seconds a step at 100,000 points, whatever is made once a rollout left out."""
    found: dict[str, list[float]] = {}
    numerical = MaterialPoint(FINE)
    begin = numerical.begin(start)
    numerical.run([start.case], [times], [begin])  # compiles
    for _ in range(REPEATS):
        for row, model in models.items():
            steps = model.rollout([start], times[None])
            next(steps)  # neighbours, weights of the decoder
            began = time.process_time()
            for frames in steps:
                if not np.isfinite(frames[0]).all():
                    raise FloatingPointError(f"{row}: a step did not succeed, so that it has no cost")
            found.setdefault(row, []).append((time.process_time() - began) / (len(times) - 1))
        began = time.process_time()
        numerical.run([start.case], [times], [begin])
        found.setdefault("material points", []).append((time.process_time() - began) / len(times))
    return {row: min(values) for row, values in found.items()}


def _decoding(ledger: Ledger, start: Start) -> None:
    """Points a second from 1,024 nodes, and what the weights cost once."""
    points = start.support.points()
    chosen = points[:: max(len(points) // NODES, 1)][:NODES]
    began = time.process_time()
    matrix = moving_interpolation(chosen, points)
    once = time.process_time() - began
    values = np.random.default_rng(0).standard_normal((len(chosen), 2 * points.shape[1])).astype(np.float32)
    matrix = matrix.astype(np.float32).tocsr()
    _ = matrix @ values
    rounds = []
    for _ in range(10):
        began = time.process_time()
        _ = matrix @ values
        rounds.append(time.process_time() - began)
    rate = len(points) / float(np.median(rounds))
    ledger.row(
        section="decoding", nodes=len(chosen), points=len(points), fields=values.shape[1], points_per_second=rate,
        core_seconds_for_weights_once=once,
    )  # fmt: skip
    ledger.check("giorom_decode_points_per_second", rate)
