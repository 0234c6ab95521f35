"""The same trained model on meshes with four times as many nodes and with a quarter of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks._ledger import Ledger
from benchmarks._operators_rows import rows_of
from benchmarks._operators_sets import SETS, SIDES
from benchmarks._runs import validation
from sciml import load
from sciml.solvers import FiniteElements
from sciml.training.samples import open_data, table

#: sets of our own -> the fields that count, as one vector
FIELDS = {"elastic_plate": ("u", "v"), "heat_plate": ("T",)}
GOAL = "elastic_plate"  # where operators are good enough to lose something
ROWS = ("FLARE", "GNOT", "Transolver", "Galerkin Transformer", "Point Transformer", "DeepONet")
CASES = 40


def measure(ledger: Ledger, work: Any) -> None:
    """Both sets."""
    for name, fields in FIELDS.items():
        _measure(ledger, work, name, fields)


def _measure(ledger: Ledger, work: Any, chosen: str, fields: tuple[str, ...]) -> None:
    """Errors at the nodes of each mesh against quadratic elements on the finest, over those on meshes like those of
    training."""
    path = work.data(chosen)
    assert path is not None
    sides = 16 if work.given.quick else SIDES
    runs = work.runs(chosen, path).trained({n: rows_of(chosen)[n] for n in ROWS})
    held = table(open_data(path)[0], "test", None)
    cases = [replace(c, support=None) for c in held.cases[: 4 if work.given.quick else CASES]]
    exact = FiniteElements(2 * sides, order=2)
    meshes = {n: FiniteElements(round(sides * share)) for n, share in (("coarser", 0.5), ("own", 1.0), ("finer", 2.0))}
    errors: dict[str, dict[str, list[float]]] = {row: {n: [] for n in meshes} for row in runs}
    nodes: dict[str, list[int]] = {n: [] for n in meshes}
    solvers: dict[str, Any] = {row: load(run) for row, run in runs.items()}
    for case in cases:
        for name, maker in meshes.items():
            mesh = maker.grid(case)
            weights = mesh.weights()
            truth = _vector(exact.solve(case, points=mesh.points()), fields)
            nodes[name].append(mesh.size)
            for row, solver in solvers.items():
                miss = _vector(solver.solve(case.on(mesh)), fields) - truth
                error = np.sqrt((weights * miss**2).sum() / (weights * truth**2).sum())
                errors[row][name].append(float(error))
    lost = {}
    for row, found in errors.items():
        means = {n: float(np.mean(v)) for n, v in found.items()}
        lost[row] = max(means["coarser"], means["finer"]) / means["own"] - 1
        ledger.row(section="meshes", set=chosen, title=SETS[chosen].title, row=row, cases=len(cases), lost=lost[row],
                   **{f"relative_l2_{n}": v for n, v in means.items()},
                   **{f"nodes_{n}": float(np.mean(nodes[n])) for n in meshes})  # fmt: skip
    if chosen != GOAL:
        return
    best = min(runs, key=lambda row: validation(runs[row]))
    told = ", ".join(f"{row} {value:.3g}" for row, value in lost.items())
    own = np.mean(errors[best]["own"])
    note = f"{best}, which has the least validation loss; error on its own meshes {own:.3g}; all rows: {told}"
    note += f"; {len(cases)} test cases"
    ledger.check("accuracy_loss_on_4x_finer_or_coarser_mesh", lost[best], note, note=note)


def _vector(solution: Any, fields: tuple[str, ...]) -> np.ndarray:
    """(F, N)."""
    return np.stack([solution[f].values for f in fields])
