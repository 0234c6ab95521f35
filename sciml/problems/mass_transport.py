"""Mass that a flow carries, where nothing but the balance of mass is known."""

from __future__ import annotations

from typing import Any

from sciml.boundary import Conditions
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import AXES, Box
from sciml.problem import Case, FieldSpec, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems

VELOCITIES = ("u", "v", "w")


@problems.register("mass_transport")
class MassTransport(PDEProblem):
    """∂t ρ + ∇·(ρ v) = 0 in a window [−half_width, half_width]^D of open space.

    Density and velocity are both unknown: what there is are measurements, and the equation holds them together. Nothing
    is said of how it begins, nor of what goes in and out through the sides of the window.

    Args:
        dimensions: 1, 2 or 3.
    """

    name = "mass_transport"
    title = "Transport of mass"
    dimensions = 2
    parameters = (
        ParameterSpec("half_width", "m", 1.0, 0.0, open_minimum=True, description="of the window"),
        ParameterSpec("size", "kg m-3", 1.0, 0.0, open_minimum=True, description="of densities, their scale"),
        ParameterSpec("speed", "m s-1", 1.0, 0.0, open_minimum=True, description="of velocities, their scale"),
    )

    def __init__(self, dimensions: int = 2):
        if isinstance(dimensions, bool) or dimensions not in (1, 2, 3):
            raise InputError(f"{self.name}: dimensions is {dimensions!r}, expected 1, 2 or 3")
        self.dimensions = int(dimensions)
        self.velocity = VELOCITIES[: self.dimensions]
        along = [
            FieldSpec(n, "m s-1", description=f"velocity along {axis}")
            for n, axis in zip(self.velocity, AXES, strict=False)
        ]
        self.fields = (FieldSpec("density", "kg m-3", description="mass in a volume"), *along)

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.dimensions == 2 else {"dimensions": self.dimensions}

    def geometry(self, case: Case) -> Box:
        d = self.dimensions
        return Box((-case.half_width,) * d, (case.half_width,) * d)

    def boundary_conditions(self, case: Case) -> Conditions:
        return {}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        through = [q.density * getattr(q, n) for n in self.velocity]
        return {"mass": Balance(storage=q.density, flux=d.vector(*through), unit="kg m-3 s-1")}

    def scales(self, case: Case) -> Scales:
        """Half the width, and the time in which it is crossed."""
        fields = {"density": case.size, **dict.fromkeys(self.velocity, case.speed)}
        return Scales(case.half_width, case.half_width / case.speed, fields, velocity=case.speed)
