"""What operators on graphs share: their arguments, checks, messages along edges, and a network of them."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from sciml.contracts import GraphBatch, Operator, Signature
from sciml.errors import InputError, positive, suggest
from sciml.operators._points import ACTIVATIONS, activation_named, finite, only, perceptron, tensors

AGGREGATIONS = ("sum", "mean")


def summed(
    values: Float[Tensor, "edge channel"], target: Int64[Tensor, " edge"], count: int, mean: bool = False
) -> Float[Tensor, "{count} channel"]:
    """The sum over the edges that arrive at each of `count` nodes, or their mean: 0 where none arrive.

    By `index_add`: on meshes of 6 neighbours a node and 64 channels it takes, forwards and backwards, a seventh of the
    time of `torch.segment_reduce` on sorted edges; unlike differences of running sums it does not lose digits.
    """
    total = values.new_zeros(count, values.shape[1]).index_add(0, target, values)
    if not mean:
        return total
    arrivals = values.new_zeros(count).index_add(0, target, values.new_ones(values.shape[0]))
    return total / arrivals.clamp(min=1)[:, None]


class Messages(nn.Module):
    """One round of messages along edges, with residuals on edges and nodes.

        m_ij = f([h_j, h_i, e_ij]),   e_ij ← e_ij + m_ij,   h_i ← h_i + g([h_i, Σ_j m_ij])

    j sends to i; f and g are perceptrons with a LayerNorm after the last affine map. The first affine map of f is taken
    apart: what it makes of h_j and h_i is computed once a node and then looked up for each edge.

    Args:
        width: channels of nodes and edges.
        depth: affine maps of f and of g, at least 2.
        activation: between them.
        mean: whether messages are averaged in place of summed.
    """

    def __init__(self, width: int, depth: int, activation: str, mean: bool):
        super().__init__()
        self.width, self.mean = width, mean
        hidden = [width] * (depth - 1)
        self.join = nn.Linear(3 * width, width)
        self.message = nn.Sequential(
            ACTIVATIONS[activation](), *perceptron([*hidden, width], activation, last=False), nn.LayerNorm(width)
        )
        self.update = normed([2 * width, *hidden, width], activation)

    def forward(
        self,
        nodes: Float[Tensor, "node width"],
        links: Float[Tensor, "edge width"],
        edges: Int64[Tensor, "2 edge"],
        target: Int64[Tensor, " edge"],
    ) -> tuple[Float[Tensor, "node width"], Float[Tensor, "edge width"]]:
        """Nodes and edges after one round.

        Args:
            nodes: (node, width).
            links: (edge, width), what edges carry.
            edges: (2, edge), sender and receiver.
            target: (edge,), the node at which a message counts: the receiver, or one past the last node where none may.
        """
        sent, received, kept = self.join.weight.split(self.width, dim=1)
        joined = functional.linear(links, kept)
        joined.add_(functional.linear(nodes, sent).index_select(0, edges[0]))
        joined.add_(functional.linear(nodes, received, self.join.bias).index_select(0, edges[1]))
        messages = self.message(joined)
        arrived = summed(messages, target, nodes.shape[0] + 1, self.mean)[:-1]
        return nodes + self.update(torch.cat((nodes, arrived), dim=1)), links + messages


def normed(sizes: list[int], activation: str) -> nn.Sequential:
    """A perceptron with a LayerNorm after its last affine map."""
    return nn.Sequential(*perceptron(sizes, activation, last=False), nn.LayerNorm(sizes[-1]))


class GraphNetwork(Operator):
    """Encoder, rounds of messages, decoder; abstract, final are the operators that say along which edges.

    Args:
        in_channels: fields a node that come in.
        out_channels: fields a node that go out.
        dimensions: coordinates of a node.
        n_params: scalar parameters a sample.
        width: channels of nodes and edges inside.
        layers: rounds of messages: an answer depends on nodes that are as many edges away.
        depth: affine maps of every perceptron, at least 2.
        activation: "relu", "gelu" or "silu".
        aggregation: "sum" or "mean" of the messages that arrive.
        positions: whether `points` go into the nodes. They tell walls and corners of a fixed domain apart; without them
            nothing but offsets is seen, and an answer is the same wherever the sample lies.
        edge_channels: numbers that every edge brings along beside its offset.
    """

    takes: ClassVar = GraphBatch

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int,
        n_params: int,
        *,
        width: int,
        layers: int,
        depth: int,
        activation: str,
        aggregation: str,
        positions: bool,
        edge_channels: int = 0,
    ):
        super().__init__()
        self.in_channels = positive("in_channels", in_channels, 0)
        self.out_channels = positive("out_channels", out_channels)
        self.dimensions, self.n_params = positive("dimensions", dimensions), positive("n_params", n_params, 0)
        self.width, self.layers = positive("width", width), positive("layers", layers)
        self.depth, self.edge_channels = positive("depth", depth, 2), positive("edge_channels", edge_channels, 0)
        self.activation = activation_named(activation)
        if aggregation not in AGGREGATIONS:
            known = suggest(str(aggregation), AGGREGATIONS)
            raise InputError(f"aggregation: expected one of {AGGREGATIONS}, got {aggregation!r}{known}")
        self.aggregation, self.positions = aggregation, bool(positions)
        hidden = [self.width] * (self.depth - 1)
        given = self.in_channels + self.n_params + self.positions * self.dimensions + 1
        self.node_encoder = normed([given, *hidden, self.width], activation)
        self.edge_encoder = normed([self.dimensions + 1 + self.edge_channels, *hidden, self.width], activation)
        self.blocks = nn.ModuleList(
            Messages(self.width, self.depth, activation, aggregation == "mean") for _ in range(self.layers)
        )
        self.decoder = perceptron([self.width, *hidden, self.out_channels], activation, last=False)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are."""
        if signature.functions:
            names = ", ".join(f.name for f in signature.functions)
            raise InputError(f"{cls.name}: functions: expected none at points of their own, got {names}")
        decided = {name: getattr(signature, source) for name, source in cls.decided.items()}
        return cls(**decided, **options)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "dimensions": self.dimensions,
            "n_params": self.n_params,
            "width": self.width,
            "layers": self.layers,
            "depth": self.depth,
            "activation": self.activation,
            "aggregation": self.aggregation,
            "positions": self.positions,
        }

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, {self.dimensions}, n_params={self.n_params}"

    def spacing(self, edges: Tensor, offsets: Tensor, graph: Tensor, mask: Tensor | None) -> Float[Tensor, " node"]:
        """(node,) root mean square length of the edges of the sample that a node belongs to; 1 where it has none."""
        alive = self.alive(edges, mask)
        squares = only(offsets.to(self.dtype).square().sum(1), alive)
        counts = torch.ones_like(squares) if alive is None else alive.to(squares.dtype)
        sample = graph.index_select(0, edges[1])
        sums = squares.new_zeros(graph.shape[0], 2).index_add(0, sample, torch.stack((squares, counts), dim=1))
        mean = sums[:, 0] / sums[:, 1].clamp(min=1)
        return torch.where(mean > 0, mean, torch.ones_like(mean)).sqrt().index_select(0, graph)

    @staticmethod
    def alive(edges: Tensor, mask: Tensor | None) -> Tensor | None:
        """See `alive_edges`."""
        return alive_edges(edges, mask)

    def network(
        self, nodes: Tensor, points: Tensor, edges: Tensor, offsets: Tensor, graph: Tensor, params: Tensor | None,
        mask: Tensor | None, spacing: Tensor,
    ) -> Tensor:  # fmt: skip
        """The answer on a graph that is built; see `forward` of the operators for all but `spacing`, (node,)."""
        hidden, _ = self.encoded(nodes, points, edges, offsets, graph, params, mask, spacing)
        return only(self.decoder(hidden), None if mask is None else (mask > 0)[:, None])

    def encoded(
        self, nodes: Tensor, points: Tensor, edges: Tensor, offsets: Tensor, graph: Tensor, params: Tensor | None,
        mask: Tensor | None, spacing: Tensor, features: Tensor | None = None,
    ) -> tuple[Float[Tensor, "node width"], Float[Tensor, "edge width"]]:  # fmt: skip
        """What nodes and edges hold after all rounds of messages.

        Args:
            features: (edge, edge_channels), what edges bring along; None where that is nothing.
        """
        dtype = spacing.dtype
        inside = None if mask is None else (mask > 0)[:, None]
        alive = self.alive(edges, mask)
        parts = [only(nodes.to(dtype), inside), spacing.log()[:, None]]
        if params is not None:
            parts.append(params.to(dtype).index_select(0, graph))
        if self.positions:
            parts.append(only(points.to(dtype), inside))
        hidden = self.node_encoder(torch.cat(parts, dim=1))
        ways = only(offsets.to(dtype), None if alive is None else alive[:, None])
        ways = ways / spacing.index_select(0, edges[1])[:, None]
        told = [ways, torch.linalg.vector_norm(ways, dim=1, keepdim=True)]
        if features is not None:
            told.append(only(features.to(dtype), None if alive is None else alive[:, None]))
        links = self.edge_encoder(torch.cat(told, dim=1))
        target = edges[1] if alive is None else torch.where(alive, edges[1], graph.shape[0])
        for block in self.blocks:
            hidden, links = self.through(block, hidden, links, edges, target)
        return hidden, links

    def check(
        self,
        nodes: Tensor,
        points: Tensor,
        edges: Tensor,
        offsets: Tensor,
        graph: Tensor,
        params: Tensor | None,
        mask: Tensor | None,
    ) -> None:
        """See `check_graph`."""
        check_graph(self, nodes, points, edges, offsets, graph, params, mask)


