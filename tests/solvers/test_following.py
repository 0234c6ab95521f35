"""From output time to output time: figures without fields."""

import numpy as np
import pytest

import sciml
from sciml.errors import InputError, SolverError
from sciml.metrics import energetics
from sciml.problems import Burgers, Darcy, KolmogorovFlow
from sciml.solvers import PseudoSpectral, follow, history

CASE = KolmogorovFlow().case(viscosity=2e-2, seed=3)
TIMES = [0.0, 0.2, 0.5]


def measure(frame):
    e = energetics(np.stack([frame[n].values[0] for n in "uv"]), [CASE.length] * 2)
    return {"energy": e.energy, "spectrum": e.spectrum}


def test_figures_are_those_of_the_frames():
    solver = PseudoSpectral(32, cfl=0.25)
    whole = solver.solve(CASE, TIMES)
    found = history(solver, CASE, TIMES, measure)
    assert found["energy"].dims == ("time",) and found["spectrum"].shape[0] == 3
    np.testing.assert_array_equal(found["time"].values, TIMES)
    for k in range(3):
        expected = measure(whole.isel(time=[k]))
        np.testing.assert_allclose(found["energy"].values[k], expected["energy"], rtol=1e-7)
    assert found["frame_tail"].values[-1] > 0
    # from a frame on
    rest = history(solver, CASE, TIMES[2:], measure, frame=whole.isel(time=[1]))
    np.testing.assert_allclose(rest["energy"].values, found["energy"].values[2:], rtol=1e-7)


def test_one_frame_at_a_time():
    frames = list(follow(PseudoSpectral(32), CASE, TIMES))
    assert [float(f["time"].values[0]) for f in frames] == TIMES
    assert all(f.sizes["time"] == 1 for f in frames)


def test_warnings_are_given_once():
    solver = PseudoSpectral(16)
    with pytest.warns(UserWarning, match="under-resolved") as caught:
        history(solver, Burgers().case(viscosity=1e-3), [0.2, 0.4, 0.6], lambda f: {"u": f["u"].values.max()})
    assert len([w for w in caught if "under-resolved" in str(w.message)]) == 1


def test_wrong_requests_and_failures():
    solver = PseudoSpectral(16, max_substeps=40)
    with pytest.raises(InputError, match="follow: expected a solver that resumes, got str"):
        follow("pseudo_spectral", CASE, TIMES)
    with pytest.raises(InputError, match="strictly increasing"):
        follow(solver, CASE, [0.2, 0.1])
    with pytest.raises(InputError, match="darcy is steady; use solve"):
        follow(sciml.solvers.FiniteVolume(8), Darcy().case(), None)
    with pytest.raises(InputError, match="measure: expected figures by name, got float"):
        history(solver, CASE, [0.0], lambda f: 1.0)
    hopeless = Burgers().case(velocity=100.0, viscosity=0.5, label="too fast")
    with pytest.raises(SolverError, match=r"too fast.*max_substeps = 40 at t = "):
        list(follow(solver, hopeless, [0.001, 0.5]))
