"""What data sets keep of particles."""

import numpy as np
import pytest

from sciml import data, problems
from sciml.errors import InputError
from sciml.support import Points


def test_a_field_and_a_parameter_of_one_name_do_not_fit_into_a_data_set():
    problem = problems.DamBreak()
    made = data.solution(problem.case(), [0.0], {"density": np.ones((1, 3))}, Points(np.eye(3)[:, :2]))
    with pytest.raises(InputError, match="pack: 'viscosity' is a field and a parameter of dam_break"):
        data.pack([made.rename(density="viscosity")])


def test_particles_of_a_dam_break_come_back_from_a_data_set():
    problem = problems.DamBreak()
    case = problem.case(rest_density=900.0)
    particles = problem.particles(case, 0.1)
    state = problem.initial_state(case, particles.support) | {"density": np.full(len(particles), 901.0)}
    made = data.solution(case, [0.0], {n: v[None] for n, v in state.items()}, particles.support)
    again, solution = data.case(data.pack([made]), 0)
    assert again == case and again.rest_density == 900.0
    np.testing.assert_array_equal(solution["density"], 901.0)
