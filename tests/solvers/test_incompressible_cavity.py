"""The settled lid-driven cavity against published tables and icoFoam's published-style sample."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import _flows
from sciml.problems import LidDrivenCavity, _ghia
from sciml.solvers import IncompressibleFlow

SAMPLE = Path(__file__).resolve().parents[3] / "shared/data/cfdbench_sample/cavity"


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
    finer = _flows.cavity_deviations(100, grids=(64, 64, 128))
    assert finer["own_extrapolation"] < 0.01
    assert deviations["own_extrapolation"] / finer["own_extrapolation"] > 3


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample of icoFoam flows is not at hand")
@pytest.mark.parametrize("name", ["bc/case0000", "prop/case0001", "geo/case0002"])
def test_transients_of_the_sample(name):
    import json

    facts = json.loads((SAMPLE / name / "case.json").read_text())
    case = LidDrivenCavity().case(
        lid_velocity=facts["vel_top"], density=facts["density"], viscosity=facts["viscosity"],
        width=facts["width"], height=facts["height"],
    )  # fmt: skip
    frames = [0, 4, 19, 39]
    ours = IncompressibleFlow(64).solve(case, times=[0.1 * (k + 1) for k in frames])
    for n, k in enumerate(frames):
        theirs = np.stack([np.load(SAMPLE / name / f"{c}.npy")[k] for c in "uv"])
        mine = np.stack([ours.u.values[n], ours.v.values[n]])
        assert np.linalg.norm(mine - theirs) < 0.03 * np.linalg.norm(theirs)
