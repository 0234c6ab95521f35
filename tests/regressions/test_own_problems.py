"""Slips of those who write a problem of their own get one clear line."""

import numpy as np
import pytest

from sciml.boundary import Dirichlet, Robin, Series
from sciml.errors import InputError
from sciml.problems import CylinderFlow, DamFlow, TubeFlow
from sciml.solvers import IncompressibleFlow, OpenFOAM, TwoPhaseFlow

TWO = (TwoPhaseFlow, OpenFOAM)


class Begins(DamFlow):
    """A dam whose beginning is changed."""

    change = staticmethod(lambda state: state)

    def initial_state(self, case, grid):
        return self.change(super().initial_state(case, grid))


def begins(change):
    return type("Own", (Begins,), {"change": staticmethod(change)})().case()


def without(state):
    del state["alpha"]
    return state


SLIPS = {
    r"does not say how 'alpha' begins, only \['u', 'v'\]": without,
    r"gives 'alpha' over \(3, 4\), expected \(\d+, \d+\), the shape of the support": lambda state: (
        state | {"alpha": np.ones((3, 4))}
    ),
    r"gives 'u' as 'fast', expected numbers": lambda state: state | {"u": "fast"},
    r"initial_state gives list, expected arrays by names of fields": list,
}


@pytest.mark.parametrize("said", SLIPS)
def test_a_beginning_that_is_none_is_refused(said):
    with pytest.raises(InputError, match=said):
        TwoPhaseFlow((8, 30)).solve(begins(SLIPS[said]), [0.01])


def test_numbers_are_a_beginning():
    case = begins(lambda state: {n: float(np.mean(np.zeros_like(v))) for n, v in state.items()})
    assert np.all(TwoPhaseFlow((8, 30)).solve(case, [0.0]).alpha.values[0] == 0)


class Bare(TubeFlow):
    """A series where a condition belongs."""

    def boundary_conditions(self, case):
        found = dict(super().boundary_conditions(case))
        return found | {"x_min": found["x_min"] | {"u": Series(np.array([0.0, 1.0]), np.array([0.0, 1.0]))}}


class BareWake(CylinderFlow):
    """A number where a condition belongs."""

    def boundary_conditions(self, case):
        found = dict(super().boundary_conditions(case))
        return found | {"x_min": found["x_min"] | {"u": 1.0}}


@pytest.mark.parametrize("solver", TWO)
def test_what_is_no_condition_is_refused(solver):
    with pytest.raises(InputError, match=r"boundary 'x_min' has Series.* for 'u', expected a condition"):
        solver(32).fit(Bare().case())


def test_a_number_is_no_condition():
    with pytest.raises(InputError, match=r"boundary 'x_min' has 1.0 for 'u', expected a condition"):
        IncompressibleFlow(32).fit(BareWake().case())


@pytest.mark.parametrize("make", [Dirichlet, lambda v: Robin(v, 1.0, 2.0)])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_conditions_have_finite_values(make, value):
    with pytest.raises(InputError, match=r"the value is (nan|inf), expected a finite number"):
        make(value)
