"""Fronts of error and cost, and costs between their points."""

import numpy as np
import pytest

front = pytest.importorskip("benchmarks._cavity_front")


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
