"""Test cases that are a training case in other units, or its mirror image: with equal dimensionless numbers their flows
are the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._cfdbench_figures import Rows, best, of_cases
from benchmarks._ledger import Ledger
from sciml import data
from sciml.problem import Case
from sciml.training.samples import cases_of, feature_table, features

CLOSE = 1e-6


def twins(path: Path, manifest: list[dict[str, Any]], mirrored: bool = False) -> dict[int, str]:
    """Number of a test case -> label of a training case with the same features.

    Args:
        mirrored: whether the mirror images of training cases are meant, of problems that state such a symmetry.
    """
    dataset = data.open(path)
    parts = {m["number"]: m for m in manifest}
    held = cases_of(dataset, np.array([n for n, m in parts.items() if m["split"] in ("train", "test")]))
    steps = [0.0 if held.times is None else float(t[1] - t[0]) for t in held.times or [np.zeros(2)] * len(held.cases)]
    names = tuple(features(held.cases[0], np.zeros(1), steps[0])[0])

    def numbers(cases: Sequence[Case]) -> np.ndarray:
        every = [feature_table(c, np.zeros(1), dt, names) for c, dt in zip(cases, steps, strict=True)]
        return np.concatenate(every)

    z = numbers(held.cases)
    images = [numbers([s.case(c) for c in held.cases]) for s in held.problem.symmetries] if mirrored else [z]
    found = {}
    for i, n in enumerate(map(int, held.number)):
        for j, m in enumerate(map(int, held.number)):
            pair = parts[n]["split"] == "test" and parts[m]["split"] == "train"
            if pair and any(np.allclose(z[i], image[j], rtol=CLOSE, atol=CLOSE) for image in images):
                found[n] = parts[m]["case"]
    return found


def rows(ledger: Ledger, flow: str, found: Rows, path: Path, manifest: list[dict[str, Any]]) -> str:
    """Which test cases have a twin, and each row's error over that of "nothing changes" without these, and without
    mirror images of training cases, either.

    Returns:
        For the check's note, what becomes of the chosen row then; nothing where there is no such case.
    """
    labels = {m["number"]: m["case"] for m in manifest}
    test = [m["number"] for m in manifest if m["split"] == "test"]
    same, images = twins(path, manifest), twins(path, manifest, mirrored=True)
    only = {n: c for n, c in images.items() if n not in same}
    for kind, several in (("equal", same), ("its mirror image", only)):
        for number, twin in several.items():
            ledger.row(section="twins", flow=flow, test=labels[number], train=twin, kind=kind)
    apart = np.array([n not in same for n in test])
    known = np.array([n not in same and n not in only for n in test])

    def ratio(name: str, which: np.ndarray) -> float | None:
        value = of_cases(found, name, "persistence", which)
        return value if np.isfinite(value) else None

    for name in (n for n, r in found.items() if r["kind"] != "solver"):
        ledger.row(section="without twins", flow=flow, row=name, cases=int(apart.sum()), unseen=int(known.sum()),
                   over_identity=ratio(name, apart), over_identity_unseen=ratio(name, known))  # fmt: skip
    if known.all():
        return ""
    own = ratio(best(found, 1)[0], known)
    return f"; of the {int(known.sum())} test cases that are no training case and no mirror image of one {own:.3g}"
