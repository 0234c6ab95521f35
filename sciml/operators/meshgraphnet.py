"""Messages along the edges of a mesh."""

from __future__ import annotations

from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from sciml import registry
from sciml.operators._graph import GraphNetwork


@registry.operators.register("meshgraphnet")
class MeshGraphNet(GraphNetwork):
    """MeshGraphNet: rounds of messages along the edges of a mesh, between an encoder and a decoder for each node.

        h_i = a([q_i, p, log ℓ, x_i]),   e_ij = b([s_ij, |s_ij|] / ℓ)
        m_ij = f([h_j, h_i, e_ij]),   e_ij ← e_ij + m_ij,   h_i ← h_i + g([h_i, Σ_j m_ij])      (`layers` times)
        y_i = c(h_i)

    q_i are the fields at node i, p the parameters of the sample, x_i its position, s_ij the offset from j to i and ℓ
    the root mean square length of the edges of the sample. All of a, b, c, f, g are perceptrons, all but c with a
    LayerNorm at their end; f and g are others in every round. The published code scales offsets by statistics of the
    training set; ℓ does the same for each mesh, and the nodes are told its logarithm. It has no positions, but marks of
    kinds of nodes; where the data bring such marks, as a static input, `positions=False` leaves positions out.

    An answer does not depend on how nodes and edges are numbered, nor on the sample's batch mates. Edges may stand in
    any order.

    Args:
        in_channels: fields a node that come in.
        out_channels: fields a node that go out.
        dimensions: coordinates of a node.
        n_params: scalar parameters a sample.
        width: channels of nodes and edges inside; 128 in the paper.
        layers: rounds of messages: an answer depends on nodes that are as many edges away; 15 in the paper.
        depth: affine maps of every perceptron, at least 2; 3 in the paper.
        activation: "relu" (the paper's), "gelu" or "silu".
        aggregation: "sum" (the paper's) or "mean" of the messages that arrive.
        positions: whether `points`, shares of the domain's extents, go into the nodes. They tell walls and corners of a
            domain apart. Without them nothing but offsets is seen, and adding a constant to all points changes nothing.

    Raises:
        InputError: an argument out of range, tensors whose shapes do not fit, edges between nodes that there are not.

    Source: Pfaff, Fortunato, Sanchez-Gonzalez, Battaglia, "Learning mesh-based simulation with graph networks",
    ICLR (2021), section 3.2 and appendix A.1.
    """

    name, title = "meshgraphnet", "MeshGraphNet"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        *,
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

    def forward(
        self,
        nodes: Float[Tensor, "node channel"],
        points: Float[Tensor, "node dimension"],
        edges: Int64[Tensor, "2 edge"],
        offsets: Float[Tensor, "edge dimension"],
        graph: Int64[Tensor, " node"],
        params: Float[Tensor, "graph n_params"] | None = None,
        mask: Shaped[Tensor, " node"] | None = None,
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

        Returns:
            (node, out_channels).
        """
        self.check(nodes, points, edges, offsets, graph, params, mask)
        spacing = self.spacing(edges, offsets, graph, mask)
        return self.network(nodes, points, edges, offsets, graph, params, mask, spacing)
