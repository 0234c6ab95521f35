"""Test cases that are a training case in other units: with equal dimensionless numbers their flows are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._cfdbench_figures import of_cases
from benchmarks._ledger import Ledger
from sciml import data
from sciml.training.samples import cases_of, feature_table, features

CLOSE = 1e-6


def twins(path: Path, manifest: list[dict[str, Any]]) -> dict[int, str]:
    """Number of a test case -> label of a training case with the same features."""
    dataset = data.open(path)
    held = cases_of(dataset, np.array([m["number"] for m in manifest if m["split"] in ("train", "test")]))
    parts = {m["number"]: m for m in manifest}
    steps = [0.0 if held.times is None else float(t[1] - t[0]) for t in held.times or [np.zeros(2)] * len(held.cases)]
    names = tuple(features(held.cases[0], np.zeros(1), steps[0])[0])
    z = np.concatenate([feature_table(c, np.zeros(1), dt, names) for c, dt in zip(held.cases, steps, strict=True)])
    numbers = [int(n) for n in held.number]
    found = {}
    for i, n in enumerate(numbers):
        for j, m in enumerate(numbers):
            same = np.allclose(z[i], z[j], rtol=CLOSE, atol=CLOSE)
            if parts[n]["split"] == "test" and parts[m]["split"] == "train" and same:
                found[n] = parts[m]["case"]
    return found


def rows(ledger: Ledger, flow: str, found: dict[str, Any], path: Path, manifest: list[dict[str, Any]]) -> None:
    """Which test cases have a twin, and each row's error over that of "nothing changes" without these."""
    same, labels = twins(path, manifest), {m["number"]: m["case"] for m in manifest}
    for number, twin in same.items():
        ledger.row(section="twins", flow=flow, test=labels[number], train=twin)
    test = [m["number"] for m in manifest if m["split"] == "test"]
    alone = np.array([n not in same for n in test])
    for name, r in found.items():
        if r["kind"] != "solver":
            ratio = of_cases(found, name, "persistence", alone)
            ledger.row(section="without twins", flow=flow, row=name, cases=int(alone.sum()),
                       over_identity=ratio if np.isfinite(ratio) else None)  # fmt: skip
