"""Ollivier–Ricci curvature of a graph: where it has bottlenecks."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sciml.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Integer

_CELLS = 1 << 19  # entries of the cost matrices that are worked on at once
_KEPT = 64  # graphs whose curvature is remembered
_FAR = np.int32(1 << 20)
_known: OrderedDict[bytes, np.ndarray] = OrderedDict()


def node_curvature(edges: Integer[np.ndarray, "2 edge"], count: int) -> Float[np.ndarray, " node"]:
    """The mean curvature of the edges at every node; 0 where there are none. Known graphs are looked up.

    Args:
        edges: (2, E) node numbers, each edge both ways.
        count: number of nodes.
    """
    edges = np.ascontiguousarray(edges, dtype=np.int64)
    key = hashlib.sha256(edges.tobytes() + str(count).encode()).digest()
    if key not in _known:
        found = edge_curvature(edges, count)
        degree = np.bincount(edges[0], minlength=count)
        total = np.bincount(edges[0], weights=found, minlength=count)
        _known[key] = np.round(total / np.maximum(degree, 1), 12)  # the same however nodes are numbered
        _known[key].flags.writeable = False
        if len(_known) > _KEPT:
            _known.popitem(last=False)
    _known.move_to_end(key)
    return _known[key]


def edge_curvature(edges: Integer[np.ndarray, "2 edge"], count: int) -> Float[np.ndarray, " edge"]:
    """Ollivier–Ricci curvature of every edge of a graph, with idleness 1/2 and all edges of length 1.

        κ(x, y) = 1 − W₁(μ_x, μ_y),   μ_x = ½ δ_x + ½ (uniform on the neighbours of x)

    W₁ is the exact cost of the best transport, with distances along the graph: masses are counted in units of
    1/(2 d_x d_y), d being numbers of neighbours, and distances between the neighbourhoods of x and y are 0 to 3, so all
    is computed in whole numbers, by shortest augmenting paths for many edges at once. Mass that both have at one node
    stays there, as it may for any metric. Positive within cliques, 0 on long cycles, negative on bridges.

    Args:
        edges: (2, E) node numbers, each edge both ways.
        count: number of nodes.

    Returns:
        (E,), the same for both ways of an edge.

    Raises:
        InputError: an edge out of range, from a node to itself, twice, or in one direction only.

    Source: Ollivier, "Ricci curvature of Markov chains on metric spaces", J. Functional Analysis 256, 810 (2009);
    Lin, Lu, Yau, "Ricci curvature of graphs", Tohoku Math. J. 63, 605 (2011), for the idleness.
    """
    graph = _graph(edges, count)
    lower = np.flatnonzero(graph.rows < graph.columns)
    x, y = graph.rows[lower], graph.columns[lower]
    size = np.maximum(graph.degree[x], graph.degree[y]) + 1
    order = np.argsort(size, kind="stable")
    cost = np.zeros(len(lower))
    start = 0
    while start < len(order):
        most = max(1, _CELLS // int(size[order[start]]) ** 2)
        most = max(1, min(most, _CELLS // int(size[order[min(start + most, len(order)) - 1]]) ** 2))
        some = order[start : start + most]
        cost[some] = _transport(graph, x[some], y[some])
        start += most
    found = np.zeros(len(graph.rows))
    found[lower] = 1.0 - cost
    found[np.searchsorted(graph.keys, y * graph.count + x)] = 1.0 - cost
    return found[np.searchsorted(graph.keys, graph.asked)]


@dataclass(frozen=True, eq=False)
class _Graph:
    """Edges in the order of their keys, sender · count + receiver; those of node x begin at first[x]."""

    count: int
    rows: np.ndarray
    columns: np.ndarray
    keys: np.ndarray
    degree: np.ndarray
    first: np.ndarray
    asked: np.ndarray  # keys in the order that came in

    def around(self, nodes: np.ndarray) -> np.ndarray:
        """(node, 1 + most neighbours) the node itself and its neighbours, filled up with −1."""
        degree = self.degree[nodes]
        place = np.arange(int(degree.max(initial=0)))
        at = np.minimum(self.first[nodes, None] + place, len(self.columns) - 1)
        found = np.where(place < degree[:, None], self.columns[at], -1)
        return np.concatenate([nodes[:, None], found], axis=1)

    def joined(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Whether there is an edge between two nodes, for arrays of them."""
        return _among(self.keys, a * self.count + b)


