"""Rollouts beyond the data: bounded, leaving, ending."""

import json

import numpy as np
import pytest

import sciml
from sciml.errors import InputError
from sciml.evaluation import certificate
from sciml.problems import Burgers
from sciml.solvers import PseudoSpectral
from sciml.solvers.baselines import Persistence


@pytest.fixture(scope="module")
def waves():
    problem = Burgers()
    cases = [problem.case(viscosity=v) for v in (0.03, 0.05, 0.1)]
    solutions = [PseudoSpectral(48).solve(c, c.scales.time * np.linspace(0, 0.8, 9)) for c in cases]
    return sciml.data.pack(solutions, splits=["train", "test", "test"], dtype=None)


class Growing(Persistence):
    """Every step by a factor."""

    factor, ends = 1.0, None

    def rollout(self, starts, times):
        now = [np.array(s.frames[-1], dtype=np.float64) for s in starts]
        for k in range(times.shape[1]):
            now = [self.factor * frame for frame in now]
            if self.ends is not None and k + 1 >= self.ends:
                now = [np.full_like(frame, np.nan) for frame in now]
            yield now


def test_the_solver_itself_decays(waves):
    found = certificate(PseudoSpectral(48), waves)
    assert found.horizon.tolist() == [8, 8] and found.steps.tolist() == [80, 80] and found.share == 1.0
    assert (found.growth < 1).all() and np.isnan(found.divergence).all()
    assert (np.diff(found.energy, axis=1) < 1e-12).all()
    assert json.loads(json.dumps(found.to_json()))["share_bounded"] == 1.0


def test_growth_is_found_at_its_step(waves):
    solver = Growing()
    solver.factor = 2**0.5  # energy twice as large every step
    found = certificate(solver, waves, limit=9.0)
    first = found.energy[:, 0] / 2
    for i in range(2):
        expected = np.floor(np.log2(9.0 * found.most / first[i]))
        assert found.bounded[i] == expected < 80
    assert found.share == 0.0 and np.isinf(found.growth).all()
    assert found.to_json()["cases"][0]["energy_growth"] is None


def test_what_ends_is_not_bounded(waves):
    solver = Growing()
    solver.ends = 11
    found = certificate(solver, waves, times=2)
    assert found.steps.tolist() == [16, 16] and found.bounded.tolist() == [10, 10] and found.share == 0
    still = certificate(Growing(), waves, times=2)
    assert still.share == 1 and np.allclose(still.growth, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": 0.5}, "times: expected a number >= 1, got 0.5"),
        ({"limit": float("nan")}, "limit: expected a number >= 1"),
        ({"split": "validation"}, "no case of the data set is in split 'validation'"),
    ],
)
def test_wrong_arguments_are_named(waves, arguments, message):
    with pytest.raises(InputError, match=message):
        certificate(Growing(), waves, **arguments)
    with pytest.raises(InputError, match="solver: expected one that goes on from a frame, got int"):
        certificate(3, waves)
