"""The method of Levenberg and Marquardt for many small systems at once, whose rows are functions of linear terms.

    E(ω) = ½ Σ r(T₁·ω, T₂·ω, ...)² + ½ ‖A ω − b‖² + ½ ρ² ‖ω‖²

T are arrays over (basis, place), so that r and its Jacobian J = Σ_a (∂r/∂term_a) T_a take products and no
differentiation. Rows that are linear in ω have come down to as many as there are weights before (`compressed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sciml.constraints._terms import Block, Point

ACCEPTED = 1e-3  # least share of the predicted reduction that must come true
ROUNDING = 1e-12  # of E, in which a reduction is not seen
SMALL, LARGEST = 1e-3, 1e12  # λ after the first failure, below which it does not matter; and at which to give up
SLOW = 0.3  # of the last step, a longer one than which makes a system take its whole Hessian from then on
REPACKED = 0.75  # systems that go on, of those in the arrays, from which on copying these is worth it


class Found(NamedTuple):
    """ω, how many steps each system took, and whether its next one would have been below the tolerance."""

    weights: Float[Tensor, "system basis"]
    steps: Int64[Tensor, " system"]
    converged: Bool[Tensor, " system"]


@dataclass
class Systems:
    """The blocks of systems; `of` and `expert` say whose they are.

    Args:
        blocks: those that are not linear, with their terms as (system, basis, place).
        matrix, right: the linear rows, (system, row, basis) and (system, row).
        ridge: ρ.
    """

    blocks: Sequence[Block]
    terms: Sequence[Sequence[Tensor]]
    matrix: Tensor
    right: Tensor
    of: Tensor
    expert: Tensor
    ridge: float
    normal: Tensor = field(init=False)

    def __post_init__(self) -> None:
        identity = torch.eye(self.matrix.shape[-1], dtype=self.matrix.dtype, device=self.matrix.device)
        self.normal = self.matrix.mT @ self.matrix + self.ridge**2 * identity

    def only(self, keep: Tensor) -> Systems:
        terms = [[t[keep] for t in each] for each in self.terms]
        return Systems(
            self.blocks, terms, self.matrix[keep], self.right[keep], self.of[keep], self.expert[keep], self.ridge
        )

    def points(self, weights: Tensor) -> list[Point]:
        """Where the terms are with these weights."""
        return [
            block.point([mixed(weights, t) for t in each], self.of, self.expert)
            for block, each in zip(self.blocks, self.terms, strict=True)
        ]

    def value(self, weights: Tensor, points: Sequence[Point]) -> Tensor:
        """(system,) E."""
        linear = (self.matrix @ weights[..., None]).squeeze(-1) - self.right
        total = linear.square().sum(-1) + self.ridge**2 * weights.square().sum(-1)
        for point in points:
            for row in range(len(point.rows.names)):
                total = total + point.residual(row).square().sum(-1)
        return total / 2

    def linearised(self, weights: Tensor, points: Sequence[Point]) -> tuple[Tensor, Tensor]:
        """(system, basis) ∇E, and (system, basis, basis) JᵀJ of all rows."""
        gradient = (self.normal @ weights[..., None] - self.matrix.mT @ self.right[..., None]).squeeze(-1)
        normal = self.normal.clone()
        for point, terms in zip(points, self.terms, strict=True):
            for row in range(len(point.rows.names)):
                jacobian = jacobian_of(point, terms, row)
                gradient += (jacobian @ point.residual(row)[..., None]).squeeze(-1)
                normal.baddbmm_(jacobian, jacobian.mT)
        return gradient, normal


def mixed(weights: Tensor, terms: Tensor) -> Tensor:
    """(system, place) Σ_j ω_j T_j."""
    return torch.bmm(weights[:, None], terms).squeeze(1)


def jacobian_of(point: Point, terms: Sequence[Tensor], row: int) -> Tensor:
    """(system, basis, place) Σ_a (∂r/∂term_a) T_a."""
    total: Tensor | None = None
    for a, slopes in point.first(row).items():
        slopes = slopes[:, None]
        total = terms[a] * slopes if total is None else torch.addcmul(total, terms[a], slopes, out=total)
    assert total is not None
    return total


def compressed(block: Block, terms: Sequence[Tensor]) -> Tensor:
    """(case, expert or 1, row, basis + 1) [A b] of linear rows, brought to a triangle by QR: the same ‖A ω − b‖."""
    cases, experts, basis, places = terms[0].shape
    of, expert = (i.ravel() for i in numbers(cases, experts, terms[0].device))
    flat = [t.flatten(0, 1) for t in terms]
    point = block.point([t.new_zeros(cases * experts, places) for t in flat], of, expert)
    rows = []
    for row in range(len(block.rows.names)):
        right = -point.residual(row)
        rows.append(torch.cat([jacobian_of(point, flat, row), right[:, None]], dim=1).mT)
    triangle = torch.linalg.qr(torch.cat(rows, dim=1), mode="r").R
    return triangle.reshape(cases, experts, -1, basis + 1)


def numbers(cases: int, experts: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(case, expert) the number of the case and that of the expert."""
    of, expert = torch.arange(cases, device=device), torch.arange(experts, device=device)
    return of[:, None].expand(cases, experts), expert.expand(cases, experts)


