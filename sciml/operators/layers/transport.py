"""What is wrong with a map of points, given the density that they should have: the equation of Monge and Ampère."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.operators.layers.potential_map import PotentialMap


def interpolate(
    lattice: Float[Tensor, "batch node *side"], points: Float[Tensor, "batch point dimension"]
) -> Float[Tensor, "batch point"]:
    """Multilinear between values on a lattice of the unit box, its ends included: (B, n₁, ..., n_D), n_d ≥ 2.

    In time that goes with the number of points, and differentiable in both; outside of the box as at its nearest point.
    """
    sides = torch.tensor(lattice.shape[1:], device=points.device)
    at = points.clamp(0, 1) * (sides - 1)
    low = at.detach().floor().long().minimum(sides - 2)
    part, strides = at - low, [int(sides[d + 1 :].prod()) for d in range(len(sides))]
    values, found = lattice.flatten(1), torch.zeros_like(at[..., 0])
    for corner in itertools.product((0, 1), repeat=len(sides)):
        number, share = torch.zeros_like(low[..., 0]), torch.ones_like(found)
        for d, up in enumerate(corner):
            number = number + (low[..., d] + up) * strides[d]
            share = share * (part[..., d] if up else 1 - part[..., d])
        found = found + share * values.gather(1, number)
    return found


def transport_loss(
    network: PotentialMap,
    potential: Float[Tensor, "batch mode *modes"],
    monitor: Float[Tensor, "batch node *side"],
    mean: Float[Tensor, " batch"],
    points: Float[Tensor, "batch point dimension"],
    *,
    sides: Float[Tensor, "batch side dimension"] | None = None,
    normals: Float[Tensor, "batch side dimension"] | None = None,
    boundary: float = 100.0,
    convexity: float = 10.0,
    least: float = 0.05,
) -> Float[Tensor, ""]:
    """The mean over points ξ, and points of the boundary, of

        (m(ξ + ∇φ) det(I + H)/θ − 1)² + boundary (n·∇φ)² + convexity [(ε − λ)₊² + (ε − det(I + H))₊²],

    λ being the least eigenvalue of I + H. θ = ∫ m dx/∫ dx is the mean of m over the region, of the same m at the same
    x: any map of the region onto itself has the mean 1 of m det(I + H)/θ, so that the first term can vanish, and does
    where points have the density m. Positive determinants alone would allow both eigenvalues to be negative.

    Args:
        network: of the potential.
        potential: its coefficients.
        monitor: m on a lattice, as `interpolate` takes it.
        mean: θ.
        points: ξ; where they are dense, the first term counts more.
        sides, normals: points of the boundary where the region is not the whole box, and unit vectors out of it there,
            0 at places to be left out.
        boundary, convexity: weights of the terms.
        least: ε.
    """
    moved, jacobian = points + network.gradient(potential, points), network.hessian(potential, points)
    jacobian = jacobian + torch.eye(points.shape[-1], dtype=points.dtype, device=points.device)
    determinant = _determinant(jacobian)
    excess = interpolate(monitor, moved) * determinant / mean[:, None] - 1
    low = (least - _least_eigenvalue(jacobian)).clamp_min(0) ** 2 + (least - determinant).clamp_min(0) ** 2
    loss = (excess**2 + convexity * low).mean()
    if sides is not None and normals is not None:
        across = (network.gradient(potential, sides) * normals).sum(-1)
        loss = loss + boundary * (across**2).mean()
    return loss


def _determinant(matrix: Float[Tensor, "*point row column"]) -> Float[Tensor, "*point"]:
    if matrix.shape[-1] == 1:
        return matrix[..., 0, 0]
    if matrix.shape[-1] == 2:
        return matrix[..., 0, 0] * matrix[..., 1, 1] - matrix[..., 0, 1] * matrix[..., 1, 0]
    return torch.linalg.det(matrix)


def _least_eigenvalue(matrix: Float[Tensor, "*point row column"]) -> Float[Tensor, "*point"]:
    """Of symmetric matrices."""
    if matrix.shape[-1] == 1:
        return matrix[..., 0, 0]
    if matrix.shape[-1] == 2:
        half, difference = (matrix[..., 0, 0] + matrix[..., 1, 1]) / 2, (matrix[..., 0, 0] - matrix[..., 1, 1]) / 2
        # the root has no slope where both are equal: a little within keeps it finite
        return half - torch.sqrt(difference**2 + matrix[..., 0, 1] ** 2 + 1e-12)
    return torch.linalg.eigvalsh(matrix)[..., 0]
