"""Finite volumes for solutions that jump: limited, upwind, explicit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from sciml.boundary import Flux
from sciml.calculus import expanded, slope, tangent
from sciml.derivatives import numpy as provider
from sciml.errors import InputError, is_number, is_whole
from sciml.expressions import ZERO, Expression, Field, Input, Rate, leaves, without_gradients
from sciml.geometry import Box
from sciml.problem import Case, PDEProblem, Problem, beginning
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers._numerical import Begin, GridSolver, cell_counts
from sciml.support import Grid

if TYPE_CHECKING:
    import xarray


class _Law(NamedTuple):
    """∂t u + ∂x(f(u) − k(u) ∂x u) = s, in parts.

    Args:
        carried: f; speed: f′; spread: f − k ∂x u as stated; diffusivity: k; source: s.
    """

    field: str
    carried: Expression
    speed: Expression
    spread: Expression
    diffusivity: Expression
    source: Expression


@solvers.register("shock_capturing")
class ShockCapturing(GridSolver):
    """Scalar conservation laws on an interval, straight from the problem's equation, through jumps and shocks.

        d/dt ū_i = −(F_{i+½} − F_{i−½})/h,   F = ½(f(u⁻) + f(u⁺)) − ½ max |f′| (u⁺ − u⁻) − k ∂x u

    u⁻ and u⁺ are linear in the cells on both sides of a face with monotonised central slopes; time steps are Heun's,
    which keep total variation where steps of Euler do. What leaves a cell enters the next, to rounding; nothing
    overshoots. Second order where the solution is smooth, in the mean (L1) about first order where it jumps. Diffusion
    is explicit, and costs steps of h²: where it rules, take `FiniteVolume`.

    Args:
        resolution: cells.
        courant: of max |f′| τ/h + 4 max k τ/h², at most ½.
        max_substeps: between two requested times.

    Source: A. Kurganov, E. Tadmor, J. Comput. Phys. 160, 241 (2000); S. Gottlieb, C.-W. Shu, Math. Comp. 67, 73 (1998).
    """

    name = "shock_capturing"

    def __init__(self, resolution: int | tuple[int] = 200, courant: float = 0.4, max_substeps: int = 1_000_000):
        self.resolution = cell_counts(self.name, resolution, 4)
        if not is_number(courant) or not 0 < courant <= 0.5:
            raise InputError(f"{self.name}: courant is {courant!r}, expected a number in (0, 0.5]")
        if not is_whole(max_substeps) or max_substeps < 1:
            raise InputError(f"{self.name}: max_substeps is {max_substeps!r}, expected an integer from 1 on")
        self.courant, self.max_substeps = float(courant), int(max_substeps)

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        if len(counts) != 1:
            raise InputError(f"{cls.name}: resolution is {counts}, expected one count")
        return cls(counts[0], **options)

    @property
    def settings(self) -> dict[str, Any]:
        return {"resolution": self.resolution, "courant": self.courant}

    def supports(self, problem: PDEProblem) -> bool:
        return _law(problem) is not None

    def is_reference(self, problem: Problem) -> bool:
        """Where solutions jump and nothing smooths them; else central fluxes are more accurate."""
        law = _law(problem)
        return law is not None and law.diffusivity == ZERO and problem.jumps

    def grid(self, case: Case) -> Grid:
        if not isinstance(case.geometry, Box) or case.geometry.dimensions != 1:
            raise InputError(f"{self.name}: the geometry is a {type(case.geometry).__name__}, expected an interval")
        for boundary, conditions in case.boundary_conditions.items():
            if any(isinstance(c, Flux) for c in conditions.values()):
                raise InputError(f"{self.name}: {boundary}: a Flux is given, expected values or slopes of the field")
        return Grid.uniform(case.geometry, self.resolution)

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, Any]]:
        starts = [None] * len(cases) if begins is None else begins
        return [self._run(case, t, b) for case, t, b in zip(cases, times, starts, strict=True)]

    def _run(self, case: Case, times: np.ndarray, begin: Begin | None) -> dict[str, Any]:
        cells = _Cells(case, self.grid(case))
        name = cells.law.field
        begun = begin or Begin(beginning(case, cells.grid, (name,)), 0.0)
        q, t = np.array(begun.state[name], dtype=np.float64), float(begun.time)
        values, rates = (np.full((len(times), *q.shape), np.nan) for _ in range(2))
        counts, reached, well = np.zeros(len(times), int), np.full(len(times), t), True
        for k, end in enumerate(times):
            while well and t < end:
                first, limit = cells.rate(q, t)
                left = end - t
                steps = np.ceil(left * limit / self.courant) if np.isfinite(limit) else np.inf
                if steps > self.max_substeps - counts[k]:  # also where values are not finite
                    well = False
                    counts[k] = self.max_substeps if np.isfinite(limit) else counts[k]
                    break
                last = steps <= 1
                tau = left / max(steps, 1.0)
                ahead = end if last else t + tau
                middle = q + tau * first
                q = (q + middle + tau * cells.rate(middle, ahead)[0]) / 2
                t, counts[k] = ahead, counts[k] + 1
            reached[k:] = t
            if not well or not np.isfinite(q).all():
                break
            values[k], rates[k] = q, cells.rate(q, t)[0]
        return {name: values, f"{name}_tendency": rates, "substeps": counts, "reached": reached}

    def begin(self, start: Start) -> Begin:
        name = start.case.problem.fields[0].name
        return Begin({name: start.support.onto(self.given(start)[name], self.grid(start.case))}, start.time)

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, np.ndarray]) -> xarray.Dataset:
        from sciml.data import solution

        assert times is not None
        count, status = self.outcome(case, times, found, "a smaller courant number may help")
        grid, name = self.grid(case), case.problem.fields[0].name
        fields = {n: (("time", "x"), found[n][:count]) for n in (name, f"{name}_tendency")}
        return solution(
            case, times[:count], fields, {"x": grid.centres[0]}, solver=self.name, settings=self.settings,
            status=status, attrs={"substeps": int(found["substeps"].sum())},
        )  # fmt: skip


def _law(problem: Problem) -> _Law | None:
    """The equation in parts, if it is a scalar conservation law in one dimension that needs no inputs."""
    balances = list(problem.balances().values())
    if problem.steady or problem.dimensions != 1 or len(problem.fields) != 1 or len(balances) != 1:
        return None
    rows, field = balances[0].components(), Field(problem.fields[0].name)
    if len(rows) != 1 or rows[0][0] != field:
        return None
    ((_, (flux,), source),) = rows
    carried = without_gradients(flux)
    whole = expanded(flux, 1)
    diffusivity = tangent(whole, (field.name,), 1).get((field.name, 1), ZERO)
    orders = [e for e in leaves(whole) if not isinstance(e, Field)]
    if any(isinstance(e, Input | Rate) for e in (*orders, *leaves(expanded(source, 1)))):
        return None
    # the flux has to be affine in ∂x u, and of first order
    if any(getattr(e, "order", 0) > 1 for e in orders) or any(getattr(e, "order", 0) for e in leaves(diffusivity)):
        return None
    if any(getattr(e, "order", 0) for e in leaves(expanded(source, 1))):
        return None
    return _Law(field.name, carried, slope(carried, field), flux, -1.0 * diffusivity, source)


class _Cells:
    """The tendencies of one case."""

    def __init__(self, case: Case, grid: Grid):
        law = _law(case.problem)
        assert law is not None
        self.case, self.grid, self.law = case, grid, law
        self.width, self.periodic = float(grid.widths[0][0]), bool(grid.periodic[0])
        self.conditions = case.boundary_conditions

    def lattice(self, q: np.ndarray, time: float) -> Any:
        return provider.lattice(
            self.grid, {self.law.field: q}, parameters=self.case.parameters, time=time, boundary=self.conditions
        )

    def fluxes(self, q: np.ndarray, time: float) -> tuple[np.ndarray, float]:
        """Those through all faces along x, (N + 1,), and 1/τ of the time step that they bear."""
        law, h = self.law, self.width
        left, right = self.states(q, time)
        speeds = [self.on_faces(law.speed, u, time) for u in (left, right)]
        speed = np.maximum(np.abs(speeds[0]), np.abs(speeds[1]))
        found = (self.on_faces(law.carried, left, time) + self.on_faces(law.carried, right, time)) / 2
        found = found - speed * (right - left) / 2
        limit = float(speed.max()) / h
        if law.diffusivity != ZERO:
            lattice = self.lattice(q, time)
            found = found + lattice._as_faces(lattice.faces(law.spread, 0) - lattice.faces(law.carried, 0), 0)
            spread = (self.on_faces(law.diffusivity, u, time) for u in (left, right))
            limit += 4 * max(float(np.abs(k).max()) for k in spread) / h**2
        return found, limit

    def rate(self, q: np.ndarray, time: float) -> tuple[np.ndarray, float]:
        flux, limit = self.fluxes(q, time)
        source = 0.0 if self.law.source == ZERO else self.lattice(q, time).cells(self.law.source)
        return source - np.diff(flux) / self.width, limit

    def on_faces(self, e: Expression, values: np.ndarray, time: float) -> np.ndarray:
        """An expression of the field alone, where its values on faces are these."""
        lattice = self.lattice(np.zeros(self.grid.shape), time)
        lattice.hold(self.law.field, 0, values)
        return np.broadcast_to(np.asarray(lattice.faces(e, 0), dtype=np.float64), values.shape)

    def states(self, q: np.ndarray, time: float) -> tuple[np.ndarray, np.ndarray]:
        """u⁻ and u⁺ on all faces."""
        if self.periodic:
            rises = np.diff(np.concatenate([q[-1:], q, q[:1]]))
            half = monotonised(rises[:-1], rises[1:]) / 2
            left, right = q + half, q - half
            return np.concatenate([left[-1:], left]), np.concatenate([right, right[:1]])
        ends = [self.given(end, time) for end in ("x_min", "x_max")]
        # towards a value that is given it is half a cell
        rises = np.concatenate([
            [0.0 if ends[0] is None else 2 * (q[0] - ends[0])], np.diff(q),
            [0.0 if ends[1] is None else 2 * (ends[1] - q[-1])],
        ])  # fmt: skip
        half = monotonised(rises[:-1], rises[1:]) / 2
        left, right = q + half, q - half
        first = right[:1] if ends[0] is None else np.array([ends[0]])
        last = left[-1:] if ends[1] is None else np.array([ends[1]])
        return np.concatenate([first, left]), np.concatenate([right, last])

    def given(self, end: str, time: float) -> float | None:
        condition = self.conditions.get(end, {}).get(self.law.field)
        if condition is None or not condition.given:
            return None
        return float(np.ravel(condition.at(time, self.grid.side_points(0, int(end == "x_max"))))[0])


def monotonised(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The monotonised central slope of the rises on both sides: 0 where their signs differ."""
    size = np.minimum(np.abs(a + b) / 2, 2 * np.minimum(np.abs(a), np.abs(b)))
    return np.where(a * b > 0, np.sign(a) * size, 0.0)
