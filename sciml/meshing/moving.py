"""Conservation laws in time on meshes whose nodes follow the solution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np

from sciml.errors import InputError
from sciml.meshing._carried import Law, law_of
from sciml.meshing._checked import checked_mesh
from sciml.meshing._march import March, Motion
from sciml.meshing._settings import check_positive, check_steps, check_whole
from sciml.meshing._told import monitor_told, mover_told, short
from sciml.meshing.monitors import gradient
from sciml.meshing.mover import MeshMover
from sciml.problem import Case, Problem
from sciml.solver import Solver, check_times
from sciml.solvers._fe_space import Space, made_mesh, oriented
from sciml.solvers._titles import title
from sciml.support import Mesh

if TYPE_CHECKING:
    import xarray


def steep(points: Any, cells: Any, field: Any) -> Any:
    """The default monitor: `gradient` with a strength of 10 and a smoothing of 10."""
    return gradient(points, cells, field, strength=10.0, smoothing=10.0)


@final
class MovingMesh(Solver):
    """Scalar balances ∂t u + ∇·(f(u, x, t) − k ∇u) = s in time, on intervals or triangles whose nodes move:

        d/dt ∫ u = −∮ (f − u ẋ − k ∇u)·n + ∫ s    on a control volume around each node, ẋ the velocity of its boundary.

    Finite volumes rather than interpolation from mesh to mesh: what leaves a control volume enters its neighbour, be it
    by the flow or because the face between them moves, so that the mass is kept to rounding; nothing is smeared out by
    an interpolation; and a mesh that goes along with the flow meets a smaller relative velocity. What faces sweep over
    is taken exactly, so that an even state stays even to rounding on any mesh and any motion (for a velocity that
    varies in space if it has a `stream` function). Second order in space (limited linear reconstruction) and time
    (Heun's steps, strong stability preserving, with faces and times halfway); where f has no divergence and there is no
    diffusion, no value leaves the range of those around it. The diffusion of linear elements, explicit: steps of h²/k.

    Every few steps the mover is asked, from the mesh as it was at first, where nodes should be for the monitor of the
    solution, and they go there along straight lines until it is asked again. No cell turns over on the way.

    Problems are taken that have one field with one balance that stores it, and need no inputs, on domains that are not
    periodic, under `Dirichlet`, `Flux` and `Outflow`. It does not go on from given frames.

    Args:
        mover: what moves the nodes; None for a mesh that stays, the same scheme with nothing else.
        monitor: (points, cells, field at the nodes) -> m > 0 at the nodes.
        resolution: sides of cells along the longest extent; a case that carries a `Mesh` is solved on that one, cells
            that run clockwise turned and quadrilaterals cut.
        every: steps from one move to the next; more where nodes have a long way to go.
        courant: in (0, 1]; of τ (Σ over the faces of a control volume |f′ − ẋ|·n + diffusion)/V, at most 1 of which
            keeps the range of values.
        first: moves at the start, each with the exact beginning on the mesh as it then is.
        max_substeps: between two requested times.

    Raises:
        InputError: settings out of range.

    Source: scheme after R. Löhner, Applied CFD Techniques, 2nd ed. (2008), chapters 10 and 12; space conservation law
    after M. Lesoinne, C. Farhat, Comput. Methods Appl. Mech. Eng. 134, 71 (1996).
    """

    name = "moving_mesh"

    def __init__(
        self,
        mover: MeshMover | None = None,
        monitor: Callable[..., Any] = steep,
        resolution: int = 32,
        every: int = 5,
        courant: float = 0.8,
        first: int = 3,
        max_substeps: int = 1_000_000,
    ):
        if mover is not None and not isinstance(mover, MeshMover):
            raise InputError(f"{self.name}: mover is {mover!r:.60}, expected one such as MongeAmpere(), or None")
        if not callable(monitor):
            raise InputError(
                f"{self.name}: monitor is {monitor!r:.60}, expected a function of points, cells and the field"
            )
        check_steps(self.name, resolution=resolution, every=every, max_substeps=max_substeps)
        check_positive(self.name, courant=courant)
        if courant > 1:
            raise InputError(f"{self.name}: courant is {courant!r}, expected a number in (0, 1]")
        check_whole(self.name, first=first)
        self.mover, self.monitor, self.resolution = mover, monitor, int(resolution)
        self.every, self.courant, self.first = int(every), float(courant), int(first)
        self.max_substeps = int(max_substeps)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "mover": mover_told(self.mover), "monitor": monitor_told(self.monitor), "resolution": self.resolution,
            "every": self.every, "courant": self.courant, "first": self.first, "max_substeps": self.max_substeps,
        }  # fmt: skip

    def __repr__(self) -> str:
        return short(self)

    def supports(self, problem: Problem) -> bool:
        return isinstance(law_of(problem), Law)

    def require(self, case: Case) -> None:
        if isinstance(case, Case):
            why = law_of(case.problem)
            if isinstance(why, str):
                raise InputError(f"{self.name}: cannot solve the problem {case.problem.name!r}: {why}")
        super().require(case)

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        for case in cases:
            self.mesh(case)
        return super().portions(cases, times)

    def mesh(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """(N, D) nodes and (C, D + 1) cells as they are at first.

        Raises:
            InputError: a periodic domain, or a mesh that is none of the domain.
        """
        if any(case.geometry.periodic):
            raise InputError(f"{self.name}: {title(case)}: its domain is periodic, expected one that is not")
        kind = "line" if case.problem.dimensions == 1 else "triangle"
        try:
            mesh = case.support if isinstance(case.support, Mesh) else made_mesh(case.geometry, self.resolution)
            Space(mesh, case.geometry, 1)  # refuses what is no mesh of the domain
            points = np.asarray(mesh.position, np.float64)
            return checked_mesh(points, oriented(points, mesh.simplices(), kind).cells[kind])
        except InputError as error:
            raise InputError(f"{self.name}: {title(case)}: {error}") from None

    def simulate(self, case: Case, times: Any) -> Motion:
        """The bare arrays of a solution, and what it took.

        Raises:
            InputError: the request cannot be met as given.
        """
        self.require(case)
        asked = check_times(case.problem, times)
        assert asked is not None
        points, cells = self.mesh(case)
        march = March(case, points, cells, self.mover, self.monitor, self.every, self.courant, self.first)
        frames: list[tuple[np.ndarray, np.ndarray, float]] = []
        failure = ""
        for end in asked:
            for goal in sorted({b for b in case.problem.breaks(case) if march.time < b < end} | {float(end)}):
                failure = failure or march.to(goal, self.max_substeps)
            if failure:
                failure = f"{failure} at t = {march.time:.6g}"
                break
            frames.append((march.x, march.u, march.mass))
        count = len(frames)
        return Motion(
            asked[:count], np.array([f[0] for f in frames]).reshape(count, *points.shape), cells,
            np.array([f[1] for f in frames]).reshape(count, len(points)), np.array([f[2] for f in frames]), failure,
            march.tally,
        )  # fmt: skip

    def _solve(self, case: Case, times: np.ndarray | None) -> xarray.Dataset:
        from sciml.data import solution

        found, name = self.simulate(case, times), case.problem.fields[0].name
        kind = "line" if case.problem.dimensions == 1 else "triangle"
        status = f"{self.name}: {title(case)}: {found.failure}" if found.failure else "ok"
        return solution(
            case, found.times, {name: (("time", "node"), found.values)},
            {axis: found.points[:, :, k] for k, axis in zip(range(found.points.shape[2]), "xyz", strict=False)},
            connectivity={kind: found.cells}, solver=self.name, settings=self.settings, status=status,
            attrs={"substeps": found.tally.steps, "moves": found.tally.moves,
                   "least_ratio": found.tally.least_ratio},
        )  # fmt: skip
