"""Own data on a periodic domain stay periodic through a data set."""

import numpy as np
import pytest

from sciml import data
from sciml.errors import InputError
from sciml.problems import DataProblem
from sciml.support import Grid, support_of


@pytest.mark.parametrize("periodic", [True, False])
def test_a_case_knows_that_its_domain_is_periodic(tmp_path, periodic):
    problem = DataProblem("waves", ["a"], [], 2, steady=True, periodic=(periodic, False))
    grid = Grid((np.linspace(0, 1, 9),) * 2, (periodic, False))
    values = {"a": (grid.dims, np.sin(2 * np.pi * grid.points()[..., 0]))}
    data.write(data.pack([data.solution(problem.case().on(grid), None, values, grid)]), tmp_path / "own.h5")
    case, _ = data.case(data.open(tmp_path / "own.h5"), 0)
    assert case.support.periodic == (periodic, False)
    np.testing.assert_allclose(case.support.points(), grid.points())


def test_a_grid_that_goes_around_is_enough(tmp_path):
    """The problem says nothing; the grid of the solution does."""
    problem = DataProblem("waves", ["a"], ["rate"], 2)
    grid = Grid((np.linspace(0, 1, 9), np.linspace(0, 2, 7)), (True, False))
    values = {"a": np.sin(2 * np.pi * grid.points()[..., 0])[None].repeat(2, 0)}
    made = [data.solution(problem.case(rate=float(k)), [0.0, 1.0], values, grid) for k in range(2)]
    data.write(data.pack(made), tmp_path / "own.h5")
    with data.open(tmp_path / "own.h5") as found:
        for k in range(2):
            case, solution = data.case(found, k)
            assert case.support.periodic == case.geometry.periodic == (True, False)
            assert support_of(case, solution).periodic == (True, False)
            assert case.rate == k
    # a case that is put on such a grid belongs to the same problem
    assert problem.case(rate=1.0).on(grid).problem.same(case.problem)
    assert problem.case(rate=1.0).on(grid).geometry.periodic == (True, False)


def test_what_the_problem_says_stays_where_a_grid_says_nothing():
    around, plain = (DataProblem("waves", ["a"], [], 1, steady=True, periodic=p) for p in ((True,), ()))
    line, circle = (Grid((np.linspace(0, 1, 9),), (p,)) for p in (False, True))
    assert around.within(line) is around and plain.within(line) is plain
    assert plain.within(circle).box == (True,) and around.within(circle) is around
    with pytest.raises(InputError, match="dimensions of space"):
        data.solution(DataProblem("waves", ["a"], [], 2, steady=True).case(), None, {"a": np.ones(8)}, circle)


def test_each_case_keeps_what_its_grid_says():
    problem, made = DataProblem("waves", ["a"], [], 1, steady=True), []
    for around in (True, False):
        grid = Grid((np.linspace(0, 1, 9),), (around,))
        made.append(data.solution(problem.case(), None, {"a": np.ones(8)}, grid))
    packed = data.pack(made)
    assert [data.case(packed, i)[0].support.periodic for i in (0, 1)] == [(True,), (False,)]
