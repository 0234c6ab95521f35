"""A thin elastic plate with a hole, clamped at one side and pulled at the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, Flux
from sciml.expressions import Balance, Operators
from sciml.geometry import Box, Geometry
from sciml.problem import Case, FieldSpec, ParameterSpec, PDEProblem, Scales
from sciml.problems._holes import with_holes
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design


@problems.register("elastic_plate")
class ElasticPlate(PDEProblem):
    """∇·(−σ) = 0 in plane stress, σ = E/(1 − ν²) [(1 − ν) ε + ν (tr ε) 1], ε = (∇(u, v) + ∇(u, v)ᵀ)/2.

    (u, v) = 0 on x_min, the traction (traction_x, traction_y) acts on x_max, and all else is free. Far from the sides,
    and with a small hole, the stress along a pull is three times as large at the edge of the hole.

    Sources: S. P. Timoshenko, J. N. Goodier, Theory of Elasticity, 3rd ed. (1970), §16; G. Kirsch, Zeitschrift des
    Vereines deutscher Ingenieure 42, 797 (1898), for the hole.
    """

    name = "elastic_plate"
    title = "Elastic plate with a hole"
    dimensions = 2
    steady = True
    fields = (
        FieldSpec("u", "m", "node", description="displacement along x"),
        FieldSpec("v", "m", "node", description="displacement along y"),
    )
    parameters = (
        ParameterSpec("width", "m", 1.0, 0.0, open_minimum=True),
        ParameterSpec("height", "m", 0.6, 0.0, open_minimum=True),
        ParameterSpec("hole_x", "m", 0.5, description="centre of the hole"),
        ParameterSpec("hole_y", "m", 0.3, description="centre of the hole"),
        ParameterSpec("hole_radius", "m", 0.1, 0.0, open_minimum=True),
        ParameterSpec("young_modulus", "Pa", 2.1e11, 0.0, open_minimum=True, description="E"),
        ParameterSpec("poisson_ratio", "1", 0.3, 0.0, 0.5, description="ν"),
        ParameterSpec("traction_x", "Pa", 1e8, description="on x_max"),
        ParameterSpec("traction_y", "Pa", 0.0, description="on x_max"),
    )

    def geometry(self, case: Case) -> Geometry:
        plate = Box((0.0, 0.0), (case.width, case.height))
        return with_holes(self.name, plate, np.array([[case.hole_x, case.hole_y, case.hole_radius, 0.0, 0.0]]))

    def boundary_conditions(self, case: Case) -> Conditions:
        free = {"u": Flux(0.0), "v": Flux(0.0)}  # the flux of momentum is the pressure −σ
        return {
            "x_min": {"u": Dirichlet(0.0), "v": Dirichlet(0.0)},
            "x_max": {"u": Flux(-case.traction_x), "v": Flux(-case.traction_y)},
            "y_min": free, "y_max": free, "hole_0": free,
        }  # fmt: skip

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        return {"momentum": Balance(flux=-1.0 * plane_stress(q, d, theta), unit="N m-3")}

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.elastic_plate import ElasticPlateDesign

        return ElasticPlateDesign(cls())

    def scales(self, case: Case) -> Scales:
        strain = (math.hypot(case.traction_x, case.traction_y) or 1.0) / case.young_modulus
        # what bends a plate moves its end by (width/height)² more than what pulls it
        bent = abs(case.traction_y) * (case.width / case.height) ** 2 / case.young_modulus
        size = max(strain, bent) * case.width
        return Scales(case.width, 1.0, {"u": size, "v": size})

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """Poisson's ratio, the direction of the traction, and the hole over the width of the plate."""
        pull = math.hypot(case.traction_x, case.traction_y) or 1.0
        found = {"poisson_ratio": case.poisson_ratio, "pull": case.traction_x / pull, "shear": case.traction_y / pull}
        return found | {n: getattr(case, n) / case.width for n in ("height", "hole_x", "hole_y", "hole_radius")}


def plane_stress(q: Any, d: Operators, theta: Any) -> np.ndarray:
    """(2, 2) σ of the displacement (u, v) in a thin plate."""
    (ux, uy), (vx, vy) = d.grad(q.u), d.grad(q.v)
    nu = theta.poisson_ratio
    stiffness = theta.young_modulus / (1.0 - nu * nu)
    shear = stiffness * (0.5 * (1.0 - nu)) * (uy + vx)
    return np.stack([d.vector(stiffness * (ux + nu * vy), shear), d.vector(shear, stiffness * (vy + nu * ux))])
