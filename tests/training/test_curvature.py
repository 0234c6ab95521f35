"""Curvature of graphs against known values and against linear programming."""

import itertools
import time

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path
from scipy.spatial import Delaunay

from sciml.errors import InputError
from sciml.support import Mesh
from sciml.training.encoding.curvature import edge_curvature, node_curvature
from sciml.training.encoding.graph import edges as edges_of


def graph(pairs) -> np.ndarray:
    pairs = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    return np.concatenate([pairs, pairs[:, ::-1]]).T.copy()


def clique(nodes) -> list[tuple[int, int]]:
    return list(itertools.combinations(nodes, 2))


def by_programming(edges: np.ndarray, count: int) -> np.ndarray:
    """1 − W₁, all distances along the graph and each transport a linear programme."""
    adjacency = coo_matrix((np.ones(edges.shape[1]), tuple(edges)), (count, count)).toarray()
    distance = shortest_path(adjacency, unweighted=True)
    measure = 0.5 * np.eye(count) + 0.5 * adjacency / np.maximum(adjacency.sum(1, keepdims=True), 1)
    found = []
    for x, y in edges.T:
        a, b = np.flatnonzero(measure[x]), np.flatnonzero(measure[y])
        sums = np.concatenate([np.kron(np.eye(len(a)), np.ones(len(b))), np.kron(np.ones(len(a)), np.eye(len(b)))])
        masses = np.concatenate([measure[x, a], measure[y, b]])
        found.append(1 - linprog(distance[np.ix_(a, b)].ravel(), A_eq=sums, b_eq=masses).fun)
    return np.array(found)


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_complete_graphs(n):
    """Of x's mass ½, ½/(n − 1) is at y already; the rest moves by one step."""
    np.testing.assert_allclose(edge_curvature(graph(clique(range(n))), n), 0.5 + 0.5 / (n - 1), rtol=1e-15)


@pytest.mark.parametrize(("n", "expected"), [(4, 0.5), (5, 0.25), (6, 0.0), (7, 0.0), (20, 0.0)])
def test_cycles(n, expected):
    np.testing.assert_allclose(edge_curvature(graph((i, (i + 1) % n) for i in range(n)), n), expected, atol=1e-15)


def test_a_bridge_between_cliques_and_a_tree():
    """A bridge between cliques of n: each end sends (n − 1)/(2n) three steps far, beside ½ − 1/(2n) over the bridge."""
    n = 6
    edges = graph([*clique(range(n)), *clique(range(n, 2 * n)), (0, n)])
    found = edge_curvature(edges, 2 * n)
    bridge = ((edges == 0).any(0) & (edges == n).any(0)).nonzero()[0]
    np.testing.assert_allclose(found[bridge], 1 - (3 * (n - 1) / (2 * n) + 0.5 - 1 / (2 * n)), rtol=1e-14)
    assert (found[bridge] < 0).all() and (np.delete(found, bridge) > 0).all()
    lowest = np.argsort(node_curvature(edges, 2 * n))[:2]
    assert set(lowest.tolist()) == {0, n}
    star = edge_curvature(graph((0, i) for i in range(1, 8)), 8)
    np.testing.assert_allclose(star, by_programming(graph((0, i) for i in range(1, 8)), 8), atol=1e-12)


@pytest.mark.parametrize(
    ("count", "share", "seed"), [(8, 0.4, 0), (12, 0.25, 1), (12, 0.6, 2), (18, 0.15, 3), (18, 0.3, 4)]
)
def test_random_graphs_against_linear_programming(count, share, seed):
    rng = np.random.default_rng(seed)
    edges = graph(p for p in clique(range(count)) if rng.random() < share)
    np.testing.assert_allclose(edge_curvature(edges, count), by_programming(edges, count), atol=1e-9)


def test_a_mesh_against_linear_programming():
    position = np.random.default_rng(1).random((40, 2))
    edges = edges_of(Mesh(position, {"triangle": Delaunay(position).simplices}))
    np.testing.assert_allclose(edge_curvature(edges, 40), by_programming(edges, 40), atol=1e-9)


def test_order_and_direction_do_not_matter():
    rng = np.random.default_rng(5)
    edges = graph(p for p in clique(range(25)) if rng.random() < 0.2)
    found = edge_curvature(edges, 25)
    half = edges.shape[1] // 2
    np.testing.assert_array_equal(found[:half], found[half:])
    shuffle, place = rng.permutation(edges.shape[1]), rng.permutation(25)
    np.testing.assert_array_equal(edge_curvature(edges[:, shuffle], 25), found[shuffle])
    np.testing.assert_array_equal(edge_curvature(place[edges], 25), found)
    np.testing.assert_array_equal(node_curvature(place[edges], 25)[place], node_curvature(edges, 25))


def test_means_at_nodes():
    edges = graph([(0, 1), (1, 2), (0, 2), (2, 3)])
    found, means = edge_curvature(edges, 5), node_curvature(edges, 5)
    for i in range(4):
        np.testing.assert_allclose(means[i], found[edges[0] == i].mean(), atol=1e-12)
    assert means[4] == 0  # no edges
    assert (node_curvature(np.zeros((2, 0), np.int64), 3) == 0).all()


def test_large_meshes_are_quick():
    """6,400 nodes: well below a second on one core; the limit is for busy machines. Known graphs are looked up."""
    position = np.random.default_rng(0).random((6400, 2))
    edges = edges_of(Mesh(position, {"triangle": Delaunay(position).simplices}))
    start = time.perf_counter()
    first = node_curvature(edges, 6400)
    assert time.perf_counter() - start < 30
    assert node_curvature(edges.copy(), 6400) is first


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([[0, 1], [1, 5]], "edges: expected numbers from 0 to 2, got 0 to 5"),
        ([[0, 1], [0, 1]], "edges: expected none from a node to itself, got one at 0"),
        ([[0, 0, 1, 1], [1, 1, 0, 0]], r"edges: expected each once, got \(0, 1\) twice"),
        ([[0, 1], [1, 2]], "edges: expected each both ways"),
        ([[0.0, 1.0], [1.0, 0.0]], "edges: expected whole numbers"),
    ],
)
def test_wrong_edges_are_named(edges, message):
    with pytest.raises(InputError, match=message):
        edge_curvature(np.array(edges), 3)
