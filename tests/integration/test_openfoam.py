"""Start-up of the lid-driven cavity against icoFoam, run here."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from benchmarks import _openfoam  # noqa: E402
from sciml.problems import LidDrivenCavity  # noqa: E402
from sciml.solvers import IncompressibleFlow  # noqa: E402

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(_openfoam.environment() is None, reason="OpenFOAM (icoFoam) is not installed"),
]
TIMES = (0.25, 0.5, 1.0, 2.0, 4.0)


# A known shortfall: 3.9 % instead of 3 % at t = 0.25 on 64 x 64 cells, where the first wall layer is one cell thin.
SHORTFALL = pytest.mark.xfail(reason="start-up at Re 400 differs from icoFoam by 3.9 % at t = 0.25", strict=True)


@pytest.mark.parametrize("reynolds", [100, pytest.param(400, marks=SHORTFALL)])
def test_start_up_agrees_with_icofoam(tmp_path, reynolds):
    """Both on 64 × 64 cells and of second order in time, icoFoam with a step of 0.005 L/U."""
    _openfoam.write(tmp_path, _openfoam.Cavity(64, reynolds, 0.005, TIMES[-1], 0.25, "backward", pressure="GAMG"))
    _openfoam.run(tmp_path)
    ours = IncompressibleFlow(64).solve(LidDrivenCavity().case(viscosity=1 / reynolds), times=TIMES)
    for n, t in enumerate(TIMES):
        theirs = _openfoam.velocity(tmp_path, t, 64)
        mine = np.stack([ours.u.values[n], ours.v.values[n]])
        assert np.linalg.norm(mine - theirs) < 0.03 * np.linalg.norm(theirs), t
