"""One model of four problems that reads their equations: beside the same without symbols, beside an FNO for each, and
on an equation that it never saw."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
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
from sciml.training.schedules import OneCycle
from sciml.training.stepping import Window

COUNTS = (160, 16, 40)  # cases of a problem: of training, validation and test
WINDOW = Window(4, 8)
MINUTES = 12.0  # on the processor, of a model of all problems; an FNO of one has a like share of them
SEEN = {"1 frame": 1, "4 frames": 4}  # frames that a rollout begins with
BOTH, NUMBERS, FRAMES = "frames and equations", "frames and parameters", "frames alone"
PUBLISHED = "equations with plain queries"
TOLD: dict[str, bool | str] = {BOTH: True, NUMBERS: "parameters", FRAMES: False, PUBLISHED: True}
ALONE = "FNO of one problem"
STILL = "persistence"
RATE, PACE = 1e-3, 4e-3  # of learning, of a model of all problems and of an FNO
HEAD, SIZE = 16, {"width": 24, "modes": (8, 8)}


def recipe(minutes: float, batch: int, rate: float, seed: int) -> Recipe:
    return Recipe(
        length=ProcessorMinutes(minutes), batch=batch, optimiser=AdamW(lr=rate, average=0.99), schedule=OneCycle(),
        seed=seed, validation_items=64, keep="best",
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


def trained(paths: list[Path], row: str, seed: int, minutes: float, folder: Path) -> Any:
    """A model of a row, kept in a folder: one of all problems, or an FNO of one, which is given the case's parameters
    as numbers."""
    kind = row.replace(" ", "_") if row in TOLD else f"fno_{paths[0].stem}"
    run = folder / "runs" / f"{kind}_{seed}_{minutes:g}"
    if (run / "config.json").exists():
        return load(run, device="cpu")
    torch.set_num_threads(1)
    how = Running(out=run, progress=False, device="cpu", resume=run.exists())
    if row in TOLD:
        new = FoundationModel(WINDOW, symbols=TOLD[row], device="cpu", head=HEAD, anchored=row != PUBLISHED)
        return new.fit(paths, recipe(minutes, 16, RATE, seed), running=how)
    return Surrogate(FNO, WINDOW, device="cpu", **SIZE).fit(paths[0], recipe(minutes, 16, PACE, seed), running=how)


def all_trained(wanted: list[tuple[Any, ...]], workers: int) -> list[Any]:
    """The models of all rows; those that are not kept yet are trained side by side, in processes of their own."""
    with concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        concurrent.futures.wait(several := [pool.submit(_trained, *w) for w in wanted])
        for one in several:
            one.result()
    return [trained(*w) for w in wanted]


def _trained(*wanted: Any) -> None:
    trained(*wanted)


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
    ratios = {name: [] for name in (NUMBERS, FRAMES)}
    for seed in seeds:
        wanted: dict[Any, tuple[Any, ...]] = {name: (known, name, seed, minutes, folder) for name in TOLD}
        wanted |= {path: ([path], ALONE, seed, minutes / len(known), folder) for path in paths}
        models = dict(zip(wanted, all_trained(list(wanted.values()), 2), strict=True))
        found: dict[tuple[str, str, str], float] = {}
        for some, path in zip(sets, paths, strict=True):
            cases, held = table(data.open(path), "test"), path == other
            rows = {n: (models[n].introduced(path) if held else models[n]) for n in TOLD}
            rows |= {ALONE: models[path], STILL: Persistence().fit(path)}
            for (label, seen), (name, solver) in itertools.product(SEEN.items(), rows.items()):
                began = time.process_time()
                told = summary(errors(solver, cases, seen))
                seconds = (time.process_time() - began) / len(cases.cases)
                if name != STILL:
                    told |= {"weights": solver.weights, "steps": solver.training.get("steps")}
                found[some.title, label, name] = told["relative_error"]
                ledger.row(
                    section="prose", table="held out" if held else "problems", problem=some.title, row=name,
                    given=label, seed=seed, seconds_per_case=seconds, **told,
                )  # fmt: skip
        for (title, label), of in itertools.groupby(found.items(), lambda item: item[0][:2]):
            ledger.row(section="prose_errors", problem=title, given=label, seed=seed, **{k[2]: v for k, v in of})
        for name, several in ratios.items():
            pairs = [
                (found[title, label, BOTH], found[title, label, name])
                for title, label in itertools.product([some.title for some in families.TRAINED], SEEN)
            ]
            several.append(statistics.geometric_mean(a / b for a, b in pairs))
    note = "geometric mean over four problems and both numbers of given frames of the error with equations over that "
    note += f"without; over a model that is told parameters alone {statistics.median(ratios[NUMBERS]):.3g}"
    ledger.check("prose_two_modalities_over_one", statistics.median(ratios[FRAMES]), "equations do not help", note=note)
