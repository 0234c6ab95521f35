"""Messages along the edges of a mesh, and along edges from its bottlenecks to where the state differs most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from sciml import registry
from sciml.contracts import CurvedGraphBatch
from sciml.errors import InputError, is_number, is_whole, positive, suggest
from sciml.operators._graph import GraphNetwork
from sciml.operators._rewiring import added, random_pairs

REWIRINGS = ("curvature", "random", "two_hubs", "none")


@registry.operators.register("piorf")
class PIORF(GraphNetwork):
    """Physics-informed Ollivier–Ricci flow: MeshGraphNet with further edges, from bottlenecks of the mesh to where the
    state differs most.

        κ_i = mean of κ(i, j) over the neighbours j of i,   S = the lowest `share` of the nodes by κ
        j(i) = argmax_j |q_i − q_j|²   over the nodes j that are not neighbours of i,   i in S

    Each i in S and its j(i) are joined, both ways, by an edge like those of the mesh: with its offset and length, in
    units of the mesh's mean spacing. κ is the Ollivier–Ricci curvature of the mesh; q are the fields at the nodes as
    they come in, normalised, so that the edges follow the state from one application to the next. Of nodes that differ
    equally, as at walls, the one farthest away is taken; where none differs, no edge is added. Of equal curvatures that
    with the lower coordinates comes first: a uniform grid has no bottlenecks, and the choice says nothing there.

    The published code compares a scalar, which an untrained linear map makes of the velocity; what is farthest from any
    number is the largest or the least, so that all its edges end at two nodes at most. That is `two_hubs` here, where
    neighbours of the one hub that is farther take the next node.

    Args:
        in_channels: fields a node that come in.
        out_channels: fields a node that go out.
        dimensions: coordinates of a node.
        n_params: scalar parameters a sample.
        periodic: for each coordinate, whether offsets of new edges take the short way round.
        rewiring: "curvature"; or a control: "random", as many edges between any nodes that are no neighbours, the same
            ones each time; "two_hubs", with a fixed random projection of q in place of q; "none", MeshGraphNet.
        share: of the nodes of a sample that count as bottlenecks, rounded up to whole nodes; 0.03 in the paper.
        compared: numbers of the channels that make up q, such as those of the velocity; None for all.
        seed: of the controls.
        width: channels of nodes and edges inside.
        layers: rounds of messages.
        depth: affine maps of every perceptron, at least 2.
        activation: "relu", "gelu" or "silu".
        aggregation: "sum" or "mean" of the messages that arrive.
        positions: whether `points` go into the nodes.

    Raises:
        InputError: an argument out of range, tensors whose shapes do not fit, edges between nodes that there are not.

    Source: Yu, Choi, Lee, Hong, Park, "PIORF: Physics-informed Ollivier–Ricci flow for long-range interactions in mesh
    graph neural networks", ICLR (2025), section 3.
    """

    name, title = "piorf", "PIORF"
    takes: ClassVar = CurvedGraphBatch
    decided: ClassVar = {**GraphNetwork.decided, "periodic": "periodic"}
    projection: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        periodic: Sequence[bool] = (),
        *,
        rewiring: str = "curvature",
        share: float = 0.03,
        compared: Sequence[int] | None = None,
        seed: int = 0,
        width: int = 64,
        layers: int = 8,
        depth: int = 2,
        activation: str = "relu",
        aggregation: str = "sum",
        positions: bool = True,
    ):
        super().__init__(
            in_channels, out_channels, dimensions, n_params, width=width, layers=layers, depth=depth,
            activation=activation, aggregation=aggregation, positions=positions,
        )  # fmt: skip
        if rewiring not in REWIRINGS:
            known = suggest(str(rewiring), REWIRINGS)
            raise InputError(f"rewiring: expected one of {REWIRINGS}, got {rewiring!r}{known}")
        if not is_number(share) or not 0 < share <= 1:
            raise InputError(f"share: expected a number above 0 and up to 1, got {share!r}")
        if rewiring != "none" and not self.in_channels:
            raise InputError(
                "rewiring: piorf needs fields at the nodes, as problems in time have; for steady data use meshgraphnet"
            )
        self.compared = None if compared is None else tuple(compared)
        for k in self.compared or ():
            if not is_whole(k) or not 0 <= k < self.in_channels:
                raise InputError(f"compared: expected numbers from 0 to {self.in_channels - 1}, got {k!r}")
        if self.compared == ():
            raise InputError("compared: expected at least one channel, got none")
        self.periodic = tuple(bool(p) for p in periodic)
        if self.periodic and len(self.periodic) != self.dimensions:
            raise InputError(f"periodic: expected {self.dimensions} values, one a coordinate, got {self.periodic}")
        self.rewiring, self.share, self.seed = rewiring, float(share), positive("seed", seed, 0)
        count = self.in_channels if self.compared is None else len(self.compared)
        drawn = torch.randn(count, 1, generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)
        self.register_buffer("projection", drawn, persistent=False)  # of "two_hubs"; no weight

    def config(self) -> dict[str, Any]:
        return super().config() | {
            "periodic": list(self.periodic),
            "rewiring": self.rewiring,
            "share": self.share,
            "compared": None if self.compared is None else list(self.compared),
            "seed": self.seed,
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
        curvature: Float[Tensor, " node"] | None = None,
        lengths: Float[Tensor, "#graph dimension"] | None = None,
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
            curvature: (node,), the lower, the sooner a node counts as a bottleneck; None with rewiring="none" alone.
            lengths: (graph or 1, dimensions), which make offsets of differences of points; None for 1.

        Returns:
            (node, out_channels).
        """
        self.check(nodes, points, edges, offsets, graph, params, mask)
        spacing = self.spacing(edges, offsets, graph, mask)
        if self.rewiring != "none":
            pairs = self.pairs(nodes, points, edges, graph, mask, curvature)
            new = torch.cat((pairs, pairs.flip(0)), dim=1)
            ways = self.offsets(points, new, graph, lengths)
            edges, offsets = torch.cat((edges, new), dim=1), torch.cat((offsets, ways.to(offsets.dtype)))
        return self.network(nodes, points, edges, offsets, graph, params, mask, spacing)

    @torch.no_grad()
    def pairs(
        self, nodes: Tensor, points: Tensor, edges: Tensor, graph: Tensor, mask: Tensor | None, curvature: Tensor | None
    ) -> Int64[Tensor, "2 pair"]:
        """(2, pair) numbers of the nodes that are joined beside the mesh, each pair once."""
        if curvature is None or tuple(curvature.shape) != tuple(graph.shape):
            got = None if curvature is None else tuple(curvature.shape)
            raise InputError(f"PIORF: curvature: expected {tuple(graph.shape)}, got {got}")
        state = nodes if self.compared is None else nodes[:, list(self.compared)]
        if self.rewiring == "two_hubs":
            state = state.double() @ self.projection.double()
        inside = torch.ones_like(graph, dtype=torch.bool) if mask is None else mask > 0
        found = []
        for sample in range(int(graph.max()) + 1):
            own = torch.nonzero((graph == sample) & inside)[:, 0]
            pairs = added(state, points, edges, own, curvature, self.share)
            if self.rewiring == "random":
                pairs = random_pairs(own, edges, pairs.shape[1], self.seed)
            found.append(pairs)
        return torch.cat(found, dim=1)

    def offsets(self, points: Tensor, edges: Tensor, graph: Tensor, lengths: Tensor | None) -> Tensor:
        """(edge, dimension) from sender to receiver, the short way across a seam."""
        share = points[edges[1]] - points[edges[0]]
        for k, around in enumerate(self.periodic):
            if around:
                share[:, k] -= torch.round(share[:, k])
        if lengths is None:
            return share
        if lengths.ndim != 2 or lengths.shape[1] != self.dimensions:
            expected = f"(graph or 1, {self.dimensions})"
            raise InputError(f"PIORF: lengths: expected {expected}, got {tuple(lengths.shape)}")
        return share * (lengths if len(lengths) == 1 else lengths[graph[edges[0]]])
