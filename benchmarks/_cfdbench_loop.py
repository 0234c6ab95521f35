"""Coarse solvers with a learned correction beside finer solvers alone, past the cylinder: error against cost.

Each corrected solver learns for the minutes of a row of the table, on one core, by rollouts through the solver or from
single steps. Every row starts from the same true frames on the data's grid and answers there; rows take turns on one
core after what they compile, whole rollouts one case at a time (solvers alone in one go), and the least of several
rounds counts, in seconds of the processor, which what else a machine does takes nothing from. Of solvers alone there
are two kinds of rows: as in the table, and with what their grid does not hold of the first frame kept and added to
every answer, which costs little and is how the corrected ones begin.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks._cfdbench_figures import one_core
from benchmarks._cfdbench_twins import twins
from benchmarks._cfdbench_worth import finite, generation
from benchmarks._ledger import Ledger
from benchmarks._runs import digest, done, records, validation
from sciml import load
from sciml.evaluation._held import Held
from sciml.solver import Restartable
from sciml.solvers import CorrectedFlow, IncompressibleFlow
from sciml.solvers import _corrected_training as training
from sciml.solvers._corrected_model import Velocities
from sciml.solvers._numerical import Begin
from sciml.solvers.baselines import Persistence
from sciml.training.losses import Nmse
from sciml.training.objectives import Growing, Supervised
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe, Running
from sciml.training.samples import open_data, table
from sciml.training.schedules import OneCycle

ALONE = (16, 24, 32, 48, 64, 96, 128)
LOOP, STEP = "in the loop", "one step"  # how corrected solvers are trained
#: corrected solvers: cells, how they are trained, and for how many times the minutes of a row of the table
TRAINED = ((32, LOOP, 1), (32, STEP, 1), (24, LOOP, 1), (16, LOOP, 1))
UNROLLED = 4
ROUNDS = 3
#: rows of the table beside these
OWN = ("U-Net", "U-Net, light", "U-Net, mirrored", "U-Net, light, mirrored", "FNO")


@dataclass
class Row:
    """A solver with its figures.

    Args:
        one_step, rollouts: (case, 2) squares of errors and of the truth, from every true frame and over whole rollouts.
        last: (case, 2) of the last frame.
        seconds: (round, case) of a frame.
    """

    name: str
    kind: str
    solver: Restartable
    cells: int | None = None
    run: Path | None = None
    one_step: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    rollouts: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    last: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    seconds: list[list[float]] = field(default_factory=list)

    def nmse(self, of: str, which: np.ndarray | slice = slice(None)) -> float:
        square, label = getattr(self, of)[which].sum(0)
        return float(square / label)

    @property
    def milliseconds(self) -> float:
        return 1e3 * float(np.min(self.seconds, axis=0).mean())

    @property
    def spread(self) -> float:
        rounds = np.mean(self.seconds, axis=1)
        return float(rounds.max() / rounds.min())


def recipe(minutes: float, in_the_loop: bool) -> Recipe:
    objective = Growing(Nmse(), steps=UNROLLED) if in_the_loop else Supervised(Nmse())
    return Recipe(
        length=ProcessorMinutes(minutes), batch=8, objective=objective, optimiser=AdamW(lr=2e-3, average=0.99),
        schedule=OneCycle(), validate_every=50, validation_items=48, keep="best",
    )  # fmt: skip


def trained(work: Any, flow: str, quick: bool) -> dict[str, Path]:
    """A run of each corrected solver; one that was interrupted goes on."""
    content, found = digest(*(m["sha256"] + m["split"] for m in work.manifest(flow))), {}
    for n, way, times in TRAINED[:1] if quick else TRAINED:
        model, how = CorrectedFlow(n, in_the_loop=way == LOOP), recipe(times * work.minutes, way == LOOP)
        key = digest(json.dumps([model.settings, how.to_json()], sort_keys=True), content)
        folder = work.runs / flow / "loop" / f"{n}-{way.replace(' ', '-')}-{key}"
        name = f"{n} × {n} corrected, {way}" + (f", {times} times as long" if times > 1 else "")
        if not done(folder):
            print(f"{flow}: training {name}", flush=True)
            model.fit(
                work.data(flow), how, subset=work.subset(flow),
                running=Running(out=folder, resume=True, progress=False, checkpoint_seconds=20),
            )  # fmt: skip
        found[name] = folder
    return found


def compare(ledger: Ledger, work: Any, flow: str, others: Mapping[str, Path]) -> list[dict[str, Any]]:
    """All rows of a flow on its test cases, written to the ledger.

    Args:
        others: runs of rows of the table, which stand beside.
    """
    path, runs = work.data(flow), trained(work, flow, work.quick)
    held = Held(table(open_data(path)[0], "test", work.fields(flow)).select(work.subset(flow)), 1)
    found = list(_rows(flow, runs, others, held, path, work.quick))
    for row in found:
        row.one_step, row.rollouts, row.last = _errors(held, row.solver)
        print(f"{flow}: {row.name}: {row.nmse('one_step'):.3g}, {row.nmse('rollouts'):.3g}", flush=True)
    with one_core():
        for row in found:
            _asked(held, row, 0)  # compiled
        for _ in range(1 if work.quick else ROUNDS):
            for row in found:
                _timed(held, row)
    unseen = _unseen(path, work.manifest(flow), held)
    cases, seconds = generation(flow, work)
    ledger.row(section="loop, data", flow=flow, cases=cases, test_cases=len(held), unseen=int(unseen.sum()),
               seconds_estimated=finite(seconds), rounds=ROUNDS)  # fmt: skip
    still = next(row for row in found if row.name == "persistence")
    lines = [_told(row, still, flow, unseen) for row in found]
    for line in lines:
        ledger.row(**line)
    for row in found:
        if row.kind == "corrected":
            for of in ("one_step", "rollouts"):
                ledger.row(**_answer(row, found, flow, of, seconds))
    for row in found:
        if row.kind == "corrected":
            ledger.row(section="loop, floors", flow=flow, row=row.name, cells=row.cells, **_floors(held, row.solver))
    return lines


def _rows(
    flow: str, runs: Mapping[str, Path], others: Mapping[str, Path], held: Held, path: Path, quick: bool
) -> Iterator[Row]:
    yield Row("persistence", "baseline", Persistence().fit(path, fields=held.table.fields))
    models: dict[str, Any] = {name: load(run) for name, run in runs.items()}
    for name, model in models.items():
        yield Row(name, "corrected", model, model.resolution[0], runs[name])
    first = next(iter(models.values()))
    for n in ALONE[:3] if quick else ALONE:
        solver = IncompressibleFlow(n, tendencies=False)
        for case in held.table.cases:
            solver.fit(case)
        yield Row(f"{n} × {n}", "alone", solver, n)
    for n in ALONE[:3] if quick else ALONE:
        if n <= first.encoding.template.shape[0]:
            yield Row(f"{n} × {n}, details kept", "details kept", first.plain(n), n)
    for name, run in others.items():
        yield Row(name, "learned", load(run), None, run)


def _steps(held: Held, solver: Restartable, i: int, first: int, count: int) -> list[np.ndarray]:
    """`count` frames of case i after its frame `first`, in the problem's scales."""
    assert held.table.times is not None
    start = held.starts([(i, first)], solver)
    times = held.table.times[i][None, first + 1 : first + 1 + count]
    return [frames[0] / held.scale(i) for frames in solver.rollout(start, times)]


