"""Fronts of error and cost, and costs between their points."""

import numpy as np

from benchmarks import _cavity_front as front


def points(*pairs):
    return [{"error": error, "seconds": seconds} for error, seconds in pairs]


def test_the_front_is_the_lower_left_edge_of_the_hull_in_logarithms():
    edge = points((0.01, 100.0), (0.1, 1.0), (1.0, 0.5))
    beaten = points((0.02, 200.0), (0.1, 2.0), (2.0, 0.5))  # by one point in both
    above = points((0.03, 50.0), (0.3, 0.9))  # the lines between two of the edge
    assert front.front([*above, *edge[::-1], *beaten]) == edge


def test_costs_are_powers_between_points_and_one_sided_beyond_them():
    edge = points((0.01, 100.0), (0.1, 1.0))
    found = front.cost(edge, [100.0, 1.0], np.array([0.005, 0.01, 0.02, 0.1, 0.5]))
    np.testing.assert_allclose(found, [np.nan, 100.0, 25.0, 1.0, 1.0], rtol=1e-12)


class Made:  # of `Runs`, what the search calls
    """Errors and seconds of icoFoam by formula: the error rises once, at the third step."""

    def theirs(self, case):
        steps = round(front.FRAME / case.time_step)
        error = 1 / case.cells + 0.1 / steps + (0.2 if steps == 3 else 0)
        # up to 32 cells GAMG is the slower, beyond the faster
        slow = 2 if (case.pressure == "GAMG") == (case.cells <= 32) else 1
        return {"error": error, "seconds": slow * steps * case.cells**2 * case.correctors / (1 + 100 * case.tolerance)}


def test_a_setting_is_kept_when_its_error_rises_once_and_dropped_after_two_flat_steps():
    found = front.refined(Made(), 100, 64, front.settings(64)[0])
    steps = [round(front.FRAME / p["case"].time_step) for p in found]
    assert steps[:5] == [1, 2, 3, 4, 6]  # the third is worse than the second
    level = type("Level", (), {"theirs": lambda self, case: {"error": 0.1, "seconds": 1.0}})
    assert len(front.refined(level(), 100, 64, front.settings(64)[0])) == 3


def test_finer_grids_are_tried_with_both_pressure_solvers_and_with_variants_of_the_front():
    found = front.their_points(Made(), 100, (32, 64))
    coarse, fine = ([p for p in found if p["cells"] == n] for n in (32, 64))
    assert {p["case"].pressure for p in front.front(coarse)} == {"PCG"}
    assert {p["case"].pressure for p in front.front(fine)} == {"GAMG"}
    for name, values in {"pressure": {"PCG", "GAMG"}, "tolerance": {1e-3, 1e-2}, "predictor": {True, False}}.items():
        assert {getattr(p["case"], name) for p in fine} >= values


def test_what_costs_little_more_than_the_front_is_timed_again():
    edge = points((0.01, 100.0), (0.1, 1.0))
    little, much = points((0.02, 28.0), (0.02, 30.0))  # the front costs 25 there
    assert front.near([*edge, little, much]) == [*edge, little]
