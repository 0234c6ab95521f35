"""Messages between few particles, a Fourier neural operator on a grid over the box, and messages again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.contracts import Operator, ParticleBatch, Signature
from sciml.errors import positive
from sciml.operators._graph import Messages, alive_edges, check_graph, normed
from sciml.operators._particles import (
    Stencil,
    cells_of,
    check_lengths,
    checked_cells,
    density,
    gathered,
    mean_of,
    scattered,
    stencil,
)
from sciml.operators._points import activation_named, only, perceptron
from sciml.operators.fno import FNO


class KernelTransform(nn.Module):
    """(K f)(x) = Σ_y w(x, y) κ(x − y, f(y)) with κ(s, f) = C gelu(A f + B s + b): a kernel of query and source.

    The weights are those of a stencil. What A makes of f is computed once a source, and C is applied once a query.
    """

    def __init__(self, channels_in: int, channels_out: int, width: int, dimensions: int):
        super().__init__()
        self.source = nn.Linear(channels_in, width)
        self.apart = nn.Linear(dimensions, width, bias=False)
        self.out = nn.Linear(width, channels_out)

    def onto_grid(self, values: Float[Tensor, "node channel"], around: Stencil, count: Tensor) -> Tensor:
        """From particles to cells, the mean over those within reach: (sample, channel, *cells)."""
        pairs = F.gelu(self.source(values)[:, None] + self.apart(around.offset))
        mean = mean_of(scattered(pairs, around, count.shape[0]), count)
        return self.out(mean.movedim(1, -1)).movedim(-1, 1)

    def onto_nodes(self, grid: Float[Tensor, "sample channel *cells"], around: Stencil) -> Tensor:
        """From cells to particles: (node, channel)."""
        source = self.source(grid.movedim(1, -1)).movedim(-1, 1)
        pairs = F.gelu(gathered(source, around) - self.apart(around.offset))  # the way from the cell to the particle
        return self.out((pairs * around.weight[..., None]).sum(1))


@registry.operators.register("giorom")
class GIOROM(Operator):
    """Graph-informed operator for reduced-order modelling: accelerations of few particles that stand for many.

        h_i = a([q_i, p]),   e_ij = b([s_ij, |s_ij|]),   (h, e) ← interaction (twice)
        u(x_c) = (K₁ h)(x_c) = Σ_i w_ci κ₁(x_c − y_i, h_i) / Σ_i w_ci        onto the cells of a grid over the box
        v = G([u, ρ], p)                                                      a Fourier neural operator there
        h_i ← h_i + (K₂ v)(y_i) = h_i + Σ_c w_ci κ₂(y_i − x_c, v_c)           back
        (h, e) ← interaction (twice),   y_i = c(h_i)

    Interactions are rounds of messages along edges, averaged where they arrive (`Messages`); w are the weights of
    quadratic B-splines, smooth in the positions, with the sum 1 at each particle; ρ_c = Σ_i w_ci. As in `GNS`, no
    position goes in. The grid tells far particles of each other, which few particles with few edges do not.

    Against the published code: kernels see where is asked as well as what is there; samples of a batch never mix; the
    skip is there in all dimensions; and the averages are smooth as particles go from cell to cell. Its convolution by
    graph Laplacians beside the messages is left out.

    Args:
        in_channels: numbers a particle that come in.
        out_channels: components of an acceleration.
        dimensions: coordinates of a particle.
        n_params: scalar parameters a sample.
        cells: of the grid along each axis x, y, z.
        periodic: along which axes the box is periodic.
        width: channels of particles and edges; 128 in the paper.
        interactions: rounds of messages before the grid, and as many after; 2 in the paper.
        depth: affine maps of every perceptron, at least 2; 3 in the paper.
        activation: of the perceptrons: "relu" (the paper's), "gelu" or "silu".
        latent_width: channels on the grid.
        latent_layers: Fourier layers.
        modes: highest wavenumber on each axis, at most what the cells carry.

    Raises:
        InputError: an argument out of range, tensors whose shapes do not fit, edges between particles of two samples.

    Source: H. Viswanath, Y. Chang, A. Coulibaly, J. Berner, A. Bera, A. Anandkumar, Reduced-order neural operators:
    learning Lagrangian dynamics on highly sparse graphs (2024), arXiv:2407.03925.
    """

    name, title = "giorom", "GIOROM"
    takes: ClassVar = ParticleBatch
    solver: ClassVar[str] = "particle_surrogate"
    nodes_share: ClassVar[float | None] = 0.25

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        *,
        cells: int | Sequence[int] | None = 16,
        periodic: Sequence[bool] = (),
        width: int = 64,
        interactions: int = 2,
        depth: int = 2,
        activation: str = "relu",
        latent_width: int = 32,
        latent_layers: int = 4,
        modes: int = 8,
    ):
        super().__init__()
        self.in_channels = positive("in_channels", in_channels)
        self.out_channels = positive("out_channels", out_channels)
        self.dimensions, self.n_params = positive("dimensions", dimensions), positive("n_params", n_params, 0)
        self.cells, self.periodic = checked_cells(cells, dimensions), tuple(bool(p) for p in periodic)
        self.width, self.depth = positive("width", width), positive("depth", depth, 2)
        self.interactions, self.activation = positive("interactions", interactions), activation_named(activation)
        self.latent_width = positive("latent_width", latent_width)
        self.latent_layers = positive("latent_layers", latent_layers)
        self.modes = positive("modes", modes)
        hidden = [width] * (depth - 1)
        self.node_encoder = normed([in_channels + n_params, *hidden, width], activation)
        self.edge_encoder = normed([dimensions + 1, *hidden, width], activation)
        self.before = nn.ModuleList(Messages(width, depth, activation, True) for _ in range(interactions))
        self.onto = KernelTransform(width, latent_width, latent_width, dimensions)
        around = [a < len(self.periodic) and self.periodic[a] for a in range(dimensions)]
        carried = [min(modes, (m + 2 * (not p)) // 2) for m, p in zip(self.cells, around, strict=True)]
        self.latent = FNO(
            latent_width + 1, latent_width, latent_width, carried, latent_layers, n_params,
            [0.0 if p else 0.25 for p in around], coordinates=False,
        )  # fmt: skip
        self.back = KernelTransform(latent_width, width, latent_width, dimensions)
        self.after = nn.ModuleList(Messages(width, depth, activation, True) for _ in range(interactions))
        self.decoder = perceptron([width, *hidden, out_channels], activation, last=False)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are; by default with cells of one radius."""
        decided = {name: getattr(signature, source) for name, source in cls.decided.items()}
        given: dict[str, Any] = {"periodic": signature.periodic} | options
        given["cells"] = cells_of(cls.name, given.get("cells"), signature)
        return cls(**decided, **given)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "dimensions": self.dimensions,
            "n_params": self.n_params,
            "cells": list(self.cells),
            "periodic": list(self.periodic),
            "width": self.width,
            "interactions": self.interactions,
            "depth": self.depth,
            "activation": self.activation,
            "latent_width": self.latent_width,
            "latent_layers": self.latent_layers,
            "modes": self.modes,
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
        lengths: Float[Tensor, "graph dimension"],
    ) -> Float[Tensor, "node channel_out"]:
        """Accelerations; arguments as in `ParticleBatch`.

        Returns:
            (node, out_channels), 0 where the mask is.
        """
        check_graph(self, nodes, points, edges, offsets, graph, params, mask)
        samples, dtype = check_lengths(type(self).__name__, lengths, graph, params, self.dimensions), self.dtype
        inside = None if mask is None else (mask > 0)[:, None]
        alive = alive_edges(edges, mask)
        given = [only(nodes.to(dtype), inside)]
        if params is not None:
            params = params.to(dtype)
            given.append(params.index_select(0, graph))
        h = self.node_encoder(torch.cat(given, 1))
        way = only(offsets.to(dtype), None if alive is None else alive[:, None])
        e = self.edge_encoder(torch.cat((way, torch.linalg.vector_norm(way, dim=1, keepdim=True)), 1))
        target = edges[1] if alive is None else torch.where(alive, edges[1], graph.shape[0])
        for block in self.before:
            h, e = self.through(block, h, e, edges, target)
        around = stencil(only(points.to(dtype), inside), graph, mask, self.cells, self.periodic)
        count = density(around, samples)
        u = self.onto.onto_grid(h, around, count)
        h = h + self.back.onto_nodes(self.latent(torch.cat((u, count), 1), params), around)
        for block in self.after:
            h, e = self.through(block, h, e, edges, target)
        return only(self.decoder(h), inside)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, {self.dimensions}, n_params={self.n_params}, {self.cells}"
