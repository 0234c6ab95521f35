"""Derivatives of numbers made of flows, from solvers and from surrogates: part `gradients` of the CFDBench ledger.

Three flows and a number of each (`_gradients_flows`). Of every test case the derivatives by solver and surrogates; of
the first few also by differences of either, over several steps. Gradients are compared in units of half a span of each
number, in which they say by how much the number that is asked changes over it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import _gradients_picture
from benchmarks._gradients_flows import EVERY, Asked, reynolds
from benchmarks._gradients_learned import STEPS as STEPS_LEARNED
from benchmarks._gradients_learned import Fitted, Learned, told
from benchmarks._gradients_solved import STEPS as STEPS_SOLVED
from benchmarks._gradients_solved import Solved
from benchmarks._gradients_trained import ROWS, cases, made, trained
from benchmarks._ledger import HERE, Ledger

MINUTES = 0.25  # of one core, of training
DIFFERENCED = {"cylinder": 1, "dam": 1, "cavity": 2}  # test cases of which differences are taken
SOLVER, FITTED = "solver", "quadratic fit of J"
COLUMNS = {"FNO": "fno", "U-Net": "unet", FITTED: "fit"}


def measure(ledger: Ledger, work: Path, flows: Sequence[str], quick: bool = False) -> None:
    """Those of these flows of which something is asked; each is kept as soon as it is done, so that an interrupted run
    goes on."""
    torch.set_num_threads(1)
    found, chosen = {}, [kind for kind in EVERY if kind.name in flows]
    for kind in chosen:
        flow = kind()
        found[flow.name] = _flow(flow, work, quick)
        _rows(ledger, flow, found[flow.name])
    out = work / "gradients.png" if quick else HERE.parent / "docs" / "gradients.png"
    _gradients_picture.draw({kind.name: (kind(), found[kind.name]) for kind in chosen}, out)
    print(f"picture: {out}")


def _flow(flow: Asked, work: Path, quick: bool) -> dict[str, Any]:
    """Values and gradients of a flow: {"cases": [...], row: {"value", "gradient", ...}}."""
    path = made(flow, work, quick)
    runs = {row: trained(flow, row, work, 0.02 if quick else MINUTES, quick) for row in ROWS}
    numbers, splits = cases(flow, quick)
    train, test = (numbers[[s == name for s in splits]] for name in ("train", "test"))
    values = told(flow, path, numbers)
    found: dict[str, Any] = {
        "numbers": test.tolist(),
        "reynolds": [reynolds(flow, u) for u in test],
        # over the training cases: what errors of values are counted in
        "spread": float(np.std(values[[s == "train" for s in splits]])),
    }
    few = test[: 1 if quick else DIFFERENCED[flow.name]]
    solved = Solved(flow)
    found[SOLVER] = _kept(work / f"{flow.name}-{SOLVER}.json", lambda: _solved(solved, test))
    for word, held in (("differences", False), ("differences_held", True)):
        kept = work / f"{flow.name}-{SOLVER}-{word}.json"
        found[SOLVER] |= _kept(kept, lambda w=word, h=held: {w: [solved.differences(u, h).tolist() for u in few]})
    found[SOLVER] |= _kept(work / f"{flow.name}-{SOLVER}-times.json", lambda: _seconds(solved, test[0]))
    for row, run in runs.items():
        found[row] = _kept(work / f"{flow.name}-{row}.json", lambda run=run: _learned(flow, run, test, few))
        single = Learned(flow, run, "float32")
        found[row] |= _kept(work / f"{flow.name}-{row}-times.json", lambda one=single: _seconds(one, test[0]))
    fitted = Fitted(flow, train, values[[s == "train" for s in splits]])
    found[FITTED] = _answers([fitted.gradient(u) for u in test])
    return found


def _kept(path: Path, make: Any) -> dict[str, Any]:
    if path.exists():
        return json.loads(path.read_text())
    result = make()
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result))
    os.replace(temporary, path)
    print(f"{path.stem}: done", flush=True)
    return result


def _answers(each: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    return {"value": [float(e[0]) for e in each], "gradient": [e[1].tolist() for e in each]}


def _solved(solved: Solved, test: np.ndarray) -> dict[str, Any]:
    each = [solved.gradient(u) for u in test]
    return _answers(each) | {"substeps": [e[2] for e in each]}


def _seconds(answering: Solved | Learned, u: np.ndarray) -> dict[str, float]:
    """Of one core, for J and for J with its gradient: the least of several, of the processor's time, as other work may
    go on beside."""
    found = {}
    for name, run in (("seconds", answering.value), ("seconds_gradient", answering.gradient)):
        each: list[float] = []
        for _ in range(4):
            began = time.process_time()
            run(u)
            each.append(time.process_time() - began)
        found[name] = min(each)
    return found


def _learned(flow: Asked, run: Path, test: np.ndarray, few: np.ndarray) -> dict[str, Any]:
    wide, single = (Learned(flow, run, p) for p in ("float64", "float32"))
    each = [wide.gradient(u) for u in test]
    return _answers(each) | {
        "gradient_float32": [single.gradient(u)[1].tolist() for u in test],
        "differences": [wide.differences(u).tolist() for u in few],
        "differences_float32": [single.differences(u).tolist() for u in few],
    }  # fmt: skip


# -- figures ---------------------------------------------------------------------------------------------------------


def off(flow: Asked, gradient: Any, truth: Any) -> float:
    """|g − g'| / |g'|, in units of half spans."""
    g, t = (np.asarray(a) * flow.sizes for a in (gradient, truth))
    return float(np.linalg.norm(g - t) / np.linalg.norm(t))


def cosine(flow: Asked, gradient: Any, truth: Any, names: Sequence[str] | None = None) -> float:
    """Of the angle between two gradients, over all numbers or these."""
    chosen = [names is None or n in names for n in flow.spans]
    g, t = ((np.asarray(a) * flow.sizes)[chosen] for a in (gradient, truth))
    return float(g @ t / (np.linalg.norm(g) * np.linalg.norm(t)))


def _least(flow: Asked, each: Sequence[Any], gradients: Sequence[Any], steps: Sequence[float]) -> dict[str, float]:
    """How far gradients are from differences, of the step that fits best for all; and that step."""
    errors = [[off(flow, g, d) for d in case] for g, case in zip(gradients, each, strict=False)]
    worst = np.array(errors).max(0)
    best = int(worst.argmin())
    found = {"off": float(worst[best]), "step": steps[best]}
    return found | {f"off_{step:g}": float(error) for step, error in zip(steps, worst, strict=True)}


def _rows(ledger: Ledger, flow: Asked, found: dict[str, Any]) -> None:
    truth = found[SOLVER]
    for row in (SOLVER, *ROWS, FITTED):
        mine = found[row]
        about: dict[str, Any] = {}
        if row != SOLVER:
            errors = np.abs(np.array(mine["value"]) - truth["value"]) / found["spread"]
            pairs = list(zip(mine["gradient"], truth["gradient"], strict=True))
            away = np.array([off(flow, *p) for p in pairs])
            along = np.array([cosine(flow, *p) for p in pairs])
            about |= {
                "value_error": float(np.median(errors)), "value_error_most": float(errors.max()),
                "gradient_error": float(np.median(away)), "gradient_error_least": float(away.min()),
                "gradient_error_most": float(away.max()),
                "cosine": float(np.median(along)), "cosine_least": float(along.min()),
            }  # fmt: skip
            if flow.curve:
                bent = np.array([cosine(flow, *p, flow.curve) for p in pairs])
                about |= {"cosine_curve": float(np.median(bent)), "cosine_curve_least": float(bent.min())}
        if row in (SOLVER, *ROWS):
            _against_differences(ledger, flow, row, mine)
        if "seconds" in mine:
            about |= {
                "milliseconds": 1e3 * mine["seconds"], "milliseconds_gradient": 1e3 * mine["seconds_gradient"],
                "gradient_over_value": mine["seconds_gradient"] / mine["seconds"],
            }  # fmt: skip
        ledger.row(
            section="gradients", flow=flow.name, row=row, cases=len(truth["value"]), numbers=len(flow.spans), **about
        )
    for k, name in enumerate(flow.spans):
        of = np.array(truth["gradient"])[:, k]
        told: dict[str, Any] = {}
        for row, words in COLUMNS.items():
            each = np.array(found[row]["gradient"])[:, k]
            # over the root mean square of the true one, which may be 0 of a case
            told[words] = float(np.sqrt(np.mean((each - of) ** 2) / np.mean(of**2)))
            told[f"{words}_right_signs"] = int(np.sum(each * of > 0))
        ledger.row(
            section="gradients by number", flow=flow.name, number=name, cases=len(of), unit=flow.unit,
            change_over_half_span=float(np.sqrt(np.mean(of**2)) * flow.sizes[k]), **told,
        )  # fmt: skip
    ledger.row(
        section="gradient flows", flow=flow.name, asked=flow.title, unit=flow.unit, numbers=", ".join(flow.spans),
        cells=f"{flow.resolution[0]} × {flow.resolution[1]}", frames=len(flow.times),
        substeps=f"{min(truth['substeps'])} … {max(truth['substeps'])}", least=min(truth["value"]),
        most=max(truth["value"]), reynolds=f"{min(found['reynolds']):.0f} … {max(found['reynolds']):.0f}",
    )  # fmt: skip


def _against_differences(ledger: Ledger, flow: Asked, row: str, mine: dict[str, Any]) -> None:
    """How far gradients are from differences of the same solver."""
    if row == SOLVER:
        about = _prefixed("held", _least(flow, mine["differences_held"], mine["gradient"], STEPS_SOLVED))
        about |= _prefixed("free", _least(flow, mine["differences"], mine["gradient"], STEPS_SOLVED))
    else:
        about = _prefixed("free", _least(flow, mine["differences"], mine["gradient"], STEPS_LEARNED["float64"]))
        single = _least(flow, mine["differences_float32"], mine["gradient_float32"], STEPS_LEARNED["float32"])
        pairs = zip(mine["gradient_float32"], mine["gradient"], strict=True)
        about |= _prefixed("single", single) | {"float32_off": max(off(flow, a, b) for a, b in pairs)}
    ledger.row(
        section="gradients against differences", flow=flow.name, row=row, cases=len(mine["differences"]), **about
    )


def _prefixed(word: str, found: dict[str, float]) -> dict[str, float]:
    return {f"{word}_{name}": value for name, value in found.items()}
