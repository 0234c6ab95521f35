"""Flow through a porous medium: Darcy's law."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Dirichlet, Neumann
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems

WALLS = ("closed", "drained")

if TYPE_CHECKING:
    from sciml.problems.designs import Design


def _homogeneous(parameters: Any, x: Any, y: Any) -> Any:
    return np.ones(np.broadcast_shapes(np.shape(x), np.shape(y)))


@problems.register("darcy")
class Darcy(PDEProblem):
    """−∇·(a ∇p) = source on [0, 1]², a = `permeability` given on cells and free to jump from cell to cell.

    The coefficient goes to a face by the harmonic mean, which keeps the normal flux −a ∂p/∂n continuous across a jump.

    Args:
        walls: "drained" (default): p = 0 on all sides, the setting of the neural operator literature. "closed": no flow
            through y_min and y_max, p = pressure_left on x_min and pressure_right on x_max. Then, without a source and
            with layers across x, the solution is exact: p falls piecewise linearly, by equal flux in every layer.

    Source: Z. Li et al., Fourier Neural Operator, ICLR (2021), for the drained square.
    """

    name = "darcy"
    title = "Darcy flow"
    dimensions = 2
    steady = True
    fields = (FieldSpec("p", "1", description="pressure"),)
    parameters = (
        ParameterSpec("source", "1", 1.0, description="uniform source"),
        ParameterSpec("pressure_left", "1", 0.0, description="p on x_min when closed"),
        ParameterSpec("pressure_right", "1", 0.0, description="p on x_max when closed"),
    )
    inputs = (
        InputSpec("permeability", "1", "coefficient", ("y", "x"), default=_homogeneous, positive=True, description="a"),
    )

    def __init__(self, walls: str = "drained"):
        if walls not in WALLS:
            raise InputError(f"darcy: walls is {walls!r}, expected one of {', '.join(WALLS)}")
        self.walls = walls

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.walls == "drained" else {"walls": self.walls}

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (1.0, 1.0))

    def boundary_conditions(self, case: Case) -> Conditions:
        if self.walls == "drained":
            return {b: {"p": Dirichlet(0.0)} for b in ("x_min", "x_max", "y_min", "y_max")}
        return {
            "x_min": {"p": Dirichlet(case.pressure_left)},
            "x_max": {"p": Dirichlet(case.pressure_right)},
            "y_min": {"p": Neumann(0.0)},
            "y_max": {"p": Neumann(0.0)},
        }

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        flux = -1.0 * q.permeability * d.grad(q.p)
        return {"mass": Balance(flux=flux, source=theta.source, face_rule={"permeability": "harmonic"}, unit="m-2")}

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.darcy import DarcyDesign

        return DarcyDesign(cls())

    def scales(self, case: Case) -> Scales:
        # For a unit coefficient the pressure of the drained square peaks at 0.0737 of the source.
        drop = abs(case.pressure_left - case.pressure_right)
        return Scales(1.0, 1.0, {"p": max(drop, 0.1 * abs(case.source)) or 1.0})

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """The source and, unless the walls are drained, both pressures, as given."""
        return {"source": case.source} | ({} if self.walls == "drained" else {
            "pressure_left": case.pressure_left, "pressure_right": case.pressure_right
        })  # fmt: skip

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        a = case.inputs.get("permeability")
        if self.walls != "closed" or case.source != 0 or (a is not None and np.ptp(np.asarray(a), axis=0).any()):
            raise InputError(f"{self.name}: an exact solution is known for closed walls, no source and layers across x")
        layers = np.ones(1) if a is None else np.asarray(a)[0]
        resistance = np.concatenate([[0.0], np.cumsum(1.0 / layers)])
        share = np.interp(np.asarray(coords[0]), np.linspace(0.0, 1.0, len(layers) + 1), resistance / resistance[-1])
        p = case.pressure_left + (case.pressure_right - case.pressure_left) * share
        return {"p": np.broadcast_to(p, (len(coords[1]), len(p))).copy()}
