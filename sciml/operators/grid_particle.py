"""Particles to a grid, a U-Net there, and back to the particles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from sciml import registry
from sciml.contracts import Operator, ParticleBatch, Signature
from sciml.errors import positive
from sciml.operators._graph import check_graph
from sciml.operators._particles import (
    cells_of,
    check_lengths,
    checked_cells,
    density,
    gathered,
    mean_of,
    scattered,
    stencil,
)
from sciml.operators._points import only, perceptron
from sciml.operators.unet import UNet


@registry.operators.register("grid_particle")
class GridParticle(Operator):
    """Grid particle model: what particles know is averaged onto a grid over the box, a U-Net works there, and its
    answer is interpolated at the particles.

        h_i = a([q_i, p]),   ρ_c = Σ_i w_ci,   ū_c = Σ_i w_ci h_i / ρ_c,   v = U([ū, ρ], p)
        y_i = b([h_i, Σ_c w_ci v_c])

    with the weights w of quadratic B-splines (`sciml.operators._particles`), a and b perceptrons and U the package's
    U-Net. No edges are needed, and the cost of the grid does not depend on the number of particles. Positions do not go
    in; moving all by whole cells of the coarsest grid changes nothing on a periodic box, nor else as long as zeros
    beyond the grid's ends and the walls are too far away to be seen.

    Args:
        in_channels: numbers a particle that come in.
        out_channels: components of an acceleration.
        dimensions: coordinates of a particle.
        n_params: scalar parameters a sample.
        cells: of the grid along each axis x, y, z.
        periodic: along which axes the box is periodic; the U-Net goes round where all are.
        width: channels of particles, and of the U-Net on its finest grid.
        multipliers: channels of the U-Net on each of its grids, as multiples of `width`.
        blocks: residual blocks of the U-Net on each grid, on the way down and on the way up.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: after O. Rochman-Sharabi, S. Lewin, G. Louppe, A neural material point method for particle-based emulation,
    TMLR (2025).
    """

    name, title = "grid_particle", "grid particle model"
    takes: ClassVar = ParticleBatch
    solver: ClassVar[str] = "particle_surrogate"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        *,
        cells: int | Sequence[int] | None = 32,
        periodic: Sequence[bool] = (),
        width: int = 24,
        multipliers: Sequence[int] = (1, 2, 4),
        blocks: int = 1,
    ):
        super().__init__()
        self.in_channels = positive("in_channels", in_channels)
        self.out_channels = positive("out_channels", out_channels)
        self.dimensions, self.n_params = positive("dimensions", dimensions), positive("n_params", n_params, 0)
        self.cells, self.periodic = checked_cells(cells, dimensions), tuple(bool(p) for p in periodic)
        self.width = positive("width", width)
        self.encoder = perceptron([in_channels + n_params, 2 * width, width], "gelu", last=False)
        boundary = "circular" if len(self.periodic) == dimensions and all(self.periodic) else "zeros"
        self.unet = UNet(
            width + 1, width, width, multipliers, blocks, n_params=n_params, boundary=boundary, dimensions=dimensions,
            coordinates=False,
        )  # fmt: skip
        self.decoder = perceptron([2 * width, 2 * width, out_channels], "gelu", last=False)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are; by default with cells of half a radius."""
        decided = {name: getattr(signature, source) for name, source in cls.decided.items()}
        given: dict[str, Any] = {"periodic": signature.periodic} | options
        if given.get("cells") is None:
            given["cells"] = [2 * m for m in cells_of(cls.name, None, signature)]
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
            "multipliers": list(self.unet.multipliers),
            "blocks": self.unet.blocks,
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
        """Accelerations; arguments as in `ParticleBatch`, edges and offsets are not looked at.

        Returns:
            (node, out_channels), 0 where the mask is.
        """
        check_graph(self, nodes, points, edges, offsets, graph, params, mask)
        samples, dtype = check_lengths(type(self).__name__, lengths, graph, params, self.dimensions), self.dtype
        inside = None if mask is None else (mask > 0)[:, None]
        given = [only(nodes.to(dtype), inside)]
        if params is not None:
            params = params.to(dtype)
            given.append(params.index_select(0, graph))
        h = self.encoder(torch.cat(given, 1))
        around = stencil(only(points.to(dtype), inside), graph, mask, self.cells, self.periodic)
        count = density(around, samples)
        mean = mean_of(scattered(h[:, None].expand(-1, around.weight.shape[1], -1), around, samples), count)
        v = self.unet(torch.cat((mean, count), 1), params)
        seen = (gathered(v, around) * around.weight[..., None]).sum(1)
        return only(self.decoder(torch.cat((h, seen), 1)), inside)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, {self.dimensions}, n_params={self.n_params}, {self.cells}"
