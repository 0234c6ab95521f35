"""Values at points from those at nodes around them, by weights that are learned and stay exact where they should."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from sciml.operators._points import perceptron

SOFTENING = 0.1  # in units of the mean distance of the neighbours: within it a node's value counts alone
RIDGE = 1e-6  # of the spread of neighbours: what a flat one is taken for

LEAST = 1e-12  # beside (1 − |r|²/R²)²: where all neighbours are equally far away


class LeastSquares(nn.Module):
    """A moving least squares fit of linear functions whose weights are learned:

        ω_j = exp(a(r_j)) (1 − |r_j|²/R²)² / (|r_j|² + δ²)²,    p_j = (1, r_j)
        w_j = ω_j p_jᵀ (Σ_i ω_i p_i p_iᵀ)⁻¹ (1, 0)

    r_j are the offsets of the neighbours of a point in units of their mean distance, R is the largest: which of several
    that are as far away are taken for neighbours does not matter. a is a perceptron. Whatever a is,
    the w_j of a point have the sum 1 and Σ w_j r_j = 0: constants and linear functions are reproduced. δ makes a point
    at a node take next to nothing of others.

    Args:
        dimensions: coordinates of a point.
        width: of a; 0 for a = 0, without weights.
    """

    def __init__(self, dimensions: int, width: int = 16):
        super().__init__()
        self.kernel = perceptron([dimensions + 1, width, 1], "gelu", last=False) if width else None
        if self.kernel is not None:
            with torch.no_grad():
                list(self.kernel.parameters())[-2].mul_(0.1)  # begins near a = 0

    def forward(
        self, ways: Float[Tensor, "*point neighbour dimension"], near: Float[Tensor, "*point neighbour"] | None = None
    ) -> Float[Tensor, "*point neighbour"]:
        """The w_j.

        Args:
            ways: offsets of neighbours.
            near: 1 for neighbours that are some, 0 for others; None where all are.
        """
        near = torch.ones_like(ways[..., 0]) if near is None else near.to(ways.dtype)
        square = ways.square().sum(-1)
        size = ((square * near).sum(-1) / near.sum(-1).clamp(min=1)).detach()
        size = torch.where(size > 0, size, torch.ones_like(size)).sqrt()
        ways, square = ways / size[..., None, None], square / size[..., None] ** 2
        far = (square * near).amax(-1, keepdim=True).clamp(min=1e-30)
        weights = near * ((1 - square / far) ** 2 + LEAST) / (square + SOFTENING**2) ** 2
        if self.kernel is not None:
            told = torch.cat((ways, (square + 1e-12).sqrt()[..., None]), -1)
            weights = weights * self.kernel(told)[..., 0].clamp(-20, 20).exp()
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)
        centre = (weights[..., None] * ways).sum(-2)
        apart = ways - centre[..., None, :]
        spread = torch.einsum("...j,...ja,...jb->...ab", weights, apart, apart)
        ridge = RIDGE * spread.diagonal(dim1=-2, dim2=-1).sum(-1) + 1e-12
        spread = spread + ridge[..., None, None] * torch.eye(ways.shape[-1], dtype=ways.dtype, device=ways.device)
        slope = torch.linalg.solve(spread, centre)
        return weights * (1 - (apart * slope[..., None, :]).sum(-1))


@torch.no_grad()
def nearest(
    nodes: Float[Tensor, "batch node dimension"],
    points: Float[Tensor, "batch point dimension"],
    present: Float[Tensor, "batch node"],
    count: int,
    periods: Float[Tensor, "batch dimension"] | None = None,
) -> tuple[Int64[Tensor, "batch point neighbour"], Float[Tensor, "batch point neighbour"]]:
    """Numbers of the nodes next to points, and whether they are some: 0 where a sample has fewer than `count`.

    Args:
        nodes, points: where they are.
        present: 1 for nodes, 0 for what fills up a sample.
        count: of neighbours, at most the number of nodes.
        periods: of each axis, 0 where it is not periodic; None where none is.
    """
    if periods is None:
        middle = nodes.mean(1, keepdim=True)  # keeps the digits of differences of squares
        a, b = points - middle, nodes - middle
        distance = torch.baddbmm(b.square().sum(-1)[:, None], a, b.transpose(1, 2), alpha=-2)  # but for |a|²
    else:
        apart = short(points[:, :, None] - nodes[:, None], periods[:, None, None])
        distance = apart.square().sum(-1)
    distance = torch.where(present[:, None] > 0, distance, torch.inf)
    found = distance.topk(min(count, nodes.shape[1]), dim=2, largest=False)
    return found.indices, torch.isfinite(found.values).to(nodes.dtype)


def short(ways: Tensor, periods: Tensor | None) -> Tensor:
    """Offsets, the short way round axes that are periodic."""
    if periods is None:
        return ways
    around = torch.where(periods > 0, periods, torch.ones_like(periods))
    return ways - torch.where(periods > 0, torch.round(ways / around) * periods, torch.zeros_like(ways))
