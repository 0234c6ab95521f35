"""What surrogates are worth beside the solver where flows are steady: past polygons, one answer a case.

The solver marches from the inflow's profile until the flow has settled. How long it needs to be as exact as a
surrogate, and on how many cells, is not known beforehand: it is a row on several grids, stopped at several times, with
its error against the stored flow, and the cheapest one that is as exact counts. So it is stopped at the best time that
there is, which who uses it does not know. The stored flows are the solver's own on the finest grid of the data, which
is no row: it would be held against itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _deepcfd
from benchmarks._cfdbench_figures import NUMERICAL, one_core
from benchmarks._cfdbench_worth import ROUNDS, TEST, Row, against, clock, compile_anew, finite, paid, spent
from benchmarks._ledger import Ledger
from sciml import load
from sciml.data._deepcfd import OBSTACLE
from sciml.errors import InputError, SolverError
from sciml.evaluation._held import Held
from sciml.problem import Case
from sciml.solvers import IncompressibleFlow, Surrogate, baselines, interpolation, references
from sciml.support import Grid
from sciml.training.samples import open_data, table

GRIDS = ((20, 44), (30, 66), (40, 88), (60, 132))
TIMES = (2.0, 4.0, 8.0, 16.0)  # s; the channel is crossed in 2.6
CASES = 10  # of the test, that the solver and the clock take
ASKED = "a steady flow"


def compare(ledger: Ledger, work: Any, flow: str, runs: Mapping[str, Path]) -> list[dict[str, Any]]:
    """All rows on the first test cases, written to the ledger."""
    fields = work.fields(flow)
    held = Held(table(open_data(work.data(flow))[0], "test", fields), 1)
    chosen = list(range(min(CASES, len(held))))
    cases = _polygons(held, chosen)
    rows = list(_learned(work, flow, fields, runs))
    compile_anew()
    truth = np.stack([held.frames(i, 0)[0] for i in chosen])
    inside = np.stack([held.weights(i) > 0 for i in chosen])
    with one_core():
        for row in rows:
            began = clock()
            row.squares[ASKED] = _squares(np.stack([_asked(held, row, i) for i in chosen]), truth, inside)
            row.first[ASKED] = clock() - began
        for _ in range(ROUNDS):
            for row in rows:
                _timed(held, row, chosen)
        solvers = [
            row for counts in GRIDS[: 2 if work.quick else None] for row in _solver(counts, cases, truth, inside, held)
        ]
        seconds = _making(cases[0])
    every = rows + solvers
    made = sum(m["split"] in ("train", "validation") for m in work.manifest(flow))
    lines = []
    for row in every:
        line: dict[str, Any] = {
            "section": "worth", "flow": flow, "asked": ASKED, "of": TEST, "row": row.name, "kind": row.kind,
            "nmse": finite(row.error(ASKED)), "milliseconds": 1e3 * row.alone(ASKED),
            "milliseconds_together": None, "slowest_round_over_fastest": row.spread(ASKED),
            "seconds_compiling": row.compiling(ASKED), "weights": None,
        }  # fmt: skip
        if row.kind != "solver":
            line |= against(row, solvers, ASKED)
            line |= paid(line, made * seconds + (spent(work) if row.kind == "learned" else 0.0))
        if row.kind == "learned":
            assert isinstance(row.solver, Surrogate)
            line["weights"] = row.solver.weights
        lines.append(line)
        ledger.row(**line)
    about = {"cases": made, "seconds_estimated": made * seconds, "test_cases": len(chosen), "new_flows": len(chosen)}
    ledger.row(section="worth, data", flow=flow, **about, together=None, rounds=ROUNDS)
    return lines


def _polygons(held: Held, chosen: list[int]) -> list[Case]:
    """The cases that the stored flows were made from: the data hold distances alone, and the draw is repeated."""
    random, found = np.random.default_rng(0), {}
    inside = {i: held.weights(i) > 0 for i in chosen}
    for _ in range(1000):
        case = _deepcfd.ObstacleFlow(_deepcfd.polygon(random)).case()
        fluid = _deepcfd.given(case, Grid.uniform(case.geometry, _deepcfd.SHAPE))[1] != OBSTACLE
        found |= {i: case for i, mask in inside.items() if i not in found and np.array_equal(fluid, mask)}
        if len(found) == len(chosen):
            return [found[i] for i in chosen]
    raise RuntimeError("the polygons of the test cases are not those that are drawn")


def _learned(work: Any, flow: str, fields: tuple[str, ...], runs: Mapping[str, Path]) -> Iterator[Row]:
    yield Row("mean field", "baseline", baselines.MeanField().fit(work.data(flow), fields=fields))
    yield Row("interpolation", "baseline", interpolation.ParameterInterpolation().fit(work.data(flow), fields=fields))
    for name, run in runs.items():
        yield Row(name, "learned", load(run))


def _asked(held: Held, row: Row, i: int) -> np.ndarray:
    """(field, *shape) in the problem's scales."""
    answer = row.solver.solve(held.table.cases[i])
    return np.stack([answer[f].values for f in held.table.fields]) / held.scale(i)


