"""A regressor on graphs whose hidden state is the fixed point of a contraction."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.errors import InputError, is_number, positive, suggest
from sciml.implicit.torch import Anderson, fixed_point, linear_solve
from sciml.operators._graph import GraphNetwork, summed
from sciml.operators._points import finite, only, perceptron, tensors

WEIGHTS = ("share", "clip")
WRITTEN = 256  # nodes of a graph up to which its A is written out and factorised
OPEN = 3.0  # a share of σ(3) = 0.95 is passed on by weights as they are drawn


class Head(nn.Module):
    """A perceptron beside an affine map: what is linear in what comes in, as logits in the logarithm of a conductance,
    need not be learned through activations."""

    def __init__(self, sizes: list[int], activation: str):
        super().__init__()
        self.straight = nn.Linear(sizes[0], sizes[-1])
        self.bent = perceptron(sizes, activation, last=False)

    def forward(self, x: Float[Tensor, "row channel"]) -> Float[Tensor, "row channel_out"]:
        return self.straight(x) + self.bent(x)


@registry.operators.register("convergent_graph")
class ConvergentGraph(GraphNetwork):
    """Convergent graph solver: messages make an affine contraction for each head, whose fixed points are read out.

        h, e = rounds of messages;    l_ij = λ([e_ij, f_ij]),   s_i = σ(ς([h_i, q_i]))
        A_ij = s_i exp(l_ij) / Σ_k exp(l_ik) ≥ 0,   Σ_j A_ij = s_i < 1,   so that ‖A‖∞ < 1
        b_i = (1 − γ s_i) β([h_i, q_i]),   so that ‖z‖∞ ≤ ‖β‖∞: each z is a mean of its neighbours and of β
        z = γ A z + b   (for each of `heads`),    y_i = c(z_i)

    j sends to i; β, λ, ς and c are each a perceptron and an affine map side by side. It is a learned *regressor* with a
    fixed point inside, and solves no system that is given: A and b are made by the network, and nothing holds its
    answer to an equation. What it has over rounds of messages alone is that
    an answer may depend on all of a graph, with a memory that does not grow with the distance. An influence decays as
    γ^hops: γ = 1/2 is the published one, with which ten edges away next to nothing is left; towards γ = 1 the fixed
    point holds those of the walks that solve a graph's Laplace equation, and is then found by `exact`.

    The derivative is that of the fixed point, w = γ Aᵀ w + g backwards, whatever found it: nothing is kept of the
    iterations. Heads and graphs of a batch do not meet in A, whose entries are stored along edges alone.

    The published weights are clip(l, 0, 1) / (edges that arrive) with b = β, and have no derivative where l is outside
    [0, 1]: they are `weights="clip"`. There a row may sum to 1, so that γ has to be below 1.

    Args:
        in_channels: fields a node that come in.
        out_channels: fields a node that go out.
        dimensions: coordinates of a node.
        n_params: scalar parameters a sample.
        heads: fixed points a node; 16 to 64 in the paper.
        gamma: γ, above 0 and below 1; with `exact` and "share" up to 1.
        exact: whether (1 − γA) z = b is solved in place of iterating z ← γ A z + b: by LU of each graph and head; on
            graphs of more than 256 nodes by sparse LU, or by GMRES where a derivative is wanted.
        tolerance: of the iteration, relative to the largest z; the rounding of the type to the power 3/4 by default.
        weights: "share" or "clip".
        edge_channels: numbers that every edge brings along beside its offset, as a conductance.
        width: channels of nodes and edges inside; 32 in the paper.
        layers: rounds of messages; 1 to 4 in the paper.
        depth: affine maps of every perceptron, at least 2.
        activation: "relu", "gelu" or "silu".
        aggregation: "sum" or "mean" of the messages that arrive.
        positions: whether `points` go into the nodes.

    Raises:
        InputError: an argument out of range, tensors whose shapes do not fit, edges between nodes that there are not.

    Source: Park, Choo, Park, "Convergent graph solvers", ICLR (2022).
    """

    name, title = "convergent_graph", "Convergent graph solver"
    takes: ClassVar = GraphNetwork.takes

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        *,
        heads: int = 16,
        gamma: float = 0.5,
        exact: bool = False,
        tolerance: float | None = None,
        weights: str = "share",
        edge_channels: int = 0,
        width: int = 32,
        layers: int = 1,
        depth: int = 2,
        activation: str = "silu",
        aggregation: str = "mean",
        positions: bool = True,
    ):
        super().__init__(
            in_channels, out_channels, dimensions, n_params, width=width, layers=layers, depth=depth,
            activation=activation, aggregation=aggregation, positions=positions, edge_channels=edge_channels,
        )  # fmt: skip
        self.heads, self.exact = positive("heads", heads), bool(exact)
        if weights not in WEIGHTS:
            raise InputError(f"weights: expected one of {WEIGHTS}, got {weights!r}{suggest(str(weights), WEIGHTS)}")
        closed = self.exact and weights == "share"
        if not is_number(gamma) or not 0 < gamma <= 1 or (gamma == 1 and not closed):
            most = "up to 1" if closed else "below 1 (up to 1 with exact=True and weights='share')"
            raise InputError(f"gamma: expected a number above 0 and {most}, got {gamma!r}")
        if tolerance is not None and (not is_number(tolerance) or not 0 < tolerance < 1):
            raise InputError(f"tolerance: expected a number between 0 and 1, or None, got {tolerance!r}")
        self.gamma, self.weights = float(gamma), weights
        self.tolerance = None if tolerance is None else float(tolerance)
        hidden = [self.width] * (self.depth - 1)
        given = self.width + self.in_channels
        self.source = Head([given, *hidden, self.heads], activation)
        self.share = Head([given, *hidden, self.heads], activation)
        self.logits = Head([self.width + self.edge_channels, *hidden, self.heads], activation)
        constant = (self.share if weights == "share" else self.logits).straight.bias
        nn.init.constant_(constant, OPEN if weights == "share" else 0.5)
        self.decoder = Head([self.heads, *hidden, self.out_channels], activation)
        if weights == "clip":
            del self.share

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "heads": self.heads,
            "gamma": self.gamma,
            "exact": self.exact,
            "tolerance": self.tolerance,
            "weights": self.weights,
            "edge_channels": self.edge_channels,
        }

    def forward(
        self,
        nodes: Float[Tensor, "node channel"],
        points: Float[Tensor, "node dimension"],
        edges: Int64[Tensor, "2 edge"],
        offsets: Float[Tensor, "edge dimension"],
        graph: Int64[Tensor, " node"],
        params: Float[Tensor, "graph n_params"] | None = None,
        mask: Shaped[Tensor, " node"] | None = None,
        *,
        features: Float[Tensor, "edge edge_channel"] | None = None,
    ) -> Float[Tensor, "node channel_out"]:
        """Apply the operator.

        Args:
            nodes: (node, in_channels), the fields at the nodes of all samples.
            points: (node, dimensions), where they are.
            edges: (2, edge), the numbers of sender and receiver.
            offsets: (edge, dimensions), from sender to receiver.
            graph: (node,), the number of the sample that a node belongs to.
            params: (graph, n_params), or None where n_params = 0.
            mask: (node,), 1 where a node is one. The others and their edges never matter, and the answer is 0 there.
            features: (edge, edge_channels), what edges bring along; None where edge_channels = 0.

        Returns:
            (node, out_channels).
        """
        passed, source = self.contraction(nodes, points, edges, offsets, graph, params, mask, features=features)
        z = self.settled(passed, source, edges, graph)
        return only(self.decoder(z), None if mask is None else (mask > 0)[:, None])

    def contraction(
        self, nodes: Tensor, points: Tensor, edges: Tensor, offsets: Tensor, graph: Tensor,
        params: Tensor | None = None, mask: Tensor | None = None, *, features: Tensor | None = None,
    ) -> tuple[Float[Tensor, "edge head"], Float[Tensor, "node head"]]:  # fmt: skip
        """(A, b) of every head: (edge, heads), the entry in the row of an edge's receiver and the column of its sender,
        0 along edges of nodes that are masked out; and (node, heads). Arguments are those of `forward`."""
        self.check(nodes, points, edges, offsets, graph, params, mask)
        self._features(features, edges, mask)
        spacing = self.spacing(edges, offsets, graph, mask)
        hidden, links = self.encoded(nodes, points, edges, offsets, graph, params, mask, spacing, features)
        inside, alive = None if mask is None else (mask > 0)[:, None], self.alive(edges, mask)
        known = torch.cat((hidden, only(nodes.to(hidden.dtype), inside)), dim=1)
        living = None if alive is None else alive[:, None]
        if features is not None:
            links = torch.cat((links, only(features.to(links.dtype), living)), dim=1)
        logits, source, count = self.logits(links), self.source(known), nodes.shape[0]
        target = edges[1] if alive is None else torch.where(alive, edges[1], count)
        if self.weights == "clip":
            arrivals = summed(torch.ones_like(logits[:, :1]), target, count + 1).clamp(min=1)
            passed = logits.clamp(0, 1) / arrivals.index_select(0, target)
        else:
            share = self.share(known).sigmoid()
            passed = _shares(logits, target, count + 1) * share.index_select(0, edges[1])
            source = source * (1 - self.gamma * share)
        return only(passed, living), only(source, inside)

    def settled(
        self,
        passed: Float[Tensor, "edge head"],
        source: Float[Tensor, "node head"],
        edges: Int64[Tensor, "2 edge"],
        graph: Int64[Tensor, " node"],
    ) -> Float[Tensor, "node head"]:
        """z = γ A z + b of every head, with the derivative of the fixed point.

        Args:
            passed: (edge, heads), the entries of A.
            source: (node, heads), b.
            edges: (2, edge), the numbers of sender and receiver.
            graph: (node,), the number of the sample that a node belongs to.

        Raises:
            ConvergenceError: not found, which for weights of `contraction` and γ < 1 rounding alone could bring about.
        """
        gamma, right = self.gamma, source.T.contiguous()

        def moved(z: Tensor, weights: Tensor) -> Tensor:  # rows are heads, each a system of its own
            together = z.T.contiguous()  # what is read at once lies together
            return gamma * summed(together.index_select(0, edges[0]) * weights, edges[1], z.shape[1]).T

        if self.exact:
            if int(graph.bincount().max()) <= WRITTEN:
                return _factorised(gamma * passed, source, edges, graph)
            if not (torch.is_grad_enabled() and (passed.requires_grad or source.requires_grad)):
                return _sparsely(gamma * passed, source, edges)
            return linear_solve(lambda z, weights: z - moved(z, weights), right, passed, batched=True).T
        rounding = torch.finfo(right.dtype).eps
        wanted = rounding**0.75 if self.tolerance is None else self.tolerance
        last = max(wanted * (1 - gamma), 8 * rounding)  # change of z: what is left of the error is 1 / (1 − γ) of it
        most = 20 + math.ceil(math.log(last / 10) / math.log(gamma))
        iteration = Anderson(rtol=last, atol=last, max_steps=most, memory=0)
        return fixed_point(
            lambda z, weights, b: moved(z, weights) + b, right.detach(), passed, right, solver=iteration, batched=True
        ).T

    def _features(self, features: Tensor | None, edges: Tensor, mask: Tensor | None) -> None:
        title = type(self).__name__
        tensors(title, features=features)
        shape = (edges.shape[1], self.edge_channels)
        if (features is None and self.edge_channels) or (features is not None and tuple(features.shape) != shape):
            got = None if features is None else tuple(features.shape)
            raise InputError(f"{title}: features: expected {shape}, got {got}")
        if features is not None:
            alive = self.alive(edges, mask)
            finite(f"{title}: features", features, alive)


def _shares(logits: Tensor, target: Tensor, count: int) -> Tensor:
    """(edge, head) softmax over the edges that arrive at one node."""
    index = target[:, None].expand_as(logits)
    with torch.no_grad():  # a constant of each node, which makes no difference but to rounding
        most = logits.new_full((count, logits.shape[1]), -torch.inf).scatter_reduce(0, index, logits, "amax")
    grown = (logits - most.index_select(0, target)).exp()
    return grown / summed(grown, target, count).index_select(0, target)


def _factorised(passed: Tensor, source: Tensor, edges: Tensor, graph: Tensor) -> Tensor:
    """(node, head) z = P z + b, by LU of each head and graph, with torch's derivative of it: rows of P sum to less than
    1, so that 1 − P cannot be singular."""
    heads = source.shape[1]
    counts = graph.bincount()
    place = torch.empty_like(graph)
    place[torch.argsort(graph, stable=True)] = torch.arange(len(graph), device=graph.device)
    place = place - (counts.cumsum(0) - counts).index_select(0, graph)  # of a node within its graph
    g, n = len(counts), int(counts.max())
    at = (graph.index_select(0, edges[1]) * n + place.index_select(0, edges[1])) * n + place.index_select(0, edges[0])
    flat = passed.new_zeros(heads, g * n * n).scatter_add(1, at.expand(heads, -1), -passed.T)
    matrix = flat.view(heads, g, n, n) + torch.eye(n, dtype=flat.dtype, device=flat.device)
    node = graph * n + place
    right = source.new_zeros(g * n, heads).index_copy(0, node, source).T.reshape(heads, g, n, 1)
    return torch.linalg.solve(matrix, right).reshape(heads, g * n).T.index_select(0, node)


def _sparsely(passed: Tensor, source: Tensor, edges: Tensor) -> Tensor:
    """The same of large graphs, by sparse LU on the host, without a derivative."""
    n, found = len(source), []
    sender, receiver = edges.cpu().numpy()
    for p, b in zip(passed.T.double().cpu().numpy(), source.T.double().cpu().numpy(), strict=True):
        matrix = scipy.sparse.eye_array(n) - scipy.sparse.coo_array((p, (receiver, sender)), (n, n))
        found.append(scipy.sparse.linalg.splu(matrix.tocsc()).solve(b))
    return torch.from_numpy(np.stack(found, 1)).to(source)
