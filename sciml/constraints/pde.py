"""Answers that solve a PDE, in the sense of least squares, over the functions that a network has learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from sciml.constraints._differences import Differences
from sciml.constraints._implicit import Problem, Settings, Solve
from sciml.constraints._split import Split
from sciml.constraints._terms import Block, Conditions, Weight, posed, sampled
from sciml.errors import InputError, is_number, positive
from sciml.problem import Case
from sciml.support import Grid


class Solved(NamedTuple):
    """Composed answers of a batch of cases, and what they leave.

    Args:
        fields: (case, field, time, *space) in physical units; without time where steady.
        weights: ω of every expert.
        residuals: rows of the composed answer by name, over their scales, (case, place): of cells at times after the
            start (or those that were drawn), of the start, and of sides at times after the start.
        loss: Σ over rows of the mean square residual, as weighted, over experts and cases; what trains without data.
        steps: of Levenberg and Marquardt, of every expert.
        converged: whether the next step would have been below the tolerance.
    """

    fields: Float[Tensor, "case field *time_space"]
    weights: Float[Tensor, "case expert basis"]
    residuals: Mapping[str, Float[Tensor, "case _place"]]
    loss: Float[Tensor, ""]
    steps: Int64[Tensor, "case expert"]
    converged: Bool[Tensor, "case expert"]


class PDEConstraint(nn.Module):
    """u = Σ_j ω_j b_j on Ω_k, with the ω of each sub-domain that leave least of the equations.

        ω_k = argmin ½ ⟨F(b·ω)²⟩_Ω_k + ½ ⟨(u − u₀)²⟩ + ½ Σ_sides ⟨(condition)²⟩ + ½ ρ² |ω|²

    b are functions on the whole grid in space and time, as a rule what a network gives; Ω_k are equal boxes, K in all,
    whose answers are set side by side, with no continuity between them but that of the solution. ⟨·⟩ are means over
    Ω_k at all times after the start, and over all of the start and of each side, with the sizes of cells, faces and
    intervals of time for weights; residuals are in units of their scales. Every D^α that the strong form of the
    balances holds is taken of each b once and mixed linearly, so that the minimisation differentiates nothing; experts
    and cases are solved as one batch, and those that have converged leave it.

    ω is differentiable in b by the implicit function theorem of ∇E = 0 with the whole Hessian, residuals times
    curvature included: at the cost of one more step, with memory that knows no number of steps. With one expert it is
    the constraint of one domain.

    Args:
        problem: a `PDEProblem` on a box.
        experts: K along x, or counts along x, y, ...; they divide the cells.
        points: cells and times of each sub-domain that are drawn at random at each call; None for all of them.
        ridge: ρ, in units of the root mean square of all residuals.
        tolerance: of the last step, relative.
        max_steps: of Levenberg and Marquardt.
        order: of the differences in space and time, 2 or 4, one-sided at walls, at the start and at the end.
        spectral: whether periodic axes are differentiated by their Fourier series.
        weights: in the mean squares of "interior", "initial" or a side, by these names: numbers, or functions of points
            (N, D) and times (N,); 1 where left out.
        on_failure: "raise" or "warn" where a solve does not converge, or where the Hessian is singular, so that there
            is no derivative: after a warning the ω of these experts count as constants.

    Raises:
        InputError: an argument out of range.

    Source: N. Chalapathi, Y. Du, A. Krishnapriyan, Scaling physics-informed hard constraints with mixture-of-experts,
    ICLR 2024; there the backward pass takes F(b·ω) = 0, which more points than functions never satisfy.
    """

    def __init__(
        self,
        problem: Any,
        experts: int | Sequence[int] = 1,
        *,
        points: int | None = None,
        ridge: float = 1e-4,
        tolerance: float = 1e-6,
        max_steps: int = 50,
        order: int = 4,
        spectral: bool = False,
        weights: Mapping[str, Weight] | None = None,
        on_failure: Literal["raise", "warn"] = "raise",
    ):
        super().__init__()
        self.problem = problem
        self.experts = experts if isinstance(experts, int) else tuple(experts)
        self.points = None if points is None else positive("points", points)
        for name, value in (("ridge", ridge), ("tolerance", tolerance)):
            if not is_number(value) or value < 0:
                raise InputError(f"{name}: expected a number ≥ 0, got {value!r}")
        if order not in (2, 4):
            raise InputError(f"order: expected 2 or 4, got {order!r}")
        if on_failure not in ("raise", "warn"):
            raise InputError(f"on_failure: expected 'raise' or 'warn', got {on_failure!r}")
        self.order, self.spectral, self.weights = order, bool(spectral), dict(weights or {})
        self.settings = Settings(float(ridge), float(tolerance), positive("max_steps", max_steps), on_failure)

    def forward(
        self,
        basis: Float[Tensor, "case basis field *time_space"],
        cases: Case | Sequence[Case],
        grid: Grid,
        times: Any = None,
        *,
        start: Float[Tensor, "case expert basis"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Solved:
        """The answers of cases over a basis each.

        Args:
            basis: (case, basis, field, time, *space), fields in the order of the problem's; without time where steady.
            cases: members of the problem, with conditions of the same kinds.
            grid: cells.
            times: (T,) increasing, the first is the start; None for a steady problem.
            start: ω to begin at; by default, or if zero, what the linear rows alone ask for (of the start, of sides).
            generator: of the points that are drawn.

        Raises:
            InputError: shapes that do not fit, experts that do not divide the cells, a condition that is missing, a
                derivative that the grid is too small for.
            ConvergenceError: a solve that failed, see `on_failure`; in the backward pass, a Hessian that is singular.
        """
        stage, terms = self._stage(basis, cases, grid, times)
        blocks = list(stage.blocks)
        if self.points is not None and self.points < blocks[0].places:
            index = self._drawn(stage.split.count, blocks[0].places, generator).to(basis.device)
            blocks[0], terms[0] = sampled(blocks[0], terms[0], index)
        problem = Problem(blocks, stage.split.count, self.settings)
        shape = (len(basis), stage.split.count, basis.shape[1])
        if start is None:
            start = basis.new_zeros(shape)
        elif tuple(start.shape) != shape:
            raise InputError(f"start: expected weights {shape}, got {tuple(start.shape)}")
        weights, *mixtures = Solve.apply(problem, start, *(t for each in terms for t in each))  # type: ignore[misc]
        assert problem.found is not None
        residuals, loss = _residuals(blocks, terms, weights, mixtures)
        found = problem.found
        return Solved(
            self._composed(basis, weights, stage.split, times is None), weights, residuals, loss,
            found.steps.reshape(shape[:2]), found.converged.reshape(shape[:2]),
        )  # fmt: skip

    def residuals(
        self,
        fields: Float[Tensor, "case field *time_space"],
        cases: Case | Sequence[Case],
        grid: Grid,
        times: Any = None,
    ) -> tuple[Mapping[str, Tensor], Tensor]:
        """What given fields leave, by the same rows: `residuals` and `loss` of `Solved`. A penalty of these is the soft
        counterpart of the constraint."""
        stage, terms = self._stage(fields[:, None], cases, grid, times, experts=1)
        ones = fields.new_ones(len(fields), 1, 1)
        mixtures = [t[:, :, 0] for t in terms[0]]
        return _residuals(stage.blocks, terms, ones, mixtures)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _stage(
        self, basis: Tensor, cases: Case | Sequence[Case], grid: Grid, times: Any, experts: Any = None
    ) -> tuple[Conditions, list[list[Tensor]]]:
        cases = [cases] if isinstance(cases, Case) else list(cases)
        posed(self.problem, cases, grid)
        given = None if times is None else np.asarray(times, np.float64)
        if given is not None and (given.ndim != 1 or len(given) < 2 or not np.all(np.diff(given) > 0)):
            raise InputError("times: expected increasing times (T,) from the start on")
        frames = () if given is None else (len(given),)
        wanted = (len(cases), len(self.problem.fields), *frames, *grid.shape)
        if basis.ndim != len(wanted) + 1 or (len(basis), *basis.shape[2:]) != wanted:
            names = ", ".join(f.name for f in self.problem.fields)
            raise InputError(
                f"basis: expected (case, basis, field, *time, *space) with {wanted[0]} cases, fields {names} and "
                f"{wanted[2:]} values, got {tuple(basis.shape)}"
            )
        if not basis.is_floating_point():
            raise InputError(f"basis: expected floating-point numbers, got {basis.dtype}")
        split = Split(self.experts if experts is None else experts, grid)
        stage = Conditions(cases, grid, given, split, basis.detach()[:0], self.weights)
        return stage, stage.of(basis, Differences(grid, given, self.order, self.spectral))

    def _drawn(self, experts: int, places: int, generator: torch.Generator | None) -> Tensor:
        assert self.points is not None
        each = [torch.randperm(places, generator=generator)[: self.points] for _ in range(experts)]
        return torch.stack(each)

    @staticmethod
    def _composed(basis: Tensor, weights: Tensor, split: Split, steady: bool) -> Tensor:
        """b·ω_k on Ω_k."""
        n, fields = basis.shape[1:3]
        values = basis[:, :, :, None] if steady else basis
        time = values.shape[3]
        each = split(values.flatten(1, 2)).unflatten(2, (n, fields))  # (case, expert, basis, field, place)
        found = torch.einsum("ckn,cknfp->ckfp", weights, each) if split.count > 1 else _single(weights, each)
        whole = split.merged(found, time)
        return whole[:, :, 0] if steady else whole

    def extra_repr(self) -> str:
        return f"{self.problem.name}, experts={self.experts}"


def _single(weights: Tensor, each: Tensor) -> Tensor:
    cases, _, n, fields, places = each.shape
    return torch.bmm(weights, each.reshape(cases, n, fields * places)).reshape(cases, 1, fields, places)


def _residuals(
    blocks: Sequence[Block], terms: Sequence[Sequence[Tensor]], weights: Tensor, mixtures: Sequence[Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """Rows of the composed answer over their scales, each place having the ω of its own sub-domain; and their loss."""
    cases, experts, _ = weights.shape
    device, found = weights.device, {}
    loss = weights.new_zeros(())
    for block, each in zip(blocks, terms, strict=True):
        if block.owner is None:
            of = torch.arange(cases, device=device).repeat_interleave(experts)
            expert = torch.arange(experts, device=device).repeat(cases)
            values = [m.flatten(0, 1) for m in mixtures]
        else:
            of, whose = torch.arange(cases, device=device), weights[:, block.owner]  # (case, place, basis)
            expert = torch.zeros_like(of)
            values = [torch.einsum("cpn,cnp->cp", whose, t[:, 0]) for t in each]
        point = block.unweighted(values, of, expert)
        measure = block.measure[expert] if len(block.measure) > 1 else block.measure
        for row, name in enumerate(block.rows.names):
            residual = point.residual(row)
            loss = loss + (measure * residual.square()).sum(-1).mean()
            found[name] = residual.reshape(cases, -1)
    return found, loss