def _errors(held: Held, solver: Restartable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `Row`."""
    found = np.zeros((3, len(held), 2))
    for i in range(len(held)):
        weights, count = held.weights(i), held.length(i) - 1

        def squares(answer: np.ndarray, k: int, i: int = i, weights: np.ndarray = weights) -> np.ndarray:
            truth = held.frames(i, k)[0]
            gap = np.where(weights > 0, answer - truth, 0.0)
            return np.array([(gap**2 * weights).sum(), (truth**2 * weights).sum()])

        for k in range(count):
            found[0, i] += squares(_steps(held, solver, i, k, 1)[0], k + 1)
        for k, answer in enumerate(_steps(held, solver, i, 0, count)):
            found[1, i] += squares(answer, k + 1)
            if k == count - 1:
                found[2, i] = squares(answer, k + 1)
    return found[0], found[1], found[2]


def _timed(held: Held, row: Row) -> None:
    found = []
    for i in range(len(held)):
        count = held.length(i) - 1
        began = time.process_time()
        _asked(held, row, i)
        found.append((time.process_time() - began) / count)
    row.seconds.append(found)


def _asked(held: Held, row: Row, i: int) -> list[np.ndarray]:
    """All frames of case i after its first."""
    if row.kind in ("alone", "details kept"):
        return _marched(held, row, i)
    return _steps(held, row.solver, i, 0, held.length(i) - 1)


def _marched(held: Held, row: Row, i: int) -> list[np.ndarray]:
    """All frames of case i by a solver alone, which marches through them in one go: a restart at each would cost it
    more."""
    assert held.table.times is not None
    (start,), times = held.starts([(i, 0)], row.solver), held.table.times[i][1:]
    if row.kind == "alone":
        alone: Any = row.solver
        back = alone.back(start, alone.grid(start.case))
        found = alone.run([start.case], [times], [alone.begin(start)])[0]
        return [back(np.stack([found[n][k] for n in held.table.fields])) for k in range(len(times))]
    model: Any = row.solver
    coarse, m = model.fitted_as.coarse, model.fitted_as.coarse.matrices
    u, v = coarse.grids.down(start.case, *start.frames[-1], start.support, start.time)
    found = model.flow.run([start.case], [times], [Begin({"u_face": u, "v_face": v}, start.time)])[0]

    def up(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return m.up(Velocities(*(torch.from_numpy(np.array(x, np.float32)) for x in (a, b)))).numpy()

    answers = up(found["u_face"], found["v_face"]) + (start.frames[-1] - up(u[None], v[None])[0])
    return list(answers if start.support.inside is None else answers * start.support.inside)


def _unseen(path: Path, manifest: list[dict[str, Any]], held: Held) -> np.ndarray:
    """(case,) which are neither a training case in other units nor its mirror image."""
    same = twins(path, manifest) | twins(path, manifest, mirrored=True)
    return np.array([int(n) not in same for n in held.table.number])


def _told(row: Row, still: Row, flow: str, unseen: np.ndarray) -> dict[str, Any]:
    line: dict[str, Any] = {
        "section": "loop", "flow": flow, "row": row.name, "kind": row.kind, "cells": row.cells,
        "one_step_nmse": row.nmse("one_step"), "over_identity": row.nmse("one_step") / still.nmse("one_step"),
        "rollout_nmse": row.nmse("rollouts"), "last_nmse": row.nmse("last"),
        "one_step_unseen": row.nmse("one_step", unseen), "rollout_unseen": row.nmse("rollouts", unseen),
        "milliseconds_per_step": row.milliseconds, "slowest_round_over_fastest": row.spread,
        "weights": None, "steps": None, "minutes": None, "validation": None,
    }  # fmt: skip
    if row.run is not None:
        solver: Any = row.solver
        line |= {"weights": solver.weights, "steps": records(row.run)[-1]["step"], "minutes": _minutes(row.run)}
        line["validation"] = validation(row.run)
    return {k: finite(v) if isinstance(v, float) else v for k, v in line.items()}


def _minutes(run: Path) -> float:
    """Of training."""
    return float(json.loads((run / "config.json").read_text())["training"]["recipe"]["length"]["value"])


def _answer(row: Row, rows: Sequence[Row], flow: str, of: str, seconds: float) -> dict[str, Any]:
    """The cheapest solver alone that errs no more, and the most exact one that costs no more."""
    alone = [r for r in rows if r.kind in ("alone", "details kept")]
    exact = [r for r in alone if r.nmse(of) <= row.nmse(of)]
    cheap = [r for r in alone if r.milliseconds <= row.milliseconds]
    line: dict[str, Any] = {
        "section": "loop, answer", "flow": flow, "row": row.name, "of": of.replace("_", " "), "nmse": row.nmse(of),
        "milliseconds": row.milliseconds, "as_exact": None, "times_cheaper": None, "as_cheap": None,
        "times_the_error": None, "pays_after_cases": None,
    }  # fmt: skip
    if exact:
        cheapest = min(exact, key=lambda r: r.milliseconds)
        line |= {"as_exact": cheapest.name, "times_cheaper": cheapest.milliseconds / row.milliseconds}
        saved = (cheapest.milliseconds - row.milliseconds) * 20e-3
        spent = seconds + 60 * (0.0 if row.run is None else _minutes(row.run))
        line["pays_after_cases"] = spent / saved if saved > 0 and math.isfinite(spent) else None
    if cheap:
        best = min(cheap, key=lambda r: r.nmse(of))
        line |= {"as_cheap": best.name, "times_the_error": best.nmse(of) / row.nmse(of)}
    return line


def _floors(held: Held, solver: Any) -> dict[str, float]:
    """NMSE of what the coarse grid makes of true frames by itself: the true coarse velocities brought back, by linear
    interpolation from the middles of cells as solvers' rows have it, by cubic interpolation from the faces, with what
    the frame before held beside, and with what the network says that this becomes."""
    model, f = solver, solver.fitted_as
    some = training.bridges_of(model.flow, training._restarts.ends_of(held.table.cases), 8)
    batches = training.CoarseBatches(
        held.table, model.encoding, model.flow, some, f.coarse, horizon=1, batch_size=8, shuffle=False
    )  # fmt: skip
    loop = training.CorrectedModel(f.operator, f.coarse, some.advance, some.project)
    m, sums = loop.correct.m, np.zeros((4, 2))
    every: Any = batches.epoch(0)
    for batch in every:
        with torch.no_grad():
            state = loop.start(batch)
            q, then = state.q, Velocities(*(a[:, 1] for a in batch.q))
            detail = state.fine - m.up(q)
            _, turned = loop.correct(Velocities(*batch.ahead), q, detail, batch.fluid, batch.params[:, 0])
            assert turned is not None
            mask = 1.0 if batch.given.mask is None else batch.given.mask
            truth = (batch.target[:, 0] * m.scale + m.offset) * mask
            middles = torch.stack([(then.u[..., 1:] + then.u[..., :-1]) / 2, (then.v[:, 1:] + then.v[:, :-1]) / 2], 1)
            back = []
            for case, values in zip(batch.cases, middles.double().numpy(), strict=True):
                coarse, fine = model.flow.grid(case), f.coarse.encoding.support(case)
                back.append(torch.from_numpy(coarse.onto(values, fine)))
            answers = (torch.stack(back), m.up(then), m.up(then) + detail, m.up(then) + detail + turned)
            for k, answer in enumerate(answers):
                sums[k] += [float(((answer - truth) * mask).square().sum()), float(truth.square().sum())]
    names = ("linear_nmse", "cubic_nmse", "details_kept_nmse", "decoded_nmse")
    return dict(zip(names, (sums[:, 0] / sums[:, 1]).tolist(), strict=True))
