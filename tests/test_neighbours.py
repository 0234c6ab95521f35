"""Pairs within a radius, farthest points and moving interpolation, against loops over all pairs."""

import subprocess
import sys

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.support.neighbours import farthest_points, moving_interpolation, radius_graph, spacing_of


def brute_edges(points, radius, lengths=None, periodic=()):
    away = points[None] - points[:, None]
    for axis, around in enumerate(periodic):
        if around:
            away[..., axis] -= lengths[axis] * np.round(away[..., axis] / lengths[axis])
    near = np.linalg.norm(away, axis=-1) <= radius
    sender, receiver = np.nonzero(near)
    order = np.lexsort((sender, receiver))
    return np.stack([sender[order], receiver[order]])


def brute_farthest(points, count, first):
    chosen, distance = [first], np.linalg.norm(points - points[first], axis=1)
    for _ in range(count - 1):
        free = distance.copy()
        free[chosen] = -1
        chosen.append(int(free.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


@pytest.mark.parametrize(
    ("d", "periodic", "radius"),
    [(1, (), 0.1), (2, (), 0.15), (2, (True, False), 0.2), (3, (True, True, True), 0.3), (3, (True, True, True), 0.7)],
)
def test_pairs_within_a_radius_against_all_pairs(d, periodic, radius):
    points = np.random.default_rng(0).uniform(-1.0, 2.0, (150, d))  # those outside of a periodic box go round
    lengths = np.array([1.0, 1.3, 0.9])[:d]
    found = radius_graph(points, radius, lengths=lengths, periodic=periodic)
    assert np.array_equal(found, brute_edges(points, radius, lengths, periodic))
    assert np.array_equal(found, radius_graph(points, radius, lengths=lengths, periodic=periodic))


def test_a_point_on_the_seam_is_inside():
    points = np.array([[-1e-20, 0.5], [0.05, 0.5], [1.0, 0.5]])
    found = radius_graph(points, 0.1, lengths=(1.0, 1.0), periodic=(True, True))
    assert found.shape == (2, 9)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("kind", ["random", "lattice", "equal"])
def test_farthest_points_against_all_distances(d, kind):
    rng = np.random.default_rng(1)
    points = rng.random((200, d))
    if kind == "lattice":
        points = np.round(points * 6)  # many ties, and points that lie in one place
    if kind == "equal":
        points = np.ones((200, d))
    found = farthest_points(points, 120, first=3)
    assert np.array_equal(found, brute_farthest(points, 120, 3))
    assert len(set(found.tolist())) == 120
    assert np.array_equal(found[:40], farthest_points(points, 40, first=3))


def test_farthest_points_look_at_few_others(monkeypatch):
    """The balls that are looked at hold some N log(count) points together; all distances would be N · count."""
    import scipy.spatial

    seen, plain = [], scipy.spatial.KDTree

    class Counting(plain):
        def query_ball_point(self, *args, **more):
            found = super().query_ball_point(*args, **more)
            seen.append(len(found))
            return found

    monkeypatch.setattr(scipy.spatial, "KDTree", Counting)
    points = np.random.default_rng(2).random((20_000, 2))
    farthest_points(points, 1000)
    assert sum(seen) < 6 * np.log(1000) * len(points)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_moving_interpolation_keeps_constants_nodes_and_first_degree(d):
    rng = np.random.default_rng(3)
    nodes, points = rng.random((300, d)), rng.random((500, d))
    weights = moving_interpolation(nodes, points)
    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-12
    slope = rng.normal(size=(d, 2))
    assert np.abs(weights @ (nodes @ slope + 1) - (points @ slope + 1)).max() < 1e-9
    same = moving_interpolation(nodes, nodes)
    assert np.abs(same @ slope_of(nodes) - slope_of(nodes)).max() < 1e-9
    smooth = weights @ np.sin(3 * nodes.sum(1))
    assert np.abs(smooth - np.sin(3 * points.sum(1))).max() < (0.01, 0.05, 0.4)[d - 1]


def test_moving_interpolation_goes_round_periodic_boxes():
    rng = np.random.default_rng(6)
    nodes, points = rng.random((900, 2)) * (2.0, 1.0), rng.uniform(-3, 3, (400, 2))
    points[:, 1] = rng.random(400)

    def wave(at):
        return np.sin(np.pi * at[:, 0])

    weights = moving_interpolation(nodes, points, lengths=(2.0, 1.0), periodic=(True, False))
    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-12
    assert np.abs(weights @ wave(nodes) - wave(points)).max() < 0.03
    box, shift = {"lengths": (2.0, 1.0), "periodic": (True, False)}, np.array([0.7, 0.0])
    moved = moving_interpolation(nodes + shift, points + shift - [2.0, 0.0], **box)
    assert np.abs((weights - moved).toarray()).max() < 1e-7


def slope_of(nodes):
    return np.sin(20 * nodes)


def test_few_nodes_or_nodes_on_a_line_take_shepards_weights():
    line = np.stack([np.linspace(0, 1, 20), np.zeros(20)], axis=1)
    points = np.random.default_rng(4).random((30, 2))
    weights = moving_interpolation(line, points).toarray()
    assert np.abs(weights.sum(1) - 1).max() < 1e-12 and weights.min() >= 0
    assert np.allclose(moving_interpolation(line[:1], points).toarray(), 1.0)
    assert np.allclose(moving_interpolation(np.zeros((4, 2)), points).toarray().sum(1), 1.0)


def test_the_distance_of_neighbours_is_that_of_a_lattice():
    lattice = np.stack(np.meshgrid(np.arange(10.0), np.arange(8.0)), -1).reshape(-1, 2)
    assert spacing_of(0.3 * lattice) == pytest.approx(0.3)
    assert spacing_of(lattice[:1]) == 0.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda p: radius_graph(p, 0.0), "radius: expected a number > 0, got 0.0"),
        (lambda p: radius_graph(p, 9.0, most=100), "radius: 9 joins 2500 pairs of 50 points, expected at most 100"),
        (lambda p: radius_graph(p, 0.1, periodic=(True, False)), "lengths: expected 2 numbers > 0"),
        (lambda p: radius_graph(p * np.nan, 0.1), "points: position 0 is not finite"),
        (lambda p: farthest_points(p, 51), "count: expected a whole number from 1 to 50"),
        (lambda p: farthest_points(p, 5, first=50), "first: expected a number from 0 to 49"),
        (lambda p: moving_interpolation(p, p[:, :1]), "points: expected 2 coordinates"),
        (lambda p: moving_interpolation(p, p, count=0), "count: expected a whole number >= 1"),
    ],
)
def test_bad_input_stops_with_one_line(call, words):
    with pytest.raises(InputError, match=words) as caught:
        call(np.random.default_rng(5).random((50, 2)))
    assert "\n" not in str(caught.value)


def test_points_on_a_floor_have_neighbours_where_denormal_numbers_are_zeros():
    """In a process of its own: without denormal numbers the tree of scipy has no end there, and the stack has one."""
    program = (
        "import numpy as np, torch\n"
        "from sciml.support.neighbours import radius_graph\n"
        "torch.set_flush_denormal(True)\n"
        "p = np.random.default_rng(0).random((20, 2)) * [0.1, 1.0]\n"
        "p[:12, 1] = 0\n"
        "print(radius_graph(p, 0.1).shape[1], float(torch.tensor(1e-40) * 1))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    edges, denormal = said.stdout.split()
    assert int(edges) > 100 and float(denormal) == 0  # and training has its zeros back
