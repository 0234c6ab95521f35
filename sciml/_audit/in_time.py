"""Balances of the whole domain between frames, for solutions that tell no rates of change.

What is stored at one frame and at the next differs by what has gone through the sides and what sources gave in between:

    defect = ([∫ storage]ₖ₊₁ − [∫ storage]ₖ) / Δt + (Gₖ + Gₖ₊₁) / 2,    G = ∮ flux·n − ∫ source,

over the volume. The trapezoidal rule makes the error of its kind where G changes between frames, as where water begins
to go out; its floor is what twice the step would change, |Gₖ₋₁ − 2 Gₖ + Gₖ₊₁| / 12, beside what fluxes of fourth order
would.
"""

from __future__ import annotations

import math

import numpy as np

from sciml._audit.bodies import taken, through
from sciml._audit.rows import Defect
from sciml._audit.view import View
from sciml.expressions import Balance
from sciml.support import EmbeddedBoundary

MOST = 200  # frames


def audit_between(name: str, balance: Balance, view: View, body: EmbeddedBoundary | None) -> list[Defect]:
    """The balance over the whole domain between frames, of each component that stores something and whose exchange with
    the body is known."""
    components, count = balance.components(), len(view.times)
    knots = np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(int))
    times, steps = view.times[knots], np.diff(view.times[knots])
    goes = [np.zeros(count) if body is None else taken(k, c, view, body) for k, c in enumerate(components)]
    shares = view.grid.volumes() * (np.ones(view.grid.shape) if body is None else body.apertures.volumes)
    total, orders = float(shares.sum()), (2, 4 if min(view.grid.shape) >= 5 else 2)
    stored, given = np.zeros((len(components), len(knots))), np.zeros((2, len(components), len(knots)))
    sizes = np.zeros(len(components))
    for j, k in enumerate(knots):
        for which, order in enumerate(orders):
            lattice = view.lattice(int(k), order=order, filled=True)
            fluxes = lattice.fluxes(balance)
            for i, (storage, _, source) in enumerate(components):
                out, size = through(fluxes[i], view.grid, None if body is None else body.apertures.faces)
                sources = lattice.cells(source) + view.beyond(name, len(components), int(k))[i]
                given[which, i, j] = out - float((sources * shares).sum())
                if which == 0:
                    sizes[i] += size / len(knots)
                    if storage is not None:
                        stored[i, j] = float((lattice.cells(storage) * shares).sum())
    rows = []
    for i, (storage, _, _) in enumerate(components):
        exchanged = goes[i]
        if storage is None or exchanged is None or len(times) < 2:
            continue
        g, better = (given[w, i] + exchanged[knots] for w in (0, 1))
        defect = (np.diff(stored[i]) / steps + (g[1:] + g[:-1]) / 2) / total
        bend = np.abs(np.diff(g, 2)) / 12 if len(g) > 2 else np.abs(np.diff(g)) / 2
        bend = np.maximum(np.append(bend, bend[-1]), np.insert(bend, 0, bend[0]))[: len(defect)]
        other = np.abs(better - g)
        flux = math.sqrt(sizes[i])
        rounding = 4 * view.epsilon * float(np.abs(stored[i]).max()) / float(steps.min())
        floor = math.sqrt(float(np.mean((np.hypot(bend, (other[1:] + other[:-1]) / 2) / total) ** 2)))
        label = name if len(components) == 1 else f"{name} {'xyz'[i]}"
        rms = float(np.sqrt(np.mean(defect**2)))
        rows.append(
            Defect(
                "balance", f"{label}, between frames", balance.unit, rms, float(np.abs(defect).max()),
                rms * view.case.scales.length / flux if flux > 0 else 0.0, max(floor, rounding / total), 0,
                max(b - a for a, b in view.case.geometry.extents),
            )
        )  # fmt: skip
    return rows
