"""A plate that pushes a fluid: gradients of a goal through the material-point method beside differences."""

from __future__ import annotations

import numpy as np
import pytest

import sciml
from sciml.boundary import Series
from sciml.control import Inside, Task, compare_gradient, steer
from sciml.solvers import MaterialPoint

pytestmark = pytest.mark.compiled_quickly

KNOTS = np.array([0.0, 0.1, 0.2])


def pushed(u):
    """Velocities along x at three knots, along y at the last, and where the plate is."""
    return sciml.problems.PushedMaterial(material="fluid").case(
        plate_velocity_x=Series(KNOTS, u[:3]), plate_velocity_y=Series(KNOTS, [0.0, 0.0, u[3]]), plate_left=u[4],
        width=0.2, height=0.1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def task():
    goal = Inside((0.42, None), (0.8, None), 0.05)
    return Task(pushed, [0.2], goal, [0.6, 0.7, 0.5, 0.1, 0.2], [-1, -1, -1, -1, 0.1], [1, 1, 1, 1, 0.23])


@pytest.fixture(scope="module")
def solver():
    return MaterialPoint(16, dtype="float64")


def test_the_gradient_is_that_of_differences(task, solver):
    # J jumps by some 1e-5 where the number of steps in time changes: narrow differences seldom span such a place
    compared = compare_gradient(task, solver, step=1e-7)
    assert np.abs(compared.gradient).min() > 0  # motion along both axes, and the place
    assert compared.relative_error < 1e-5


def test_steering_gets_nearer_to_the_goal(task, solver):
    found = steer(task, solver, "lbfgs", evaluations=5)
    assert found.value < 0.8 * found.evaluations[0].value


def test_the_value_is_that_of_the_solution(task, solver):
    case = pushed(task.start)
    solution = solver.solve(case, task.times)
    position = np.stack([solution[a].values for a in "xy"], -1)
    frames = {"position": position, "velocity": position, "mass": np.ones(position.shape[1])}
    found = solver.value(case, task.times, task.goal, solver.setup(case))
    np.testing.assert_allclose(found, task.goal(np, frames), rtol=1e-9)