def alive_edges(edges: Tensor, mask: Tensor | None) -> Tensor | None:
    """(edge,) whether both ends of an edge are nodes; None where all are."""
    if mask is None:
        return None
    inside = mask > 0
    return inside.index_select(0, edges[0]) & inside.index_select(0, edges[1])


def check_graph(
    operator: Any,
    nodes: Tensor,
    points: Tensor,
    edges: Tensor,
    offsets: Tensor,
    graph: Tensor,
    params: Tensor | None,
    mask: Tensor | None,
) -> None:
    """Refuse what does not fit, in one line that says which and why; numbers of nodes are looked at on CPUs only,
    where it costs nothing to."""
    title = type(operator).__name__
    tensors(
        title, nodes=nodes, points=points, edges=edges, offsets=offsets, graph=graph, params=params, mask=mask
    )  # fmt: skip

    def expect(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
        if tuple(value.shape) != shape:
            raise InputError(f"{title}: {name}: expected {shape}, got {tuple(value.shape)}")

    if nodes.ndim != 2 or nodes.shape[1] != operator.in_channels or not nodes.is_floating_point():
        expected = f"floating-point (node, {operator.in_channels})"
        raise InputError(f"{title}: nodes: expected {expected}, got {nodes.dtype} {tuple(nodes.shape)}")
    if edges.ndim != 2 or edges.shape[0] != 2 or edges.dtype != torch.int64:
        raise InputError(f"{title}: edges: expected int64 (2, edge), got {edges.dtype} {tuple(edges.shape)}")
    count = nodes.shape[0]
    if count == 0:
        raise InputError(f"{title}: nodes: expected at least one, got an empty graph")
    expect("points", points, (count, operator.dimensions))
    expect("offsets", offsets, (edges.shape[1], operator.dimensions))
    expect("graph", graph, (count,))
    if params is None and operator.n_params:
        raise InputError(f"{title}: params: expected (graph, {operator.n_params}), got None")
    if params is not None and (params.ndim != 2 or params.shape[1] != operator.n_params):
        raise InputError(f"{title}: params: expected (graph, {operator.n_params}), got {tuple(params.shape)}")
    if mask is not None:
        expect("mask", mask, (count,))
    if torch.compiler.is_compiling() or nodes.device.type != "cpu":
        return
    samples = count if params is None else len(params)
    for name, value, most in (("edges", edges, count), ("graph", graph, samples)):
        if value.numel() and not 0 <= int(value.min()) <= int(value.max()) < most:
            got = f"{int(value.min())} to {int(value.max())}"
            raise InputError(f"{title}: {name}: expected numbers from 0 to {most - 1}, got {got}")
    alive = alive_edges(edges, mask)
    wrong = ~torch.isfinite(only(offsets, None if alive is None else alive[:, None])).all(1)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        ends = edges[:, first].tolist()
        raise InputError(f"{title}: offsets: expected finite numbers, got {offsets[first].tolist()} at {ends}")
    finite(f"{title}: nodes", nodes, mask)
    finite(f"{title}: points", points, mask)
    finite(f"{title}: params", params)
    apart = graph.index_select(0, edges[0]) != graph.index_select(0, edges[1])
    if alive is not None:
        apart = apart & alive
    if bool(apart.any()):
        first, second = edges[:, int(apart.nonzero()[0])].tolist()
        samples_of = f"{int(graph[first])} and {int(graph[second])}"
        raise InputError(f"{title}: edges: {first} -> {second} joins samples {samples_of}, expected one sample")
