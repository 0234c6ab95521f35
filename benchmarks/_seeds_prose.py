"""One model of four problems that reads their equations: beside the same without symbols, beside an FNO for each, and
on an equation that it never saw."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _seeds_prose_families as families
from benchmarks._ledger import WORK, Kept, Ledger
from sciml import data, load
from sciml.operators import FNO
from sciml.operators.prosefd import PROSEFD, EquationBatch
from sciml.solver import Start
from sciml.solvers import FoundationModel, Persistence, Surrogate
from sciml.training.optimisers import AdamW
from sciml.training.recipe import ProcessorMinutes, Recipe, Running
from sciml.training.samples import CaseTable, table
from sciml.training.stepping import Window

COUNTS = (80, 8, 20)  # cases of a problem: of training, validation and test
WINDOW = Window(4, 8)
MINUTES = 3.0  # on the processor, of a model of all problems; an FNO of one has a like share
SEEN = {"1 frame": 1, "4 frames": 4}  # frames that a rollout begins with
BOTH, FRAMES, ALONE, STILL = "frames and symbols", "frames alone", "FNO of one problem", "persistence"


def recipe(minutes: float, batch: int, rate: float, seed: int) -> Recipe:
    return Recipe(
        length=ProcessorMinutes(minutes), batch=batch, optimiser=AdamW(lr=rate, average=0.99), seed=seed,
        validation_items=64, keep="best",
    )  # fmt: skip


def errors(solver: Any, cases: CaseTable, seen: int) -> dict[str, list[float]]:
    """‖û − u‖/‖u‖ of each field, over all the frames that are answered at once, for each test case."""
    found: dict[str, list[float]] = {name: [] for name in cases.fields}
    assert cases.times is not None
    for i, case in enumerate(cases.cases):
        truth, clock = cases.frames(i) * cases.scales(i).reshape(1, -1, 1, 1), cases.times[i]
        start = Start(case, cases.support(i), truth[:seen], float(clock[seen - 1]), fields=cases.fields)
        answer = np.stack([f[0] for f in solver.rollout([start], clock[None, seen : seen + WINDOW.n_out])])
        gap = answer - truth[seen : seen + WINDOW.n_out]
        for k, name in enumerate(cases.fields):
            label = truth[seen : seen + WINDOW.n_out, k]
            found[name].append(float(np.sqrt((gap[:, k] ** 2).sum() / (label**2).sum())))
    return found


def summary(found: Mapping[str, list[float]]) -> dict[str, float]:
    """The mean over fields and cases, and the spread over cases."""
    each = np.mean(list(found.values()), axis=0)
    low, high = np.quantile(each, (0.1, 0.9))
    return {"relative_error": float(each.mean()), "least_tenth": float(low), "most_tenth": float(high)}


def model(paths: list[Path], told: bool, seed: int, minutes: float, folder: Path) -> FoundationModel:
    """A trained model, kept in a folder."""
    run = folder / "runs" / f"{'both' if told else 'frames'}_{seed}_{minutes:g}"
    if (run / "config.json").exists():
        return load(run, device="cpu")
    new = FoundationModel(WINDOW, symbols=told, device="cpu")
    how = Running(out=run, progress=False, device="cpu", resume=run.exists())
    return new.fit(paths, recipe(minutes, 32, 1e-3, seed), running=how)


def specialised(path: Path, seed: int, minutes: float, folder: Path) -> Surrogate:
    """An FNO of one problem, which is given the case's parameters as numbers."""
    run = folder / "runs" / f"fno_{path.stem}_{seed}_{minutes:g}"
    if (run / "config.json").exists():
        return load(run, device="cpu")
    new = Surrogate(FNO, WINDOW, device="cpu", width=24, modes=(8, 8))
    how = Running(out=run, progress=False, device="cpu", resume=run.exists())
    return new.fit(path, recipe(minutes, 16, 4e-3, seed), running=how)


def padded() -> float:
    """The largest change of an answer, in units of a field's spread, that symbols which are none make: float32."""
    torch.manual_seed(0)
    operator, words = PROSEFD(2, 60).eval(), torch.randint(1, 60, (4, 50))
    worst = 0.0
    for more in (1, 17, 200):
        x, ones = torch.randn(4, 4, 2, 32, 32), torch.ones(4, 50)
        past, future = torch.linspace(-0.5, 0, 4).expand(4, -1), torch.linspace(0.1, 1, 8).expand(4, -1)
        given = EquationBatch(x, past, future, torch.randn(4, 2, 2), torch.ones(4, 2), None, None, words,
                              torch.randn(4, 50), ones)  # fmt: skip
        several = {
            "words": torch.cat([words, torch.randint(0, 60, (4, more))], 1),
            "numbers": torch.cat([given.numbers, 1e3 * torch.randn(4, more)], 1),  # type: ignore[list-item]
            "symbols": torch.cat([ones, torch.zeros(4, more)], 1),
        }
        with torch.no_grad():
            gap = operator(**given.arguments() | several) - operator(**given.arguments())
        worst = max(worst, float(gap.abs().max()))
    return worst


def measure(ledger: Ledger, work: Any) -> None:
    folder = WORK / "seeds" / "prose" / ("quick" if work.quick else "")
    minutes = 0.05 if work.quick else MINUTES * (3 if work.full else 1)
    counts = (4, 2, 2) if work.quick else COUNTS
    seeds = range(3 if work.full else 1)
    ledger.seeds(*seeds)
    told = "float32, sizes of two cores, up to 200 further symbols, units of a field's spread"
    kept = Kept("seeds/prose", dry=work.quick, files=("_seeds_prose.py",))
    ledger.check("padded_symbols_change", kept(padded, what="padding"), told, note=told)
    sets = (*families.TRAINED, families.HELD_OUT)
    paths = [families.made(some, folder, counts, k) for k, some in enumerate(sets)]
    known, other = paths[:-1], paths[-1]
    ratios = []
    for seed in seeds:
        rows: dict[str, Any] = {}
        for name, symbols in ((BOTH, True), (FRAMES, False)):
            rows[name] = model(known, symbols, seed, minutes, folder)
        middles: dict[str, list[float]] = {BOTH: [], FRAMES: []}
        for some, path in zip(sets, paths, strict=True):
            cases, held = table(data.open(path), "test"), path == other
            solvers = {n: (m.introduced(path) if held else m) for n, m in rows.items()}
            solvers[ALONE] = specialised(path, seed, minutes / len(known), folder)
            solvers[STILL] = Persistence()
            for label, seen in SEEN.items():
                for name, solver in solvers.items():
                    began = time.process_time()
                    found = summary(errors(solver, cases, seen))
                    if name in middles and not held:
                        middles[name].append(found["relative_error"])
                    extra = {"weights": solver.weights, "steps": solver.training.get("steps")} if name != STILL else {}
                    ledger.row(
                        section="prose", table="held out" if held else "problems", problem=some.title, row=name,
                        given=label, seed=seed, seconds=time.process_time() - began, **found, **extra,
                    )  # fmt: skip
        ratios.append(statistics.mean(a / b for a, b in zip(middles[BOTH], middles[FRAMES], strict=True)))
    note = "mean over four problems and both numbers of given frames of the ratio of mean errors"
    ledger.check("prose_two_modalities_over_one", statistics.median(ratios), "symbols do not help", note=note)