def _among(keys: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return keys[np.minimum(np.searchsorted(keys, asked), len(keys) - 1)] == asked


def _graph(edges: np.ndarray, count: int) -> _Graph:
    edges = np.asarray(edges)
    if edges.ndim != 2 or len(edges) != 2 or edges.dtype.kind not in "iu":
        raise InputError(f"edges: expected whole numbers (2, edge), got {edges.dtype} {edges.shape}")
    edges = edges.astype(np.int64)
    if edges.size and not 0 <= edges.min() <= edges.max() < count:
        raise InputError(f"edges: expected numbers from 0 to {count - 1}, got {edges.min()} to {edges.max()}")
    if (edges[0] == edges[1]).any():
        raise InputError(f"edges: expected none from a node to itself, got one at {edges[0][edges[0] == edges[1]][0]}")
    asked = edges[0] * count + edges[1]
    keys = np.sort(asked)
    twice = keys[1:] == keys[:-1]
    if twice.any():
        raise InputError(f"edges: expected each once, got {divmod(int(keys[1:][twice][0]), count)} twice")
    if not np.array_equal(np.sort(edges[1] * count + edges[0]), keys):
        raise InputError("edges: expected each both ways, got some in one direction only")
    rows, columns = np.divmod(keys, max(count, 1))
    degree = np.bincount(rows, minlength=count)
    return _Graph(count, rows, columns, keys, degree, np.concatenate([[0], np.cumsum(degree)]), asked)


def _transport(graph: _Graph, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """W₁(μ_x, μ_y) for the edges x–y."""
    dx, dy = graph.degree[x], graph.degree[y]
    excess, from_ = _excess(graph, x, y)
    deficit, to = _excess(graph, y, x)
    total = _cheapest(excess, deficit, _distances(graph, from_, to, x, y))
    return total / (2.0 * dx * dy)


def _excess(graph: _Graph, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What μ_x has more than μ_y at the nodes around x, in units of 1/(2 d_x d_y), and these nodes; the most first
    columns that any needs."""
    nodes = graph.around(x)
    dx, dy = graph.degree[x][:, None], graph.degree[y][:, None]
    own = np.where(nodes == x[:, None], dx * dy, dy)
    other = np.where(nodes == y[:, None], dx * dy, np.where(graph.joined(nodes, y[:, None]), dx, 0))
    excess = np.where(nodes < 0, 0, np.maximum(own - other, 0))
    order = np.argsort(excess == 0, axis=1, kind="stable")[:, : max(1, int((excess > 0).sum(1).max(initial=0)))]
    return np.take_along_axis(excess, order, 1), np.take_along_axis(nodes, order, 1)


def _distances(graph: _Graph, u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(pair, n, m) steps between nodes around x and nodes around y, that are different ones: 1, 2 or 3."""
    a, b = u[:, :, None], v[:, None, :]
    found = np.full(np.broadcast_shapes(a.shape, b.shape), 3, np.int32)
    x, y = x[:, None, None], y[:, None, None]
    found[(a == x) | (b == y) | graph.joined(a, y) | graph.joined(x, b)] = 2
    rest = np.nonzero((found == 3) & (a >= 0) & (b >= 0))
    p, q = (np.broadcast_to(k, found.shape)[rest] for k in (a, b))
    p, q = np.where(graph.degree[p] < graph.degree[q], p, q), np.where(graph.degree[p] < graph.degree[q], q, p)
    pairs, back = np.unique(p * graph.count + q, return_inverse=True)
    p, q = np.divmod(pairs, graph.count)
    near = np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), 4096):
        some = slice(start, start + 4096)
        between = graph.around(p[some])[:, 1:]
        near[some] = (graph.joined(between, q[some, None]) & (between >= 0)).any(1)
    found[rest] = np.where(near[back], 2, 3)
    found[graph.joined(a, b) & (a >= 0) & (b >= 0)] = 1
    return found


def _cheapest(supply: np.ndarray, demand: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(problem,) least Σ cost · flow with row sums `supply` (problem, n) and column sums `demand` (problem, m).

    Each round sends as much as fits along a shortest path of the residual graph, in every problem that has some left.
    """
    supply, demand = supply.copy(), demand.copy()
    flow = np.zeros(cost.shape, np.int64)
    total = np.zeros(len(cost), np.int64)
    left = np.flatnonzero(supply.any(1))
    while len(left):
        s, d, f = supply[left], demand[left], flow[left]
        reach, before_rows, before_columns = _shortest(s, f, cost[left])
        every = np.arange(len(left))
        end = np.where(d > 0, reach, _FAR).argmin(1)
        path = _back(end, before_rows, before_columns)
        amount = d[every, end]
        for k, row, _, back in path:
            room = np.where(back < 0, s[k, row], f[k, row, back])
            amount[k] = np.minimum(amount[k], room)
        for k, row, column, back in path:
            f[k, row, column] += amount[k]
            first = back < 0
            f[k[~first], row[~first], back[~first]] -= amount[k[~first]]
            s[k[first], row[first]] -= amount[k[first]]
        d[every, end] -= amount
        total[left] += amount * reach[every, end]
        supply[left], demand[left], flow[left] = s, d, f
        left = left[s.any(1)]
    return total


def _back(
    end: np.ndarray, before_rows: np.ndarray, before_columns: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """The paths that end at these columns, step by step from there: (problem, row, column that the step goes to, column
    that the row was reached from, −1 where the path begins)."""
    path = []
    k, column = np.arange(len(end)), end
    while len(k):
        row = before_columns[k, column]
        back = before_rows[k, row]
        path.append((k, row, column, back))
        k, column = k[back >= 0], back[back >= 0]
    return path


def _shortest(supply: np.ndarray, flow: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths of the shortest residual paths from any row with supply to every column, and the columns before the rows
    and the rows before the columns on these paths: −1 before a row where one begins."""
    rows = np.where(supply > 0, 0, _FAR).astype(np.int32)
    columns = np.full((len(cost), cost.shape[2]), _FAR, np.int32)
    before_rows = np.full(rows.shape, -1)
    before_columns = np.full(columns.shape, -1)
    backwards = np.where(flow > 0, -cost, _FAR)
    changed = True
    while changed:
        way = rows[:, :, None] + cost
        best = way.min(1)
        shorter = best < columns
        before_columns = np.where(shorter, way.argmin(1), before_columns)
        columns = np.where(shorter, best, columns)
        way = columns[:, None, :] + backwards
        best = way.min(2)
        shorter = best < rows
        before_rows = np.where(shorter, way.argmin(2), before_rows)
        rows = np.where(shorter, best, rows)
        changed = bool(shorter.any())
    return columns, before_rows, before_columns
