"""A channel whose flow rate is kept: how it begins."""

import jax
import numpy as np
import pytest

from sciml.problems import TurbulentChannel
from sciml.solvers import ChannelFlow, _chebyshev

pytestmark = pytest.mark.compiled_quickly


def bulk(solution):
    n = solution.sizes["y"]
    return _chebyshev.weights(n)[1:-1] @ solution.u.values.mean((1, 3)).T / 2


@pytest.mark.parametrize("cells", [9, 17, 25])
def test_it_begins_with_the_flow_rate_and_the_force_is_smooth(cells):
    problem = TurbulentChannel("flow_rate")
    case = problem.case(viscosity=1 / 60, length_x=2.0, length_z=1.5, density=2.0, half_height=0.5, bulk_velocity=11.0)
    solver = ChannelFlow((6, cells, 8))
    found = solver.solve(case, [0.0, 1e-5, 2e-5, 4e-5])
    np.testing.assert_allclose(bulk(found), 11.0, rtol=1e-13)
    force, shear = found.driving_force.values, found.wall_shear.values
    assert force[0] == pytest.approx(shear[0] / 0.5, rel=1e-12)
    assert np.abs(np.diff(force[1:])).max() < 0.01 * force[0]  # no step has a mismatch to take up
    assert force[1] == pytest.approx(force[0], rel=0.2)  # a coarse grid's balance is not that of its walls alone
    grid = solver.grid(case)
    shape = found.u.values[0].mean((0, 2)) / problem.mean_profile(case, grid.centres[1])
    np.testing.assert_allclose(shape, shape[0], rtol=1e-10)  # the same profile, to a factor


def test_resuming_tells_the_force_of_its_walls():
    problem = TurbulentChannel("flow_rate")
    case = problem.case(viscosity=1 / 60, length_x=2.0, length_z=1.5)
    solver = ChannelFlow((4, 17, 6))
    first = solver.solve(case, [0.001])
    again = solver.resume(case, first, [0.001])
    assert float(again.driving_force[0]) == pytest.approx(float(first.wall_shear[0]), rel=1e-9)
    with jax.enable_x64(True):
        out = solver.simulate(*solver.arrays(case), np.array([0.0]), problem)
    assert float(out["driving_force"][0]) == pytest.approx(float(out["wall_shear"][0]))
