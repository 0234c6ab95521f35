"""Heat conduction in a plate with holes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Condition, Conditions, Dirichlet, Flux, Samples
from sciml.errors import InputError
from sciml.expressions import Balance, Operators
from sciml.geometry import Box, Geometry, Polygon
from sciml.problem import Case, FieldSpec, InputSpec, ParameterSpec, PDEProblem, Scales
from sciml.problems._holes import with_holes
from sciml.registry import problems

if TYPE_CHECKING:
    from sciml.problems.designs import Design


def _nothing(parameters: Any, x: Any, y: Any) -> Any:
    return np.zeros(np.broadcast_shapes(np.shape(x), np.shape(y)))


def _uniform(parameters: Any, x: Any, y: Any) -> Any:
    return np.ones(np.broadcast_shapes(np.shape(x), np.shape(y)))


@problems.register("heat_plate")
class HeatPlate(PDEProblem):
    """∂t (c T) + ∇·(−k ∇T) = source, k = conductivity · profile(x, y) · (1 + conductivity_slope · T).

    The plate is a rectangle, or the polygon `outline`, with `holes`. A rectangle has the `edge_temperature` on x_min
    and is insulated on its other sides; a polygon has it on all of its edge. Through the edge of each hole comes
    `hole_flux`. Source, profile and edge temperature are functions given at points of their own.

    Args:
        steady: True (default) for the steady state, False for how it comes about from `initial_temperature`.

    Source: H. S. Carslaw, J. C. Jaeger, Conduction of Heat in Solids, 2nd ed. (1959), §1.6.
    """

    name = "heat_plate"
    title = "Heat conduction in a plate with holes"
    dimensions = 2
    fields = (FieldSpec("T", "K", "node", description="temperature above that of the surroundings"),)
    parameters = (
        ParameterSpec("width", "m", 1.0, 0.0, open_minimum=True, description="of a rectangle"),
        ParameterSpec("height", "m", 0.6, 0.0, open_minimum=True, description="of a rectangle"),
        ParameterSpec("conductivity", "W m-1 K-1", 50.0, 0.0, open_minimum=True),
        ParameterSpec("conductivity_slope", "K-1", 0.0, 0.0, description="relative increase of k with T"),
        ParameterSpec("heat_capacity", "J m-3 K-1", 3.6e6, 0.0, open_minimum=True, description="c, by volume"),
        ParameterSpec("hole_flux", "W m-2", 0.0, description="heat that comes in through the edges of the holes"),
        ParameterSpec("initial_temperature", "K", 0.0),
    )
    inputs = (
        InputSpec("holes", "1", "geometry", ("hole", "hole_value"), description="x, y, radius, corners or 0, angle"),
        InputSpec("outline", "m", "geometry", ("corner", "coordinate"), description="corners of a polygon"),
        InputSpec("source", "W m-3", "source", ("source_point",), _nothing, at="source_points"),
        InputSpec("source_points", "m", "source", ("source_point", "coordinate"), description="where it is given"),
        InputSpec("profile", "1", "coefficient", ("profile_point",), _uniform, positive=True, at="profile_points",
                  description="of the conductivity"),
        InputSpec("profile_points", "m", "coefficient", ("profile_point", "coordinate"), description="its points"),
        InputSpec("edge_temperature", "K", "boundary", ("edge_point",), at="edge_points"),
        InputSpec("edge_points", "m", "boundary", ("edge_point", "coordinate"), description="where it is given"),
    )  # fmt: skip

    def __init__(self, steady: bool = True):
        if not isinstance(steady, bool):
            raise InputError(f"{self.name}: steady is {steady!r}, expected True or False")
        self.steady = steady

    @property
    def options(self) -> dict[str, Any]:
        return {} if self.steady else {"steady": False}

    def plate(self, case: Case) -> Geometry:
        """The plate as if it had no holes."""
        if "outline" not in case.inputs:
            return Box((0.0, 0.0), (case.width, case.height))
        corners = np.asarray(case.inputs["outline"])
        if corners.shape[1:] != (2,):
            raise InputError(f"{self.name}: outline: expected (N, 2) corners, got {corners.shape}")
        return Polygon(tuple(map(tuple, corners.tolist())))

    def geometry(self, case: Case) -> Geometry:
        plate = self.plate(case)
        return plate if "holes" not in case.inputs else with_holes(self.name, plate, np.asarray(case.inputs["holes"]))

    def boundary_conditions(self, case: Case) -> Conditions:
        given: Condition = Dirichlet(0.0)
        if "edge_temperature" in case.inputs:
            values, points = (case.inputs.get(n) for n in ("edge_temperature", "edge_points"))
            if points is None:
                raise InputError(f"{self.name}: edge_temperature: expected edge_points beside it")
            given = Dirichlet(Samples(points, values))
        found: dict[str, dict[str, Condition]] = {}
        for name in case.geometry.boundaries:
            through = Flux(-case.hole_flux) if name.startswith("hole_") else Flux(0.0)
            found[name] = {"T": given if name in ("x_min", "surface") else through}
        return found

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        conductivity = theta.conductivity * q.profile * (1.0 + theta.conductivity_slope * q.T)
        storage = None if self.steady else theta.heat_capacity * q.T
        return {
            "energy": Balance(storage=storage, flux=-1.0 * conductivity * d.grad(q.T), source=q.source, unit="W m-3")
        }

    @classmethod
    def design(cls) -> Design:
        from sciml.problems.designs.heat_plate import HeatPlateDesign

        return HeatPlateDesign(cls())

    def initial_state(self, case: Case, grid: Any) -> dict[str, np.ndarray]:
        return {"T": np.full(grid.shape, case.initial_temperature)}

    def scales(self, case: Case) -> Scales:
        """Of the temperature the greatest of what its edge, the holes and the source bring about."""
        length = max(high - low for low, high in self.plate(case).extents)
        largest = {
            n: np.abs(np.asarray(case.inputs[n])).max(initial=0.0)
            for n in ("edge_temperature", "source")
            if n in case.inputs
        }
        resistance = length / case.conductivity
        found = [largest.get("edge_temperature", 0.0), 0.1 * length * resistance * largest.get("source", 0.0)]
        found += [resistance * abs(case.hole_flux), abs(case.initial_temperature)]
        return Scales(length, case.heat_capacity * length * resistance, {"T": float(max(found)) or 1.0})

    def features(self, case: Case, time: float, time_step: float) -> dict[str, float]:
        """Relative increase of k over the scale of the temperature, the flux of the holes over that of the scales, and
        of a transient case the Fourier number of the step and the initial temperature over its scale."""
        scales = self.scales(case)
        T = scales.fields["T"]
        found = {
            "conductivity_change": case.conductivity_slope * T,
            "hole_flux": case.hole_flux * scales.length / (case.conductivity * T),
        }
        if self.steady:
            return found
        return found | {"fourier": time_step / scales.time, "initial_temperature": case.initial_temperature / T}
