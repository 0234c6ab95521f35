"""Diffusion on a ring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Periodic
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, Invariant, ParameterSpec, Scales
from sciml.problems._conservation import ConservationLaw
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("diffusion")
class Diffusion(ConservationLaw):
    """∂t u + ∂x(−κ ∂x u) = 0 on the periodic interval [0, 2π], u(x, 0) = sin x.

    Exact: u = e^(−κt) sin x. The mass is 0. It is the easy end of the generalised porous medium equation, whose
    diffusivity does not depend on u.

    Source: D. Hansen, D. C. Maddix, S. Alizadeh, G. Gupta, M. W. Mahoney, "Learning physical models that can respect
    conservation laws", ICML (2023), §4.
    """

    name = "diffusion"
    title = "Diffusion on a ring"
    fields = (FieldSpec("u", "1", description="concentration"),)
    parameters = (ParameterSpec("diffusivity", "m2 s-1", 1.0, 0.0, open_minimum=True, description="κ"),)
    invariants = (Invariant("mass", "u", "m"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0,), (2 * math.pi,), (True,))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {b: {"u": Periodic()} for b in ("x_min", "x_max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"mass": Balance(storage=q.u, flux=-theta.diffusivity * d.grad(q.u), unit="s-1")}

    @classmethod
    def design(cls) -> Design:
        """κ in [1, 5], times up to 1 s."""
        from sciml.problems.designs.ranges import Ranges

        return Ranges(cls(), {"diffusivity": (1.0, 5.0)}, last=1.0)

    def scales(self, case: Case) -> Scales:
        return Scales(2 * math.pi, 1.0 / case.diffusivity, {"u": 1.0})

    def initial_mass(self, case: Case) -> float:
        return 0.0

    def ends(self, case: Case, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slope = np.exp(-case.diffusivity * times)
        return np.zeros((2, len(times))), np.stack([slope, slope])

    def _solution(self, case: Case, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.exp(-case.diffusivity * t) * np.sin(x)
