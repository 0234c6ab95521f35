"""Steering of a thrown ball, of which everything is known: x(T) = x₀ + ∫ v dt."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import sciml
from sciml.control import CentreOfMass, Inside, Task, compare_gradient, steer
from sciml.errors import InputError, SolverError
from sciml.problem import FieldSpec, ParameterSpec
from sciml.problems.own_data import DataProblem
from sciml.solver import Differentiable

PROBLEM = DataProblem(
    "thrown", [FieldSpec("height", "m", "node")], [ParameterSpec("a", "1", 0.0), ParameterSpec("b", "1", 0.0)], 2
)
TIMES = [0.5, 1.0]


class Thrown(Differentiable):
    """Particles at x = (a², a b) t + (k/10, 0): a map that is not linear, with the derivatives of its setup by hand."""

    name = "thrown"
    count = 4

    def supports(self, problem):
        return True

    def setup(self, case):
        a, b = case.parameters["a"], case.parameters["b"]
        return {"velocity": np.array([a**2, a * b]), "unused": np.zeros(3)}

    def frames(self, velocity, times):
        start = np.stack([np.arange(self.count) / 10, np.zeros(self.count)], -1)
        position = start + np.asarray(times)[:, None, None] * velocity
        return {
            "position": position,
            "velocity": np.broadcast_to(velocity, position.shape),
            "mass": np.ones(self.count),
        }

    def value(self, case, times, goal, setup):
        return float(goal(np, self.frames(setup["velocity"], times)))

    def value_and_gradient(self, case, times, goal, setup):
        slopes = np.zeros(2)
        for k in range(2):
            ends = [setup["velocity"] + sign * 1e-6 * np.eye(2)[k] for sign in (1, -1)]
            up, down = (float(goal(np, self.frames(end, times))) for end in ends)
            slopes[k] = (up - down) / 2e-6
        return self.value(case, times, goal, setup), {"velocity": slopes}


def task(**changes):
    given = dict(
        case=lambda u: PROBLEM.case(a=float(u[0]), b=float(u[1])), times=TIMES, goal=CentreOfMass((1.15, 0.5)),
        start=[0.5, 0.1], lower=[0.0, -1.0], upper=2.0,
    )  # fmt: skip
    return Task(**(given | changes))


def test_the_gradient_goes_through_the_setup():
    compared = compare_gradient(task(effort=0.3), Thrown(), np.array([0.7, 0.4]))
    assert compared.cosine > 1 - 1e-9
    assert compared.relative_error < 1e-6


@pytest.mark.parametrize("method", ["lbfgs", "adam", "cobyqa", "nelder_mead", "cma"])
def test_each_method_reaches_the_goal(method):
    found = steer(task(), Thrown(), method, evaluations=300, goal=1e-4)  # a² = 1, a b = 0.5
    assert found.reached
    np.testing.assert_allclose(found.u, [1.0, 0.5], atol=0.03)
    assert found.evaluations_to(1e-4) == len(found.evaluations)
    assert found.evaluations_to(-1.0) is None
    assert all(e.with_gradient == (method in ("lbfgs", "adam")) for e in found.evaluations)


def test_evaluations_are_counted_and_the_best_is_kept():
    found = steer(task(), Thrown(), "nelder_mead", evaluations=7)
    assert len(found.evaluations) == 7
    assert not found.reached
    assert found.value == min(e.value for e in found.evaluations)


def test_bounds_hold():
    found = steer(task(upper=[0.8, 2.0]), Thrown(), "lbfgs", evaluations=40)
    assert all((e.u <= [0.8, 2.0]).all() and (e.u >= [0.0, -1.0]).all() for e in found.evaluations)
    np.testing.assert_allclose(found.u[0], 0.8)


def test_what_fails_is_infinite_and_not_taken():
    class Failing(Thrown):
        def value(self, case, times, goal, setup):
            return np.nan if setup["velocity"][0] > 1.2 else super().value(case, times, goal, setup)

    found = steer(task(start=[1.2, 0.1]), Failing(), "cobyqa", evaluations=60)
    assert found.evaluations[0].value == np.inf
    assert np.isfinite(found.value)


class Hopeless(Thrown):
    def value(self, case, times, goal, setup):
        return np.nan


@pytest.mark.parametrize("method", ["lbfgs", "cobyqa"])
def test_a_solver_that_always_fails_is_no_answer(method):
    with pytest.raises(SolverError, match=r"thrown failed at all \d+ u that were tried, the first \[0.5 0.1\]"):
        steer(task(), Hopeless(), method, evaluations=5)


def test_gradients_are_compared_where_there_are_some():
    with pytest.raises(SolverError, match="thrown failed at u"):
        compare_gradient(task(), Hopeless())
    for changes, what in (({"step": 0.0}, "step: expected"), ({"at": np.array([np.nan, 0.0])}, "at: expected finite")):
        with pytest.raises(InputError, match=what):
            compare_gradient(task(), Thrown(), **changes)


def test_goals_are_what_they_say():
    frames = {
        "position": np.array([[[0.0, 0.0], [1.0, 2.0]]]), "velocity": np.zeros((1, 2, 2)), "mass": np.array([3.0, 1.0]),
    }  # fmt: skip
    assert CentreOfMass((0.25, 0.0), 0.5)(np, frames) == pytest.approx(1.0)  # centre (0.25, 0.5)
    assert CentreOfMass((0.25, None))(np, frames) == pytest.approx(0.0)
    assert Inside((-1.0, None), (0.5, None), 1e-3)(np, frames) == pytest.approx(0.25)
    edge = Inside((0.0, None), (None, None), 0.1)(np, {**frames, "position": np.zeros((1, 2, 2))})
    assert edge == pytest.approx(0.5)


def test_goals_agree_in_all_libraries():
    random = np.random.default_rng(0)
    frames = {"position": random.random((2, 5, 2)), "velocity": random.random((2, 5, 2)), "mass": random.random(5)}
    for goal in (CentreOfMass((0.3, None)), Inside((0.2, 0.1), (0.7, None), 0.1)):
        expected = float(goal(np, frames))
        assert float(goal(torch, {k: torch.from_numpy(v) for k, v in frames.items()})) == pytest.approx(expected)
        assert float(goal(jnp, {k: jnp.asarray(v) for k, v in frames.items()})) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lower": 3.0}, "upper: expected more than lower"),
        ({"start": [5.0, 0.0]}, "start: entry 0 is 5"),
        ({"start": [np.nan, 0.0]}, "start: expected finite"),
        ({"lower": [0.0, 0.0, 0.0]}, "lower: expected one number or 2"),
        ({"goal": 3}, "goal: expected a Goal"),
        ({"effort": -1.0}, "effort: expected"),
        ({"times": None}, "times: thrown changes in time"),
        ({"case": lambda u: u}, "case: expected a function that gives a Case"),
    ],
)
def test_wrong_tasks_stop_with_a_line(changes, words):
    with pytest.raises(InputError, match=words):
        task(**changes)


def test_wrong_requests_stop_with_a_line():
    with pytest.raises(InputError, match="method: expected one of"):
        steer(task(), Thrown(), "lbfg")
    with pytest.raises(InputError, match="evaluations"):
        steer(task(), Thrown(), evaluations=0)
    with pytest.raises(InputError, match="through: expected a solver of particles"):
        steer(task(), sciml.solvers.PseudoSpectral(16))
    with pytest.raises(InputError, match="target"):
        CentreOfMass((None, None))
    with pytest.raises(InputError, match="softness"):
        Inside((0.0,), (1.0,), 0.0)
    with pytest.raises(InputError, match="has 1 entries, expected 2"):
        steer(task(goal=CentreOfMass((1.0,))), Thrown())


def test_numbers_that_change_a_count_are_refused():
    class Growing(Thrown):
        def setup(self, case):
            return super().setup(case) | {"velocity": np.ones(2 + (case.parameters["a"] > 0.5))}

    with pytest.raises(InputError, match="changes how many numbers"):
        steer(task(), Growing(), "lbfgs", evaluations=2)
