"""Which statistics a flow or matter in particles has, from where it lives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sciml.evaluation._particles import followed
from sciml.evaluation._statistic import Statistic
from sciml.evaluation.correlations import Correlations
from sciml.evaluation.energy_history import EnergyHistory
from sciml.evaluation.particle_errors import ParticleErrors
from sciml.evaluation.particle_history import ParticleHistory
from sciml.evaluation.profiles import Profiles
from sciml.evaluation.shell_spectra import ShellSpectra
from sciml.evaluation.spectra import Spectra
from sciml.problem import Case
from sciml.support import Grid

PLUS = (5.0, 15.0, 100.0)
OUTER = (0.1, 0.5, 1.0)


def particle_statistics(cases: Sequence[Case], fields: Sequence[str] | None = None) -> list[Statistic]:
    """Those of cases that all follow particles by their displacements; else none."""
    if not cases or cases[0].problem.steady:
        return []
    names = [f.name for f in cases[0].problem.fields] if fields is None else fields
    return [ParticleHistory(), ParticleErrors()] if all(followed(c, c.support, names) for c in cases) else []


def statistics_for(cases: Case | Sequence[Case], fields: Sequence[str] | None = None) -> list[Statistic]:
    """Fresh statistics that all these cases have.

    Of particles with displacements, their history and errors. Of a flow in space and time, its energy; shells of wave
    numbers, where all directions are periodic with equal cells; profiles, spectra and correlations, where all but one
    are, across which walls are taken to be. Halves are folded where grids have a mirror image. Heights are y⁺ = 5, 15
    and 100 where every case knows its wall units and is that high, else y/h = 0.1, 0.5 and 1, without those that a grid
    has no plane of its own for; correlations are taken at two of them. Empty for anything else than particles, or a
    velocity on 3-D grids without a mask.

    Args:
        fields: names of those that are predicted; None for all.
    """
    several = [cases] if isinstance(cases, Case) else list(cases)
    if of_particles := particle_statistics(several, fields):
        return of_particles
    grids = [c.support for c in several if isinstance(c.support, Grid)]
    if not several or len(grids) != len(several) or any(len(g.faces) != 3 or g.inside is not None for g in grids):
        return []
    problem, periodic = several[0].problem, grids[0].periodic
    names = [f.name for f in problem.fields] if fields is None else fields
    if problem.steady or len(problem.velocity) != 3 or not set(problem.velocity) <= set(names):
        return []
    if min(min(g.shape) for g in grids) < 3 or any(g.periodic != periodic for g in grids):
        return []
    found: list[Statistic] = [EnergyHistory()]
    around = [a for a in range(3) if periodic[a]]
    equal = all(np.ptp(g.widths[a]) <= 1e-6 * g.widths[a].mean() for g in grids for a in around)
    if len(around) == 3:
        return [*found, ShellSpectra()] if equal else found
    if len(around) != 2:
        return found
    wall = next(a for a in range(3) if not periodic[a])
    across = [g.widths[wall] for g in grids]
    found.append(Profiles(fold=all(np.max(np.abs(w - w[::-1])) <= 1e-5 * w.mean() for w in across)))
    if not equal:
        return found
    known = [problem.wall_units(c) or (None, 1.0) for c in several]
    high = all(u is not None and w.sum() / 2 * u / nu >= PLUS[-1] for (u, nu), w in zip(known, across, strict=True))
    if high:
        plus = _apart(PLUS, [(w, nu / u) for (u, nu), w in zip(known, across, strict=True) if u is not None])
        return [*found, Spectra(y_plus=plus), Correlations(y_plus=plus[-2:])]
    outer = _apart(OUTER, [(w, w.sum() / 2) for w in across])
    return [*found, Spectra(y_over_h=outer), Correlations(y_over_h=outer[:: max(len(outer) - 1, 1)])]


def _apart(heights: tuple[float, ...], grids: Sequence[tuple[np.ndarray, float]]) -> tuple[float, ...]:
    """Those of the heights that have planes of their own: coarse grids have one for several.

    Args:
        grids: widths of the cells across, and the unit of the heights.
    """
    planes = [tuple(int(np.argmin(np.abs(np.cumsum(w) - w / 2 - h * unit))) for w, unit in grids) for h in heights]
    return tuple(h for i, h in enumerate(heights) if planes[i] not in planes[:i])