def _timed(held: Held, row: Row, chosen: list[int]) -> None:
    if ASKED not in row.seconds:
        row.seconds[ASKED] = []
    found = []
    for i in chosen:
        began = clock()
        _asked(held, row, i)
        found.append(clock() - began)
    row.seconds[ASKED].append(found)


def _squares(answers: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(case, 2) squares of the error and of the truth, of each field over its sum over all cases, so that its units do
    not make it count more."""
    mask = inside[:, None]
    square = (np.where(mask, answers - truth, 0.0) ** 2).sum((2, 3))
    label = (np.where(mask, truth, 0.0) ** 2).sum((2, 3))
    total = label.sum(axis=0)
    return np.stack([(square / total).sum(1), (label / total).sum(1)], axis=1)


def _making(case: Case) -> float:
    """Seconds that the data took for a case, by the stretch of time that two of its frames are apart."""
    solver = IncompressibleFlow(_deepcfd.SHAPE, tendencies=False)
    solver.solve(case, [0.5])  # compiles
    began = clock()
    solver.solve(case, [0.5])
    short, began = clock() - began, clock()
    solver.solve(case, [2.0])
    return (clock() - began - short) / 1.5 * _deepcfd.TIMES[-1]


def _solver(
    counts: tuple[int, int], cases: list[Case], truth: np.ndarray, inside: np.ndarray, held: Held
) -> Iterator[Row]:
    """One grid, stopped at each of the times; where it takes not all polygons, it is no row."""
    solver = IncompressibleFlow(counts, tendencies=False)
    onto = [solver.grid(c).map_onto(Grid.uniform(c.geometry, _deepcfd.SHAPE, masked=True)) for c in cases]
    for stop in TIMES:
        row = Row(f"{NUMERICAL}{references.sized(counts)}, stopped at {stop:g} s", "solver", solver, [solver])

        def answer(k: int, stop: float = stop) -> np.ndarray:
            found = solver.solve(cases[k], [stop])
            fields = onto[k](np.stack([found[n].values[0] for n in ("u", "v", "p")]))
            fields[2] /= _deepcfd.DENSITY
            return fields / held.scale(0)

        began = clock()
        try:
            answers = np.stack([answer(k) for k in range(len(cases))])
        except (InputError, SolverError) as error:
            print(f"{row.name}: {error}: left out", flush=True)
            return
        row.first[ASKED], row.seconds[ASKED] = clock() - began, []
        row.squares[ASKED] = _squares(answers, truth, inside)
        for _ in range(ROUNDS):
            taken = []
            for k in range(len(cases)):
                began = clock()
                answer(k)
                taken.append(clock() - began)
            row.seconds[ASKED].append(taken)
        print(f"{row.name}: {row.error(ASKED):.3g}, {1e3 * row.alone(ASKED):.0f} ms", flush=True)
        yield row
