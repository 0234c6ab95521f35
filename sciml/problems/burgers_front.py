"""A front that viscosity keeps as thick as it is, on its way across an interval or a square."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems
from sciml.support import Support

if TYPE_CHECKING:
    from jaxtyping import Float

    from sciml.problems.designs import Design


@problems.register("burgers_front")
class BurgersFront(PDEProblem):
    """∂t u + ∇·(n u²/2 − ν ∇u) = 0 on the unit interval or the unit square, n = (cos(angle), sin(angle)), in one
    dimension 1; u given on all sides.

    Exact: u = (a/2)(1 − tanh(a (n·x − start − at/2)/(4ν))), a front of a thickness of about 8ν/a between a behind and
    0 ahead of it.

    Args:
        dimensions: 1 or 2.

    Source: G. B. Whitham, Linear and Nonlinear Waves (1974), section 4.3.
    """

    name = "burgers_front"
    title = "Burgers equation, travelling front"
    dimensions = 1
    fields = (FieldSpec("u", "m s-1", description="velocity"),)
    parameters = (
        ParameterSpec("viscosity", "m2 s-1", 5e-3, logarithmic=True, description="ν"),
        ParameterSpec("height", "m s-1", 1.0, 0.0, open_minimum=True, description="a"),
        ParameterSpec("start", "m", 0.2, description="where the front is at first, along n"),
    )

    def __init__(self, dimensions: int = 1):
        if isinstance(dimensions, bool) or dimensions not in (1, 2):
            raise InputError(f"{self.name}: dimensions is {dimensions!r}, expected 1 or 2")
        self.dimensions = int(dimensions)
        if self.dimensions == 2:
            angle = ParameterSpec("angle", "1", math.pi / 6, description="of n with x, in radians")
            self.parameters = (*type(self).parameters, angle)

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.dimensions == 1 else {"dimensions": self.dimensions}

    def geometry(self, case: Case) -> Box:
        return Box((0.0,) * self.dimensions, (1.0,) * self.dimensions)

    def boundary_conditions(self, case: Case) -> Conditions:
        def given(points: np.ndarray, time: float) -> np.ndarray:
            return self.values(case, np.asarray(points), time)

        return {b: {"u": Dirichlet(given)} for b in ("x_min", "x_max", "y_min", "y_max")[: 2 * self.dimensions]}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        carried = [q.u**2 / 2]
        if self.dimensions == 2:
            carried = [d.cos(theta.angle) * q.u**2 / 2, d.sin(theta.angle) * q.u**2 / 2]
        return {"momentum": Balance(storage=q.u, flux=d.vector(*carried) - theta.viscosity * d.grad(q.u), unit="m s-2")}

    @classmethod
    def design(cls) -> Design:
        """ν from 2·10⁻³ to 2·10⁻² m²/s, a from 0.5 to 1.5 m/s, times up to 1 s."""
        from sciml.problems.designs.ranges import Ranges

        return Ranges(cls(), {"viscosity": (2e-3, 2e-2), "height": (0.5, 1.5)}, last=1.0)

    def scales(self, case: Case) -> Scales:
        return Scales(1.0, 1.0 / case.height, {"u": case.height}, velocity=case.height)

    def values(
        self, case: Case, points: Float[np.ndarray, "*batch dimension"], time: float
    ) -> Float[np.ndarray, "*batch"]:
        """u at points and a time."""
        along = points[..., 0]
        if self.dimensions == 2:
            along = math.cos(case.angle) * points[..., 0] + math.sin(case.angle) * points[..., 1]
        away = along - case.start - case.height * time / 2
        return case.height / 2 * (1 - np.tanh(case.height * away / (4 * case.viscosity)))

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        return {"u": self.values(case, grid.points(), 0.0)}

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        axes = np.meshgrid(*coords[: self.dimensions], indexing="ij")
        points = np.stack([a.T for a in axes], -1)
        return {"u": np.stack([self.values(case, points, float(t)) for t in np.atleast_1d(times)])}
