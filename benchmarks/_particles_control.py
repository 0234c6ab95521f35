"""A plate that pushes a heap to a goal: by gradients through the solver or a surrogate, and without gradients."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks._ledger import Ledger
from benchmarks._particles_rows import FOLDER, Entry, trained
from sciml import data, load, problems
from sciml.boundary import Series
from sciml.control import Evaluation, Inside, Steered, Task, compare_gradient, steer
from sciml.problem import Case
from sciml.solvers import MaterialPoint

KNOTS, LAST, FRAMES = 12, 1.0, 51  # of the plate's velocity along x and along y; s; frames of data
SPEED = 0.6  # m/s, most of either component
RESOLUTION = 32
GOAL = Inside((0.55, None), (0.8, None), 0.04)
REACHED = 0.33  # of the mass outside, at which the task is done: about half of what it is at the start
EVALUATIONS = {"lbfgs": 30, "adam": 30, "cobyqa": 150, "cma": 150, "nelder_mead": 150}  # at most
ON_SURROGATE = 12
STARTS = 3
TURNS = 5  # of a value, and of one with its gradient
TRAINING = 40  # cases of random motions
ENTRY = Entry("giorom", settings={"nodes": 256}, noise=0.02)


def case_of(u: np.ndarray, label: str = "") -> Case:
    """The heap with a plate whose velocity has these values at its knots: first along x, then along y."""
    knots = np.linspace(0.0, LAST, KNOTS)
    x, y = np.asarray(u, dtype=np.float64).reshape(2, KNOTS)
    return problems.PushedMaterial(material="sand").case(
        label, plate_velocity_x=Series(knots, x), plate_velocity_y=Series(knots, y)
    )


def task(start: np.ndarray) -> Task:
    low, high = np.full(2 * KNOTS, -SPEED), np.full(2 * KNOTS, SPEED)
    return Task(case_of, [LAST], GOAL, start, low, high)


def starts() -> list[np.ndarray]:
    """A gentle push to the right, differently uneven each time."""
    found = []
    for seed in range(STARTS):
        random = np.random.default_rng(seed)
        found.append(np.concatenate([0.1 + 0.05 * random.standard_normal(KNOTS), 0.02 * random.standard_normal(KNOTS)]))
    return found


def motions(random: np.random.Generator) -> np.ndarray:
    """A random motion: a drift to the right, and what changes slowly."""
    drift = np.concatenate([np.full(KNOTS, random.uniform(0, 0.4)), np.full(KNOTS, random.uniform(-0.1, 0.1))])
    rough = random.standard_normal((2, KNOTS))
    smooth = np.apply_along_axis(lambda v: np.convolve(v, np.ones(3) / 3, "same"), 1, rough).ravel()
    return np.clip(drift + 0.25 * smooth, -SPEED, SPEED)


def made() -> Any:
    """Heaps pushed in many ways, for the surrogate."""
    path = FOLDER / "pushed.h5"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(7)
        parts = ["train"] * TRAINING + ["validation"] * 4 + ["test"] * 4
        cases = [case_of(motions(random), f"motion {k}") for k in range(len(parts))]
        solver = MaterialPoint(RESOLUTION)
        times = np.linspace(0.0, LAST, FRAMES)
        found = dict(solver.stream(cases, [times] * len(cases)))
        names = ("displacement_x", "displacement_y", "velocity_x", "velocity_y")
        kept = [found[i] for i in range(len(cases))]
        data.write(data.pack(kept, splits=parts, fields=names), path)
    return path


def measure(ledger: Ledger, work: Any) -> None:
    ledger.seeds(*range(STARTS))
    first = starts()[0]
    compared = compare_gradient(task(first), MaterialPoint(RESOLUTION, dtype="float64"), step=1e-7)
    ledger.row(
        section="control_gradient", row="material points, float64", numbers=2 * KNOTS, cosine=compared.cosine,
        relative_error=compared.relative_error,
    )  # fmt: skip
    ledger.check("control_gradient_cosine", compared.cosine)
    solver = MaterialPoint(RESOLUTION)
    single = compare_gradient(task(first), solver, step=1e-3)
    ledger.row(section="control_gradient", row="material points, float32", numbers=2 * KNOTS, cosine=single.cosine,
               relative_error=single.relative_error)  # fmt: skip
    ledger.row(section="control_cost", row="material points", particles=len(solver.grid(case_of(first)).points()),
               **_cost(solver, task(first)))  # fmt: skip
    path = made()
    folders = trained("control", path, {"GIOROM": ENTRY}, work.minutes)
    surrogate: Any = load(folders["GIOROM"][0])

    counts: dict[str, list[int]] = {}
    best: Steered | None = None
    for method, rate in (("lbfgs", 0.1), ("adam", 0.05), ("cobyqa", 0.1), ("cma", 0.15), ("nelder_mead", 0.1)):
        runs = [
            steer(task(s), solver, method, evaluations=EVALUATIONS[method], goal=REACHED, rate=rate, seed=k)
            for k, s in enumerate(starts())
        ]
        counts[method] = [r.evaluations_to(REACHED) or len(r.evaluations) for r in runs]
        _row(ledger, f"{method}, material points", runs, counts[method])
        print(method, counts[method], [round(r.value, 3) for r in runs], flush=True)
        if method == "lbfgs":
            best = min(runs, key=lambda r: r.value)
    through = []
    for k, s in enumerate(starts()):
        found = steer(task(s), surrogate, "adam", evaluations=ON_SURROGATE, rate=0.05, seed=k)
        true = solver.value(case_of(found.u), task(s).times, GOAL, solver.setup(case_of(found.u)))
        through.append((found, true))
    ledger.row(
        section="control", row="adam, GIOROM", starts=STARTS, reached=sum(t <= REACHED for _, t in through),
        evaluations=[len(f.evaluations) for f, _ in through], value_by_the_surrogate=[f.value for f, _ in through],
        value=[t for _, t in through], seconds=[f.evaluations[-1].seconds for f, _ in through],
    )  # fmt: skip
    by_gradient = min(("lbfgs", "adam"), key=lambda m: np.median(counts[m]))
    without = min(("cobyqa", "cma", "nelder_mead"), key=lambda m: np.median(counts[m]))
    ratio = float(np.median(counts[by_gradient]) / np.median(counts[without]))
    ledger.check(
        "control_evaluations_vs_gradient_free", ratio,
        note=f"{by_gradient} {counts[by_gradient]} evaluations, {without} {counts[without]}, one with its gradient "
        "counted as one; who did not reach it counts with all that were allowed; seconds stand in the rows",
        reason="the best of three methods without gradients needs few evaluations, too",
    )  # fmt: skip
    assert best is not None
    np.savez(FOLDER / "control.npz", u=best.u, start=first, surrogate=through[0][0].u)


def _cost(solver: MaterialPoint, given: Task) -> dict[str, Any]:
    """What a value with its gradient takes beside a value alone, by turns, both compiled before."""
    case = given.case(given.start)
    setup = solver.setup(case)
    ways = (solver.value, solver.value_and_gradient)
    took: list[list[float]] = [[], []]
    for turn in range(1 + TURNS):
        for way, seconds in zip(ways, took, strict=True):
            began = time.perf_counter()
            way(case, given.times, given.goal, setup)
            if turn:
                seconds.append(time.perf_counter() - began)
    plain, both = (float(np.median(seconds)) for seconds in took)
    ratios = [b / a for a, b in zip(*took, strict=True)]
    return {"seconds": plain, "seconds_with_gradient": both, "ratio": both / plain, "range": [min(ratios), max(ratios)]}


def _row(ledger: Ledger, row: str, runs: list[Steered], counts: list[int]) -> None:
    ledger.row(
        section="control", row=row, starts=len(runs), reached=sum(r.reached for r in runs), evaluations=counts,
        value=[r.value for r in runs], seconds=[r.evaluations[-1].seconds for r in runs],
    )  # fmt: skip
    course: tuple[Evaluation, ...] = runs[0].evaluations
    ledger.row(section="control_course", row=row, value=[float(v) for v in np.minimum.accumulate(
        [min(e.value, 1.0) for e in course])])  # fmt: skip
