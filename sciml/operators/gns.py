"""Messages between particles within a radius."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from sciml import registry
from sciml.contracts import ParticleBatch
from sciml.operators._graph import GraphNetwork


@registry.operators.register("gns")
class GNS(GraphNetwork):
    """Graph network simulator: rounds of messages between particles within a radius, then accelerations.

        h_i = a([q_i, p]),   e_ij = b([s_ij, |s_ij|])
        m_ij = f([h_j, h_i, e_ij]),   e_ij ← e_ij + m_ij,   h_i ← h_i + g([h_i, Σ_j m_ij])      (`layers` times)
        y_i = c(h_i)

    q_i are past velocities, distances to walls and bodies, p the parameters of the sample and s_ij the offset from j to
    i over the radius. All of a, b, c, f, g are perceptrons, all but c with a LayerNorm at their end. No position goes
    in: accelerations are the same wherever particles lie, as long as walls and bodies are as far away.

    Args:
        in_channels: numbers a particle that come in.
        out_channels: components of an acceleration.
        dimensions: coordinates of a particle.
        n_params: scalar parameters a sample.
        width: channels inside; 128 in the paper.
        layers: rounds of messages; 10 in the paper.
        depth: affine maps of every perceptron, at least 2; 3 in the paper.
        activation: "relu" (the paper's), "gelu" or "silu".
        aggregation: "sum" (the paper's) or "mean" of the messages that arrive.

    Raises:
        InputError: an argument out of range, tensors whose shapes do not fit, edges between particles of two samples.

    Source: A. Sanchez-Gonzalez, J. Godwin, T. Pfaff, R. Ying, J. Leskovec, P. Battaglia, Learning to simulate complex
    physics with graph networks, ICML (2020), section 4 and appendix B.
    """

    name, title = "gns", "GNS"
    takes: ClassVar = ParticleBatch
    solver: ClassVar[str] = "particle_surrogate"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        *,
        width: int = 64,
        layers: int = 5,
        depth: int = 2,
        activation: str = "relu",
        aggregation: str = "sum",
    ):
        super().__init__(
            in_channels, out_channels, dimensions, n_params, width=width, layers=layers, depth=depth,
            activation=activation, aggregation=aggregation, positions=False,
        )  # fmt: skip

    def config(self) -> dict:
        return {name: value for name, value in super().config().items() if name != "positions"}

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
        lengths: Float[Tensor, "graph dimension"],
    ) -> Float[Tensor, "node channel_out"]:
        """Accelerations; arguments as in `ParticleBatch`.

        Returns:
            (node, out_channels), 0 where the mask is.
        """
        self.check(nodes, points, edges, offsets, graph, params, mask)
        unit = nodes.new_ones(nodes.shape[0], dtype=self.dtype)  # offsets are in units of the radius already
        return self.network(nodes, points, edges, offsets, graph, params, mask, unit)
