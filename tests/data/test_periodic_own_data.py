"""Own data on a periodic domain stay periodic through a data set."""

import numpy as np
import pytest

from sciml import data
from sciml.problems import DataProblem
from sciml.support import Grid


@pytest.mark.parametrize("periodic", [True, False])
def test_a_case_knows_that_its_domain_is_periodic(tmp_path, periodic):
    problem = DataProblem("waves", ["a"], [], 2, steady=True, periodic=(periodic, False))
    grid = Grid((np.linspace(0, 1, 9),) * 2, (periodic, False))
    values = {"a": (grid.dims, np.sin(2 * np.pi * grid.points()[..., 0]))}
    data.write(data.pack([data.solution(problem.case().on(grid), None, values, grid)]), tmp_path / "own.h5")
    case, _ = data.case(data.open(tmp_path / "own.h5"), 0)
    assert case.support.periodic == (periodic, False)
    np.testing.assert_allclose(case.support.points(), grid.points())
