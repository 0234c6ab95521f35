"""What once gave wrong answers of two fluids in silence."""

import numpy as np
import pytest

from sciml import audit
from sciml.boundary import Dirichlet, Outflow, Series
from sciml.errors import InputError
from sciml.problems import DamFlow, TubeFlow
from sciml.solver import Start
from sciml.solvers import OpenFOAM, TwoPhaseFlow
from sciml.solvers.generation import prepare
from sciml.support import support_of

pytestmark = pytest.mark.compiled_quickly

SOLVERS = (TwoPhaseFlow, OpenFOAM)
LOW = DamFlow().case(barrier_height=0.12)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("cells", [8, 12, 16, 24, (4, 4), (5, 7)])
def test_a_barrier_thinner_than_a_cell_is_refused(solver, cells):
    with pytest.raises(InputError, match=r"thinner than a cell|a body cuts cells"):
        solver(cells).fit(DamFlow().case())


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_inlet_that_ends_within_a_cell_is_refused(solver):
    """It let 20 % more water in."""
    with pytest.raises(InputError, match=r"a part of x_min ends within the cell from y = 0.08 to 0.12 m; expected"):
        solver((10, 30)).fit(LOW)
    solver((8, 30)).fit(LOW)


def test_every_published_dam_fits_the_cells_of_its_design():
    work = prepare("dam_flow", None, None, 3, 64, "published", 0, None, None, "float32", None)
    for solver, numbers in work.solvers():
        for n in numbers[::3]:
            solver.fit(work.cases[n])


@pytest.mark.parametrize("trace", [1e-8, 1e-30, 1e-36, 1e-39])
def test_traces_of_water_stay_numbers(trace):
    """Products of slopes beside nearly empty cells came to 0/0 in single precision."""
    solver = TwoPhaseFlow((8, 30))
    frame = solver.solve(LOW, [0.05, 0.2])
    frame["alpha"] = frame.alpha.where(frame.alpha > 0, trace).astype("f4")
    later = solver.resume(LOW, frame, [0.3])
    assert later.attrs["status"] == "ok" and np.isfinite(later.alpha.values).all()


class Closed(TubeFlow):
    """Nothing is open, and fluid comes in later."""

    def boundary_conditions(self, case):
        rest = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
        begins = Series(np.array([0.0, 0.1, 0.3]), np.array([0.0, 0.0, 1.0]))
        inlet = {"u": Dirichlet(begins), "v": Dirichlet(0.0), "alpha": Dirichlet(1.0)}
        return {"x_min": inlet, "x_max": rest, "y_min": rest, "y_max": rest}


class Pushed(TubeFlow):
    """A pressure where the velocity is given."""

    def boundary_conditions(self, case):
        found = dict(super().boundary_conditions(case))
        return found | {"x_min": dict(found["x_min"]) | {"p": Dirichlet(5.0)}}


def test_fluid_that_comes_into_a_closed_box_later_is_refused():
    with pytest.raises(InputError, match=r"1?\d*\.?\d* m²/s of fluid comes in at t = 0.3 and nothing is open"):
        TwoPhaseFlow((8, 16)).solve(Closed().case(length=0.2), [0.3])


def test_a_pressure_on_an_inlet_is_refused():
    with pytest.raises(InputError, match="p on x_min: expected no pressure but where it is open, got"):
        TwoPhaseFlow((8, 16)).fit(Pushed().case(length=0.2))
    assert isinstance(Pushed().case().boundary_conditions["x_max"]["u"], Outflow)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("change", [lambda a: a + 0.5, lambda a: 0 * a - 5, lambda a: 1.5 * a])
def test_frames_far_outside_0_to_1_are_refused(solver, change):
    frame = TwoPhaseFlow((8, 30)).solve(LOW, [0.02])
    frame["alpha"] = change(frame.alpha)
    with pytest.raises(InputError, match=r"alpha: expected a volume fraction in \[0, 1\], got"):
        if solver is TwoPhaseFlow:
            solver((8, 30)).resume(LOW, frame, [0.03])
        names = ("u", "v", "p", "alpha")
        last = np.stack([frame[n].values[-1] for n in names])
        solver((8, 30)).begin(Start(LOW, support_of(LOW, frame), last[None], 0.02, fields=names))


def test_resolutions_may_be_numpys_integers():
    assert TwoPhaseFlow(np.int64(16)).resolution == (16, 16)
    with pytest.raises(InputError, match=r"resolution is 16.0, expected a whole number >= 4, or \(ny, nx\)"):
        TwoPhaseFlow(16.0)


def test_a_frame_that_is_not_finite_says_which_field():
    frame = TwoPhaseFlow((8, 30)).solve(LOW, [0.02])
    frame["alpha"].values[0, 2, 2] = np.nan
    with pytest.raises(InputError, match="frame: 'alpha': expected finite values"):
        TwoPhaseFlow((8, 30)).resume(LOW, frame, [0.03])


def test_an_audit_of_stored_frames_keeps_their_precision():
    """The report made float64 of them, and found values of -9e-11 outside of [0, 1]."""
    from sciml.reporting.gather import _labelled

    found = TwoPhaseFlow((8, 30)).solve(LOW, [0.05, 0.1])
    fields = {n: found[n].values.astype("f8") for n in ("u", "v", "p", "alpha")}
    labelled = _labelled(LOW, None, fields, found.time.values, support_of(LOW, found), False, np.float32)
    bounds = [r for r in audit(labelled).to_dict()["rows"] if "within" in str(r)]
    assert labelled.alpha.dtype == np.float32 and len(bounds) == 1 and bounds[0]["rms"] == 0
