"""Data and surrogates for derivatives: cases with other numbers each, and two operators trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import sciml
from benchmarks._gradients_flows import Asked
from sciml import data
from sciml.training import AdamW, Autoregressive, Nmse, OneCycle, ProcessorMinutes, Recipe, Running, Supervised

#: row -> operator and its options, those of the table
ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "FNO": ("fno", {"width": 24, "modes": (12, 12), "layers": 4, "padding": 0.1, "patch": 2}),
    "U-Net": ("unet", {"width": 24, "patch": 2}),
}
TRAINING, VALIDATION, TEST = 48, 4, 8


def cases(flow: Asked, quick: bool = False) -> tuple[np.ndarray, list[str]]:
    """(case, K) numbers of all cases, and the split of each."""
    counts = (4, 1, 2) if quick else (TRAINING, VALIDATION, TEST)
    splits = [s for s, n in zip(("train", "validation", "test"), counts, strict=True) for _ in range(n)]
    random = np.random.default_rng(sum(map(ord, flow.name)))
    return np.array([flow.drawn(random) for _ in splits]), splits


def made(flow: Asked, work: Path, quick: bool = False) -> Path:
    """The data set of a flow."""
    out = work / f"{flow.name}.h5"
    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    numbers, splits = cases(flow, quick)
    solver, found = flow.solver("forward"), []
    for u in numbers:
        one = solver.solve(flow.made(u), flow.times)
        own = [n for n in one.data_vars if not n.startswith("input_")]  # inputs are what the case is
        one = one.drop_vars([n for n in own if n not in (*flow.fields, "mask")])
        if "p" in flow.fields:
            one["p"][0] = 0.0
        found.append(one)
    data.write(data.pack(found, splits=splits), out)
    return out


def trained(flow: Asked, row: str, work: Path, minutes: float, quick: bool = False) -> Path:
    """The run of one row on a flow; goes on where it stopped."""
    out = work / "runs" / f"{flow.name}-{row}"
    if (out / "config.json").exists():
        return out
    name, options = ROWS[row]
    recipe = Recipe(
        length=ProcessorMinutes(minutes), batch=8, objective=Supervised(Nmse()), optimiser=AdamW(lr=2e-3, average=0.99),
        schedule=OneCycle(), seed=0, validate_every=50, keep="best",
    )  # fmt: skip
    model = sciml.solvers.Surrogate(name, Autoregressive(), fields=flow.fields, **options)
    model.fit(made(flow, work, quick), recipe, running=Running(out=out, resume=out.exists(), progress=False))
    return out
