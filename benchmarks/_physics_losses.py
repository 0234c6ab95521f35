"""Fourier neural operators with the balances of their problem as a loss: with few, some and all training cases.

Beside data alone stand the residual on the cases with solutions, the residual on these and on all others of the
training split without theirs, the residual alone, and an adaptation to each test case. All take as many steps, and
keep the weights with the least error on every fifth of their solutions.
"""

from __future__ import annotations

import statistics
import time
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from benchmarks._ledger import WORK, Kept, Ledger
from sciml import Case, data
from sciml.operators import FNO
from sciml.solvers import Surrogate
from sciml.solvers.generation import generate
from sciml.training import AdamW, Cosine, Recipe, Running, Steps, Supervised, WithPhysics

LABELLED = (10, 50, None)
SEEDS = 1
ALONE = "balances alone"
WEIGHTS = (0.1, 1.0, 10.0)  # of the residual beside the data
FINE_TUNING = 100  # steps on each test case
TUNED = 10  # test cases that are adapted to


@dataclass(frozen=True)
class Task:
    """A problem, and what learns it.

    Args:
        norm: in which the residual is measured: of steady second-order balances that of order −2 counts errors of all
            lengths alike.
    """

    problem: str
    cells: int
    cases: int
    held_out: int
    width: int
    modes: tuple[int, ...]
    norm: float
    steps: int = 1500

    def path(self) -> Path:
        found = WORK / "physics_losses" / f"{self.problem}_{self.cells}_{self.cases}.h5"
        if not found.exists():
            found.parent.mkdir(parents=True, exist_ok=True)
            generate(self.problem, found, cases=self.cases, resolution=self.cells, seed=0, progress=False)
        return found


TASKS = (
    Task("darcy", 32, 300, 100, 24, (10, 10), -2.0),
    Task("burgers", 128, 300, 100, 32, (16,), 0.0),
)
QUICK = (Task("darcy", 16, 24, 4, 8, (4, 4), -2.0, 4), Task("burgers", 32, 24, 4, 8, (6,), 0.0, 4))


def measure(ledger: Ledger, work: Any) -> None:
    """Mean relative L2 error over the held-out cases (Burgers: of all frames, from the true first one)."""
    quick = work.given.quick
    kept = Kept("physics_losses", dry=quick)
    torch.set_num_threads(1)
    for task in QUICK if quick else TASKS:
        solutions = _solutions(task.path())
        train, test = solutions[: -task.held_out], solutions[-task.held_out :]
        for labelled in (LABELLED[0],) if quick else LABELLED:
            n = len(train) if labelled is None else labelled
            for name, objective, unlabelled in _rows(task, n < len(train)):
                each = [
                    kept(
                        partial(_trained, task, train, test, n, objective, unlabelled, seed),
                        task=repr(task), labelled=n, objective=repr(objective), unlabelled=unlabelled, seed=seed,
                    )
                    for seed in range(work.seeds(SEEDS))
                ]  # fmt: skip
                errors = [e["relative_l2"] for e in each]
                with_solutions = 0 if name == ALONE else n
                row = {
                    "section": "losses", "problem": task.problem, "row": name, "cases_with_solutions": with_solutions,
                    "cases_without": len(train) - with_solutions if unlabelled or name == ALONE else 0,
                    "relative_l2": statistics.median(errors), "relative_l2_each": errors,
                    "train_s": statistics.median(e["train_s"] for e in each),
                }  # fmt: skip
                tuned = [e["fine_tuned_relative_l2"] for e in each if "fine_tuned_relative_l2" in e]
                if tuned:
                    row |= {"fine_tuned_relative_l2": statistics.median(tuned), "same_before": statistics.median(
                        e["same_before_relative_l2"] for e in each), "fine_tuning_s": statistics.median(
                        e["fine_tuning_s"] for e in each)}  # fmt: skip
                ledger.row(**row)
                print(row, flush=True)


def _rows(task: Task, others: bool) -> list[tuple[str, WithPhysics | Supervised, bool]]:
    """(name, objective, whether the other training cases come without their solutions)."""
    found: list[tuple[str, WithPhysics | Supervised, bool]] = [("data", Supervised(), False)]
    for weight in WEIGHTS:
        objective = WithPhysics(Supervised(), weight, norm=task.norm)
        found.append((f"data and balances, weight {weight:g}", objective, False))
        if others:
            found.append((f"data and balances, weight {weight:g}, of all cases", objective, True))
    if not others:
        found.append((ALONE, WithPhysics(None, 1.0, norm=task.norm), False))
    return found


def _trained(
    task: Task, train: list[xr.Dataset], test: list[xr.Dataset], n: int, objective: Any, unlabelled: bool, seed: int
) -> dict[str, Any]:
    surrogate = Surrogate(FNO, width=task.width, modes=task.modes)
    alone = isinstance(objective, WithPhysics) and objective.objective is None
    recipe = Recipe(
        Steps(task.steps), 8, objective, optimiser=AdamW(lr=3e-3), schedule=Cosine(), seed=seed,
        validate_every=50, keep="last" if alone else "best",
    )  # fmt: skip
    # every fifth solution says which weights are kept; balances need none
    parts = ["validation" if i % 5 == 2 and not alone else "train" for i in range(n)]
    known = data.pack(train[:n], parts)
    quiet, others = Running(progress=False, device="cpu"), [_case(s) for s in train[n:]] if unlabelled else []
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # cases beyond what training saw
        surrogate.fit(known, recipe, validation=None if alone else "validation", running=quiet, cases=others)
        found = {"train_s": time.process_time() - began}
        found["relative_l2"] = float(np.mean([_error(surrogate, s) for s in test]))
        if isinstance(objective, Supervised):
            few, began = test[:TUNED], time.process_time()
            found["same_before_relative_l2"] = float(np.mean([_error(surrogate, s) for s in few]))
            tuned = [
                surrogate.fine_tuned(
                    _case(s), s.time.values[1:] if "time" in s.dims else None, steps=min(FINE_TUNING, task.steps),
                    objective=WithPhysics(norm=task.norm),
                )
                for s in few
            ]  # fmt: skip
            found["fine_tuning_s"] = (time.process_time() - began) / len(few)
            errors = [_error(t, s) for t, s in zip(tuned, few, strict=True)]
            found["fine_tuned_relative_l2"] = float(np.mean(errors))
    return found


def _solutions(path: Path) -> list[xr.Dataset]:
    ds = data.open(path).load()
    return [data.case(ds, i)[1] for i in range(ds.sizes["case"])]


def _case(solution: xr.Dataset) -> Case:
    return Case.from_parts(solution.attrs, {str(k): v.values for k, v in solution.variables.items()})


def _error(surrogate: Surrogate, truth: xr.Dataset) -> float:
    """‖û − u‖ / ‖u‖ over all cells, and frames after the first."""
    name = surrogate.encoding.fields[0]
    if "time" not in truth.dims:
        answer = surrogate.solve(_case(truth))
    else:
        answer = surrogate.resume(_case(truth), truth.isel(time=0), truth.time.values[1:])
        truth = truth.isel(time=slice(1, None))
    gap = answer[name].values - truth[name].values
    return float(np.linalg.norm(gap) / np.linalg.norm(truth[name].values))