def add_curvature(total: Tensor, point: Point, terms: Sequence[Tensor]) -> None:
    """Adds Σ r ∇²r = Σ_ab T_a diag(r r_ab) T_bᵀ to (system, basis, basis)."""
    for row in range(len(point.rows.names)):
        residual, rest = point.residual(row), point.second(row)
        for a in sorted({a for a, _ in rest}):
            part: Tensor | None = None  # of the pairs (a, b) and (b, a) together, which are alike
            for b in sorted({b for c, b in rest if c == a and b >= a}):
                weighted = terms[b] * (rest[a, b] * residual * (0.5 if a == b else 1.0))[:, None]
                part = weighted if part is None else part.add_(weighted)
            if part is not None:
                half = torch.bmm(terms[a], part.mT)
                total.add_(half).add_(half.mT)


def minimised(systems: Systems, start: Tensor, tolerance: float, max_steps: int) -> Found:
    """Steps (B + λ D) δ = −∇E with D = diag(JᵀJ), from λ = 0 on.

    B is JᵀJ, whose steps are those of Gauss and Newton, for as long as these shrink fast, and then the whole Hessian
    where that is positive. λ stays 0 for as long as the reduction is what was predicted; else it follows the ratio of
    the two. A system is done when ‖D^½ δ‖ ≤ tolerance · ‖D^½ ω‖ at a λ that does not matter; it then takes δ as well
    and costs no more.

    Source: J. J. Moré (1978) for the scaled measure; H. B. Nielsen, IMM-REP-1999-05, for the rule for λ; R. Fletcher,
    C. Xu (1987) for changing over.
    """
    count = len(start)
    weights, steps = start.clone(), torch.zeros(count, dtype=torch.int64, device=start.device)
    converged = torch.zeros(count, dtype=torch.bool, device=start.device)
    active = torch.arange(count, device=start.device)
    at = _State(systems, start.clone())
    damping, growth = start.new_zeros(count), start.new_full((count,), 2.0)
    last, slow = start.new_full((count,), torch.inf), torch.zeros_like(converged)
    running = torch.ones_like(converged)
    for taken in range(max_steps + 1):
        scale = at.normal.diagonal(dim1=-2, dim2=-1).clamp_min(torch.finfo(start.dtype).tiny).sqrt()
        step, solved = _damped(at.normal, at.gradient, scale, damping)
        size = torch.linalg.norm(scale * step, dim=-1)
        slow |= (size > SLOW * last) & (taken > 1)
        if bool((slow & running).any()):
            whole, fine = _damped(at.hessian(), at.gradient, scale, damping)
            fine &= slow
            step, solved = torch.where(fine[:, None], whole, step), solved | fine
            size = torch.linalg.norm(scale * step, dim=-1)
        length = torch.linalg.norm(scale * at.weights, dim=-1)
        rounded = (size <= torch.finfo(size.dtype).eps ** 0.5 * length) & (size > 0.5 * last)  # shrinks no more
        done = running & solved & (damping <= SMALL) & ((size <= tolerance * length) | rounded)
        last = size
        lost = running & ~done & ((damping > LARGEST) | ~torch.isfinite(at.energy) | (taken == max_steps))
        steps[active[running]] = taken
        ended = done | lost
        if bool(ended.any()):
            weights[active[ended]] = torch.where(done[:, None], at.weights + step, at.weights)[ended]
            converged[active[done]] = True
            running = running & ~ended
            left = int(running.sum())
            if not left:
                break
            if left <= REPACKED * len(active):
                keep = running.nonzero().squeeze(-1)
                at = at.only(keep)
                active, running, damping, growth, last, slow, step, solved, scale = (
                    a[keep] for a in (active, running, damping, growth, last, slow, step, solved, scale)
                )
        there = at.moved(torch.where((running & solved)[:, None], at.weights + step, at.weights))
        predicted = 0.5 * ((damping[:, None] * scale.square() * step - at.gradient) * step).sum(-1)
        least = at.energy * ROUNDING
        unseen, below = predicted <= least, there.energy <= at.energy + least
        ratio = torch.where(unseen, 1.0, (at.energy - there.energy) / predicted)
        accepted = solved & below & (unseen | (ratio > ACCEPTED))  # what is not finite is not below
        eased = damping * (1 - (2 * ratio - 1) ** 3).clamp_min(1 / 3)
        eased = torch.where((eased < SMALL) & (ratio > 0.25), 0.0, eased)
        raised = torch.where(damping == 0, SMALL, damping * growth)
        damping = torch.where(accepted, eased, raised)
        growth = torch.where(accepted, 2.0, 2 * growth)
        if bool(accepted[running].all()):
            at = there
        elif bool(accepted[running].any()):
            at = at.moved(torch.where(accepted[:, None], there.weights, at.weights))
    return Found(weights, steps, converged)


