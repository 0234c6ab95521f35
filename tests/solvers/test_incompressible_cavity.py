"""The settled lid-driven cavity against published tables and flows by OpenFOAM's icoFoam."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _flows
from sciml.problems import LidDrivenCavity, _ghia
from sciml.solvers import IncompressibleFlow

ICOFOAM = Path(__file__).resolve().parents[1] / "fixtures/icofoam/cavity"


@pytest.mark.parametrize("reynolds, bound", [(100, 0.012), (400, 0.012), (1000, 0.02)])
def test_centre_lines_against_ghia(reynolds, bound):
    """64 × 64 cells against tables that are good to about 0.01 (0.02 at Re 1000, where both grids are coarse)."""
    (y, u), (x, v) = _ghia.u(reynolds), _ghia.v(reynolds)
    where = np.unique(np.concatenate([x, y]))
    ours = _flows.centre_lines(64, reynolds, where)
    assert np.abs(ours[0][np.searchsorted(where, y)] - u).max() < bound
    assert np.abs(ours[1][np.searchsorted(where, x)] - v).max() < bound


def test_centre_lines_against_their_own_extrapolation():
    """Smaller grids than the benchmark's; between 32 and 64 cells the error falls by four, at least by three."""
    deviations = _flows.cavity_deviations(100, grids=(32, 64, 128))
    assert deviations["own_extrapolation"] < 0.04
    finer = _flows.cavity_deviations(100, grids=(64, 64, 128))  # of the same flows
    assert finer["own_extrapolation"] < 0.01
    assert deviations["own_extrapolation"] / finer["own_extrapolation"] > 3


@pytest.mark.parametrize("name", ["bc/case0000", "prop/case0001", "geo/case0002"])
def test_transients_against_icofoam(name):
    """Both on 64 × 64 cells, compared in means over 4 × 4 cells, 0.1 s to 0.4 s after the lid starts.

    The error of second order is a third of the change from half as many cells, and either code has one.
    """
    facts = json.loads((ICOFOAM / name / "case.json").read_text())
    case = LidDrivenCavity().case(
        lid_velocity=facts["vel_top"], density=facts["density"], viscosity=facts["viscosity"],
        width=facts["width"], height=facts["height"],
    )  # fmt: skip
    theirs = np.stack([np.load(ICOFOAM / name / f"{c}.npy") for c in "uv"])
    coarse, fine = (_means(IncompressibleFlow(n).solve(case, times=[0.1, 0.2, 0.3, 0.4])) for n in (32, 64))
    size, change, apart = (np.sqrt((a**2).sum((0, 2, 3))) for a in (fine, coarse - fine, theirs - fine))
    assert (apart < 2 / 3 * change).all()
    assert (change < 0.02 * size).all()  # so that the bound means something


def _means(solution):
    """(field, time, 16, 16)."""
    values = np.stack([solution.u.values, solution.v.values])
    n = values.shape[-1] // 16
    return values.reshape(2, -1, 16, n, 16, n).mean((3, 5))
