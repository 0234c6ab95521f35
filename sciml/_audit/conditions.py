"""Boundary values and invariants."""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from sciml._audit.rows import Defect
from sciml._audit.view import View, mean_square, present
from sciml.derivatives import numpy as provider
from sciml.expressions import Field


def audit_boundaries(view: View, chosen: list[int]) -> list[Defect]:
    """Given boundary values against those of the solution: stored on the face, else extrapolated from inside."""
    rows = []
    scales = view.case.scales.fields
    for boundary, on_sides in view.parts.items():
        for name, condition in view.case.boundary_conditions[boundary].items():
            if not condition.given or name not in view.fields:
                continue
            gaps, floors = [], []
            for k, (axis, end, here) in product(chosen, on_sides):
                points = view.grid.side_points(axis, end)[here]
                stored = {(n, a): v[k] for (n, a), v in view.faces.items()}
                found = []
                for order in (2, 4):
                    lattice = provider.lattice(view.grid, {name: view.fields[name][k]}, face_values=stored, order=order)
                    face = lattice.faces(Field(name), axis)
                    found.append(np.take(face, -end, axis=-1 - axis).ravel()[here])
                gaps.append(found[0] - np.ravel(condition.at(float(view.times[k]), points)))
                floors.append(found[1] - found[0])
            gaps, floors = (present(np.concatenate(g), view) for g in (gaps, floors))
            if not gaps.size:
                continue
            rms = math.sqrt(float(np.mean(np.square(gaps))))
            scale = scales.get(name, 1.0)
            floor = max(math.sqrt(mean_square(floors, view)), view.epsilon * scale)
            unit = view.case.problem.field(name).unit
            label = f"{name} on {boundary}"
            rows.append(Defect("boundary", label, unit, rms, float(np.max(np.abs(gaps))), rms / scale, floor))
    return rows


def audit_invariants(view: View) -> list[Defect]:
    rows = []
    volumes = np.where(view.fluid, view.grid.volumes(), 0.0)
    for invariant in view.case.problem.invariants:
        if invariant.field not in view.fields:
            continue
        totals = (
            np.where(view.fluid, view.fields[invariant.field] * volumes, 0.0).reshape(len(view.times), -1).sum(axis=1)
        )
        drift = totals - totals[0] - invariant.rate * (view.times - view.times[0])
        scale = view.case.scales.fields.get(invariant.field, 1.0) * float(volumes.sum())
        floor = view.epsilon * scale
        rms = math.sqrt(float(np.mean(drift**2)))
        rows.append(
            Defect("invariant", invariant.name, invariant.unit, rms, float(np.abs(drift).max()), rms / scale, floor)
        )
    return rows
