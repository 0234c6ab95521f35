"""A ring that a swirl winds up and unwinds again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Conditions, Flux
from sciml.expressions import Balance, Operators
from sciml.geometry import Box
from sciml.problem import Case, FieldSpec, Invariant, ParameterSpec, PDEProblem, Scales
from sciml.registry import problems
from sciml.support import Support

if TYPE_CHECKING:
    from jaxtyping import Float

    from sciml.problems.designs import Design

STEPS = 200  # of the fourth-order rule with which paths are followed, for each metre of speed · time


@problems.register("reversing_swirl")
class Swirl(PDEProblem):
    """∂t u + ∇·(a u) = 0 on the unit square, no flow through its sides,

        a = ±(∂ψ/∂y, −∂ψ/∂x),    ψ = (speed/π) sin²(πx) sin²(πy),

    + until the time `turn`, − from then on; u(x, 0) = exp(−(|x − c| − radius)²/(2 width²)), a ring.

    Exact: u is carried along, u(x, t) = u(X, 0) with X the place that x has come from; at the time 2 · turn all is as
    it was at the start, though in between the ring is drawn out to a spiral. Paths are followed to about 1e-7 of u. The
    flow turns at once: the step of a scheme should end at that time, which `breaks` says.

    Source: R. J. LeVeque, SIAM J. Numer. Anal. 33, 627 (1996), whose flow turns gradually.
    """

    name = "reversing_swirl"
    title = "Ring in a swirl"
    dimensions = 2
    fields = (FieldSpec("u", "1", description="concentration", bounds=(0.0, 1.0)),)
    parameters = (
        ParameterSpec("speed", "m s-1", 1.5, description="the largest"),
        ParameterSpec("turn", "s", 0.5, 0.0, open_minimum=True, description="when the flow turns round"),
        ParameterSpec("radius", "m", 0.2, 0.0, description="of the ring"),
        ParameterSpec("width", "m", 0.05 / 3, 0.0, open_minimum=True, description="standard deviation across it"),
        ParameterSpec("centre_x", "m", 0.5, 0.0, 1.0, description="of the ring"),
        ParameterSpec("centre_y", "m", 0.7, 0.0, 1.0, description="of the ring"),
    )
    invariants = (Invariant("mass", "u", "m2"),)

    def geometry(self, case: Case) -> Box:
        return Box((0.0, 0.0), (1.0, 1.0))

    def boundary_conditions(self, case: Case) -> Conditions:
        return {b: {"u": Flux(0.0)} for b in ("x_min", "x_max", "y_min", "y_max")}

    def equations(self, q: Any, d: Operators, theta: Any, x: Any) -> dict[str, Balance]:
        sx, cx, sy, cy = (f(math.pi * c) for c in (x[0], x[1]) for f in (d.sin, d.cos))
        # forwards at the very time of the turn too, where the step before it ends
        strength = 2.0 * theta.speed * d.where((1 + 1e-9) * theta.turn - x.time, 1.0, -1.0)
        along = strength * sx * sx * sy * cy
        up = -strength * sx * cx * sy * sy
        return {"mass": Balance(storage=q.u, flux=d.vector(along * q.u, up * q.u), unit="s-1")}

    @classmethod
    def design(cls) -> Design:
        """Speeds of 0.5 to 1.5 m/s, rings 0.02 to 0.05 m wide around places near the middle, there and back in 1 s."""
        from sciml.problems.designs.ranges import Ranges

        spans = {"speed": (0.5, 1.5), "width": (0.02, 0.05), "centre_x": (0.35, 0.65), "centre_y": (0.35, 0.65)}
        return Ranges(cls(), spans, last=1.0)

    def scales(self, case: Case) -> Scales:
        speed = abs(case.speed)
        return Scales(1.0, 1.0 / speed if speed else 1.0, {"u": 1.0}, velocity=speed or 1.0)

    def breaks(self, case: Case) -> tuple[float, ...]:
        return (case.turn,)

    def stream(self, case: Case, points: Float[np.ndarray, "point 2"], time: float) -> Float[np.ndarray, " point"]:
        sign = 1.0 if time <= (1 + 1e-9) * case.turn else -1.0
        sine = np.sin(np.pi * points)
        return sign * case.speed / np.pi * (sine[:, 0] * sine[:, 1]) ** 2

    def values(
        self, case: Case, points: Float[np.ndarray, "point 2"], time: float, steps: int = STEPS
    ) -> Float[np.ndarray, " point"]:
        """u at points and a time; paths by a rule of fourth order.

        Args:
            steps: for each metre of speed · time; with 50 instead of 200 u is off by 2e-5 at worst.
        """
        return self.start(case, self.origins(case, points, time, steps))

    def origins(
        self, case: Case, points: Float[np.ndarray, "point 2"], time: float, steps: int = STEPS
    ) -> Float[np.ndarray, "point 2"]:
        """X: where what is at points at a time was at the start."""
        wound = time if time <= case.turn else 2 * case.turn - time
        count = math.ceil(steps * abs(case.speed * wound))
        x, step = np.array(points, np.float64), -wound / max(count, 1)

        def velocity(at: np.ndarray) -> np.ndarray:
            s, c = np.sin(np.pi * at), np.cos(np.pi * at)
            along = s[:, 0] ** 2 * s[:, 1] * c[:, 1]
            return 2 * case.speed * np.stack([along, -s[:, 0] * c[:, 0] * s[:, 1] ** 2], 1)

        for _ in range(count):
            first = velocity(x)
            second = velocity(x + step / 2 * first)
            third = velocity(x + step / 2 * second)
            x = x + step / 6 * (first + 2 * second + 2 * third + velocity(x + step * third))
        return x

    def start(self, case: Case, points: Float[np.ndarray, "point 2"]) -> Float[np.ndarray, " point"]:
        """u at the start."""
        away = np.hypot(points[:, 0] - case.centre_x, points[:, 1] - case.centre_y)
        return np.exp(-(((away - case.radius) / case.width) ** 2) / 2)

    def initial_state(self, case: Case, grid: Support) -> dict[str, np.ndarray]:
        return {"u": self.values(case, grid.points().reshape(-1, 2), 0.0).reshape(grid.shape)}

    def exact(self, case: Case, times: Any, coords: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        x, y = np.meshgrid(coords[0], coords[1])
        points = np.stack([x.ravel(), y.ravel()], 1)
        each = [self.values(case, points, float(t)).reshape(x.shape) for t in np.atleast_1d(times)]
        return {"u": np.stack(each)}
