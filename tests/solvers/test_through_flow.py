"""Flow in at one end of a box and out at another: channels with known answers."""

import numpy as np
import pytest

from sciml import Dirichlet, InputError, InTime, Neumann, Outflow
from sciml.geometry import Box
from sciml.problems import CylinderFlow, LidDrivenCavity
from sciml.solvers import IncompressibleFlow

pytestmark = pytest.mark.compiled_quickly

REST = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}


def parabola(points, time=0.0):
    return 4 * points[:, 1] * (1 - points[:, 1])


class Channel(LidDrivenCavity):
    """[0, 2] × [0, 1], in at x_min, out at x_max; starts as the parabola, or at rest."""

    inlet: object = staticmethod(parabola)
    outlet: object = {"u": Outflow(), "v": Outflow(), "p": Dirichlet(0.0)}
    started = True

    def geometry(self, case):
        return Box((0.0, 0.0), (2.0, 1.0))

    def boundary_conditions(self, case):
        inlet = {"u": Dirichlet(self.inlet), "v": Dirichlet(0.0)}
        return {"x_min": inlet, "x_max": self.outlet, "y_min": REST, "y_max": REST}

    def initial_state(self, case, grid):
        u = parabola(grid.points().reshape(-1, 2)).reshape(grid.shape)
        return {"u": u if self.started else np.zeros(grid.shape), "v": np.zeros(grid.shape)}


def channel(**attributes):
    problem = Channel()
    for name, value in attributes.items():
        setattr(problem, name, value)
    return problem


def test_poiseuille_flow_is_kept_to_second_order():
    errors = []
    for n in (16, 32):
        found = IncompressibleFlow((n, 2 * n), dtype="float64").solve(channel().case(viscosity=0.1), times=[3.0])
        y = found.y.values
        u = np.abs(found.u.values[0] - (4 * y * (1 - y))[:, None]).max()
        # ∂p/∂x = −8 μ U/H², and zero at the outlet
        p = np.abs(found.p.values[0].mean(axis=0) - 0.8 * (2 - found.x.values)).max() / 1.6
        errors.append((u, p, np.abs(found.v.values).max()))
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert orders[-1].min() > 1.8, (errors, orders)
    assert max(errors[-1]) < 1e-3


def test_a_channel_develops_from_rest():
    found = IncompressibleFlow((16, 32)).solve(channel(started=False, inlet=1.0).case(viscosity=0.2), times=[8.0])
    y = found.y.values  # of mean 1 the parabola has 1.5 in the middle
    assert np.abs(found.u.values[0, :, -4] - 6 * y * (1 - y)).max() < 0.02


def test_what_comes_in_goes_out_at_every_instant():
    case = channel(inlet=InTime(lambda t: 1 + 0.5 * np.sin(3 * t))).case(viscosity=0.05)
    times = np.array([0.3, 0.9, 1.4])
    found = IncompressibleFlow((12, 20), dtype="float64").solve(case, times)
    through = found.u_face.values.mean(axis=1)
    # 64 straight pieces in a time scale are within (3/64)²/8 of the sine
    assert np.abs(through[:, 0] - 1 - 0.5 * np.sin(3 * times)).max() < 0.5 * (3 / 64) ** 2 / 8
    assert np.abs(through - through[:, :1]).max() < 1e-12


def test_steps_in_time_are_of_second_order_under_a_changing_inflow():
    case = channel(inlet=lambda at, t: parabola(at) * (1 + 0.5 * np.sin(3 * t))).case(viscosity=0.02)
    fine, *others = (
        IncompressibleFlow((8, 16), cfl=c, dtype="float64").solve(case, [1.0]).u_face.values for c in (0.025, 0.2, 0.4)
    )
    errors = [np.abs(o - fine).max() for o in others]
    assert np.log2(errors[1] / errors[0]) > 1.7, errors


@pytest.mark.parametrize("turned", [False, True])
def test_the_other_way_round_is_the_same_flow(turned):
    """In from the right; and the whole channel upright."""

    class Turned(Channel):
        def geometry(self, case):
            return Box((0.0, 0.0), (1.0, 2.0)) if turned else super().geometry(case)

        def boundary_conditions(self, case):
            if turned:
                inlet = {"v": Dirichlet(lambda at, t: parabola(at[:, ::-1])), "u": Dirichlet(0.0)}
                return {"y_min": inlet, "y_max": self.outlet, "x_min": REST, "x_max": REST}
            inlet = {"u": Dirichlet(lambda at, t: -parabola(at)), "v": Dirichlet(0.0)}
            return {"x_max": inlet, "x_min": self.outlet, "y_min": REST, "y_max": REST}

        def initial_state(self, case, grid):
            return {"u": np.zeros(grid.shape), "v": np.zeros(grid.shape)}

    size = (10, 16)
    one = IncompressibleFlow(size, dtype="float64").solve(channel(started=False).case(), [0.5])
    other = IncompressibleFlow(size[::-1] if turned else size, dtype="float64").solve(Turned().case(), [0.5])
    u, v = (
        (other.v.values[0].T, other.u.values[0].T)
        if turned
        else (-other.u.values[0, :, ::-1], other.v.values[0, :, ::-1])
    )
    assert np.abs(u - one.u.values[0]).max() < 1e-12 and np.abs(v - one.v.values[0]).max() < 1e-12


def test_conditions_that_make_no_flow_are_refused():
    for attributes, said in (
        ({"outlet": {"u": Neumann(0.0), "v": Neumann(0.0)}}, "expected the velocity .* or Outflow"),
        ({"outlet": {"u": Outflow(), "v": Dirichlet(0.0)}}, "for both of it"),
        ({"outlet": {"u": Outflow(), "v": Outflow(), "p": Dirichlet(1.0)}}, "p on x_max, which is open"),
        ({"outlet": REST}, "no open end; expected an Outflow"),
    ):
        with pytest.raises(InputError, match=said):
            IncompressibleFlow(8).solve(channel(**attributes).case(), [0.1])


def test_eddies_leave_at_a_high_reynolds_number():
    """Re 10 000, unresolved, the outlet a radius behind: with a pressure of zero where fluid comes back the eddies in
    the outlet grow without bound before t = 0.25."""
    case = CylinderFlow().case(viscosity=2e-5, x_max=0.03)
    found = IncompressibleFlow((48, 36), dtype="float64").solve(case, times=[0.5, 1.0])
    assert found["u_face"].values[:, :, -1].min() < -0.1  # they do come back
    assert np.abs(found["u_face"].values).max() < 10
