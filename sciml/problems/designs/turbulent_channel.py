"""Runs of a turbulent channel, from different beginnings."""

from __future__ import annotations

import numpy as np

from sciml.problem import Case
from sciml.problems.designs import RandomDesign, Request


class TurbulentChannelDesign(RandomDesign):
    """Case k is the minimal flow unit at Re_τ 180 with seed k. Frames are 0.04 h/u_τ apart, 7.2 wall units of time, and
    begin at 6 h/u_τ, when the turbulence has forgotten how it was set off. Profiles: "standard"; "wide" is the box
    4π × 2 × 4π/3 of IFactFormer's data.

    Source for the wide box: H. Yang, Y. Li, X. Wang, J. Wang, arXiv 2412.18840 (2024).
    """

    profiles = ("standard", "wide")
    step = 0.6  # in units of h/(15 u_τ): 0.04 h/u_τ
    settled = 6.0  # h/u_τ

    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        return self.problem.case(seed=float(random.integers(1 << 31)))

    def cases(self, request: Request) -> list[Case]:
        found = super().cases(request)
        if request.profile == "wide":
            sides = {"length_x": 4 * np.pi, "length_z": 4 * np.pi / 3}
            return [self.problem.case(c.label, c.subset, **{**c.parameters, **sides}) for c in found]
        return found

    def times(self, case: Case, request: Request) -> np.ndarray | None:
        unit = case.half_height / case.friction_velocity
        return (self.settled + 0.04 * np.arange(request.frames)) * unit

    def cells(self, case: Case, resolution: tuple[int, ...]) -> tuple[int, ...]:
        """Cells of 18, 8 wall units of the waves that are kept along x and z, 84 points from wall to wall at Re_τ 180,
        where the stored grid has fewer."""
        reynolds = case.problem.reynolds(case)  # type: ignore[attr-defined]
        h = case.half_height
        sides = (case.length_z / h * reynolds / 5.3, 6.2 * reynolds**0.5, case.length_x / h * reynolds / 11.8)
        return tuple(max(n, 12 * round(s / 12)) if k != 1 else max(n, round(s)) for k, (n, s) in
                     enumerate(zip(resolution, sides, strict=True)))  # fmt: skip
