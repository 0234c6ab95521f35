"""Weights of a basis that solve ∇E(ω; T) = 0, differentiable in the terms T of the basis.

With H = ∇²E, the whole Hessian, and a cotangent ω̄, λ = H⁻¹ ω̄ gives T̄ = −∂(λᵀ∇E)/∂T. For rows r of terms
v_a = T_a·ω and s_a = T_a·λ

    λᵀ∇E = Σ r Σ_a r_a s_a,    ∂/∂T_a = (r r_a) λ + (Σ_b (r_a r_b + r r_ab) s_b) ω

at every place: two outer products, whatever the number of steps that led to ω.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sciml.constraints._levenberg import (
    Found,
    Systems,
    add_curvature,
    compressed,
    jacobian_of,
    minimised,
    mixed,
    numbers,
)
from sciml.constraints._terms import Block, Point
from sciml.errors import ConvergenceError


@dataclass(frozen=True)
class Settings:
    """How weights are found; see `PDEConstraint`."""

    ridge: float
    tolerance: float
    max_steps: int
    on_failure: str


class Problem:
    """The least-squares problems of (case, expert), C·K of them.

    Args:
        blocks: with terms (case, expert or 1, basis, place) that come as the tensors of `Solve`.
    """

    def __init__(self, blocks: Sequence[Block], experts: int, settings: Settings):
        self.blocks, self.experts, self.settings = list(blocks), experts, settings
        self.found: Found | None = None

    def grouped(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """The terms of each block out of all of them."""
        found, k = [], 0
        for block in self.blocks:
            found.append(list(tensors[k : k + len(block.rows.terms)]))
            k += len(block.rows.terms)
        return found

    def flat(self, terms: Tensor) -> Tensor:
        """(system, basis, place)."""
        cases, _, *rest = terms.shape
        return terms.expand(cases, self.experts, *rest).flatten(0, 1)

    def solve(self, tensors: Sequence[Tensor], start: Tensor) -> Found:
        terms = self.grouped(tensors)
        cases, _, basis, _ = tensors[0].shape
        of, expert = (i.flatten() for i in numbers(cases, self.experts, start.device))
        curved = [(b, t) for b, t in zip(self.blocks, terms, strict=True) if not b.rows.linear]
        rows = [start.new_zeros(cases, self.experts, 0, basis + 1)]
        shared = [(b, t) for b, t in zip(self.blocks, terms, strict=True) if b.rows.linear]
        for block, each in shared:
            rows.append(compressed(block, each).expand(-1, self.experts, -1, -1))
        joined = torch.cat(rows, dim=2).flatten(0, 1)
        systems = Systems(
            [b for b, _ in curved], [[self.flat(t) for t in each] for _, each in curved], joined[..., :-1],
            joined[..., -1], of, expert, self.settings.ridge,
        )  # fmt: skip
        begin = start.flatten(0, 1)
        if not bool(begin.any()):
            begin = _first(systems)
        found = minimised(systems, begin, self.settings.tolerance, self.settings.max_steps)
        self.found = found
        if not bool(found.converged.all()):
            k = int((~found.converged).nonzero()[0])
            self.failed(
                f"{int((~found.converged).sum())} of {len(found.converged)} solves did not converge in "
                f"{self.settings.max_steps} steps, the first is expert {k % self.experts} of case {k // self.experts}"
            )
        return found

    def failed(self, what: str) -> None:
        if self.settings.on_failure == "raise":
            raise ConvergenceError(f"PDE constraint: {what}")
        warnings.warn(f"PDE constraint: {what}; the weights found count as constants", stacklevel=4)

    def cotangent(self, hessian: Tensor, cotangent: Tensor) -> Tensor:
        """λ = H⁻¹ ω̄ of systems; 0 of those that failed.

        Raises:
            ConvergenceError: a Hessian that is singular to rounding.
        """
        scale = hessian.diagonal(dim1=-2, dim2=-1).abs().clamp_min(torch.finfo(hessian.dtype).tiny).sqrt()
        values, vectors = torch.linalg.eigh(hessian / (scale[:, :, None] * scale[:, None, :]))
        least = 16 * torch.finfo(hessian.dtype).eps * hessian.shape[-1] * values.abs().amax(-1, True)
        bad = (values.abs() <= least).any(-1)
        if bool(bad.any()):
            k = int(bad.nonzero()[0])
            lost = int((values[k].abs() <= least[k]).sum())
            self.failed(
                f"the Hessian of expert {k % self.experts} of case {k // self.experts} has {lost} of {values.shape[1]} "
                "directions without curvature, expected a basis of full rank or a larger ridge"
            )
        along = (vectors.mT @ (cotangent / scale)[..., None]) / torch.where(bad[:, None], 1.0, values)[..., None]
        assert self.found is not None
        usable = self.found.converged & ~bad
        return torch.where(usable[:, None], (vectors @ along).squeeze(-1) / scale, 0.0)


class Solve(torch.autograd.Function):
    """(problem, start, *terms) -> ω (case, expert, basis), and the terms of the first block mixed with it,
    (case, expert, place) each."""

    @staticmethod
    def forward(ctx: Any, problem: Problem, start: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        found = problem.solve(tensors, start)
        weights = found.weights.reshape(start.shape)
        own = problem.grouped(tensors)[0]
        mixtures = [mixed(found.weights, problem.flat(t)).reshape(*start.shape[:2], -1) for t in own]
        ctx.problem = problem
        ctx.save_for_backward(weights, *tensors)
        return weights, *mixtures

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        problem, (weights, *tensors) = ctx.problem, ctx.saved_tensors
        cases, experts, _ = weights.shape
        flat_weights = weights.flatten(0, 1)
        of, expert = (i.flatten() for i in numbers(cases, experts, weights.device))
        terms = [[problem.flat(t) for t in each] for each in problem.grouped(tensors)]
        bar = weights.new_zeros(flat_weights.shape) if cotangents[0] is None else cotangents[0].flatten(0, 1)
        mixed_bars = [None if c is None else c.flatten(0, 1) for c in cotangents[1:]]
        for t, c in zip(terms[0], mixed_bars, strict=True):
            if c is not None:
                bar = bar + (t @ c[..., None]).squeeze(-1)
        hessian = problem.settings.ridge**2 * torch.eye(bar.shape[-1], dtype=bar.dtype, device=bar.device)
        hessian = hessian.expand(len(bar), -1, -1).clone()
        points = []
        for block, each in zip(problem.blocks, terms, strict=True):
            point = block.point([mixed(flat_weights, t) for t in each], of, expert)
            points.append(point)
            _add_hessian(hessian, point, each)
        along = problem.cotangent(hessian, bar)
        found = []
        for number, (point, each) in enumerate(zip(points, terms, strict=True)):
            first, second = _outer(point, [mixed(along, t) for t in each])
            for k, given in enumerate(problem.grouped(tensors)[number]):
                own = mixed_bars[k] if number == 0 else None
                beside = -second[k] if own is None else own - second[k]
                left = torch.stack([-along, flat_weights], dim=-1)
                right = torch.stack([first[k], beside], dim=-2)
                if given.shape[1] == experts:
                    found.append((left @ right).reshape(given.shape))
                else:  # shared: the sum over experts
                    left = left.unflatten(0, (cases, experts)).transpose(1, 2).flatten(2)
                    right = right.unflatten(0, (cases, experts)).flatten(1, 2)
                    found.append((left @ right)[:, None])
        return None, None, *found


def _add_hessian(total: Tensor, point: Point, terms: Sequence[Tensor]) -> None:
    """Σ (J Jᵀ + r ∇²r)."""
    for row in range(len(point.rows.names)):
        jacobian = jacobian_of(point, terms, row)
        total.baddbmm_(jacobian, jacobian.mT)
    add_curvature(total, point, terms)


def _outer(point: Point, along: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """For each term Σ r r_a, and Σ_b (r_a r_b + r r_ab) s_b, over rows; (system, place)."""
    zero = torch.zeros_like(along[0])
    first, second = [zero] * len(along), [zero] * len(along)
    for row in range(len(point.rows.names)):
        residual, slopes = point.residual(row), point.first(row)
        turned = sum((slope * along[a] for a, slope in slopes.items()), zero)
        for a, slope in slopes.items():
            first[a] = first[a] + residual * slope
            second[a] = second[a] + slope * turned
        for (a, b), slope in point.second(row).items():
            second[a] = second[a] + slope * residual * along[b]
    return first, second


def _first(systems: Systems) -> Tensor:
    """What the linear rows alone ask for, damped; 0 where there are none."""
    size = systems.normal.diagonal(dim1=-2, dim2=-1).amax(-1).clamp_min(torch.finfo(systems.matrix.dtype).tiny)
    normal = systems.normal + 1e-4 * torch.diag_embed(size[:, None].expand(-1, systems.matrix.shape[-1]))
    return torch.linalg.solve(normal, systems.matrix.mT @ systems.right[..., None]).squeeze(-1)