class _State:
    """Systems where their weights are; what is asked for is found once."""

    def __init__(self, systems: Systems, weights: Tensor):
        self.systems, self.weights = systems, weights
        self.points = systems.points(weights)
        self.energy = systems.value(weights, self.points)
        self._linear: tuple[Tensor, Tensor] | None = None
        self._hessian: Tensor | None = None

    def moved(self, weights: Tensor) -> _State:
        return _State(self.systems, weights)

    def only(self, keep: Tensor) -> _State:
        found = _State.__new__(_State)
        found.systems, found.weights, found.energy = self.systems.only(keep), self.weights[keep], self.energy[keep]
        found.points = [p.only(keep) for p in self.points]
        gradient, normal = self._linearised
        found._linear = gradient[keep], normal[keep]
        found._hessian = None if self._hessian is None else self._hessian[keep]
        return found

    @property
    def _linearised(self) -> tuple[Tensor, Tensor]:
        if self._linear is None:
            self._linear = self.systems.linearised(self.weights, self.points)
        return self._linear

    @property
    def gradient(self) -> Tensor:
        return self._linearised[0]

    @property
    def normal(self) -> Tensor:
        return self._linearised[1]

    def hessian(self) -> Tensor:
        if self._hessian is None:
            self._hessian = self.normal.clone()
            for point, terms in zip(self.points, self.systems.terms, strict=True):
                add_curvature(self._hessian, point, terms)
        return self._hessian


def _damped(normal: Tensor, gradient: Tensor, scale: Tensor, damping: Tensor) -> tuple[Tensor, Tensor]:
    """δ, and whether there is one."""
    matrix = normal / (scale[:, :, None] * scale[:, None, :])  # anew, so that it may be written to
    matrix.diagonal(dim1=-2, dim2=-1).add_(damping[:, None])
    factor, info = torch.linalg.cholesky_ex(matrix)
    solved = info == 0
    factor = torch.where(
        solved[:, None, None], factor, torch.eye(len(scale[0]), dtype=scale.dtype, device=scale.device)
    )
    step = -torch.cholesky_solve((gradient / scale)[..., None], factor).squeeze(-1) / scale
    return step, solved & torch.isfinite(step).all(-1)
