"""What moves the nodes of a mesh."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float

from sciml.errors import InputError
from sciml.geometry import Geometry
from sciml.meshing._checked import checked_mesh, checked_monitor, checked_nodes
from sciml.meshing._simplices import Cells, Points, contents, spread
from sciml.meshing._sliding import Sliding
from sciml.meshing._walk import Walk
from sciml.meshing.monitors import hessian
from sciml.support import Mesh

LEAST = 1e-3  # of a cell's content that must be left after a step
HALVINGS = 60

#: m at points, or its values at the nodes of the mesh as it is before
Monitor = Callable[[np.ndarray], np.ndarray] | np.ndarray


@dataclass(frozen=True)
class Proposal:
    """Where a mover would have the nodes.

    Args:
        points: (N, D).
        iterations: that it took.
        residual: its own measure of how far it is from what it solves; NaN where there is none.
        converged: whether that is within its tolerance.
    """

    points: Points
    iterations: int = 0
    residual: float = float("nan")
    converged: bool = True


@dataclass(frozen=True)
class Info:
    """How a move went.

    Args:
        least_ratio: the least content of a cell over its content before; above 0.
        least_content, most_content: of cells, after.
        equidistribution: standard deviation over mean of ∫ m over cells, m linear between the nodes, after.
        equidistribution_before: the same before.
        volume_ratio: largest over smallest of these integrals, after.
        iterations, residual, converged: of the mover.
        safeguard: the share of the way to the mover's own nodes that was gone; 1 where it turned no cell over.
        inverted: how many cells the mover itself had turned over or flattened.
        seconds: of the move, monitor included.
        monitor_seconds: of asking the monitor.
    """

    least_ratio: float
    least_content: float
    most_content: float
    equidistribution: float
    equidistribution_before: float
    volume_ratio: float
    iterations: int
    residual: float
    converged: bool
    safeguard: float
    inverted: int
    seconds: float
    monitor_seconds: float


class Domain:
    """A mesh that is to be moved, and its monitor.

    Attributes:
        points, cells, sliding: as they are.
        first: m at the nodes.
        unit: the mean that m is taken over.
        seconds: spent in the monitor so far.
    """

    def __init__(self, points: Points, cells: Cells, sliding: Sliding, monitor: Monitor):
        self.points, self.cells, self.sliding = points, cells, sliding
        self._monitor, self.seconds, self.unit = monitor, 0.0, 1.0
        self._walk: Walk | None = None
        first = self.monitor(points)
        size, top = contents(points, cells), float(first.max())
        self.unit = top * float((first / top)[cells].mean(1) @ size / size.sum())
        self.first = first / self.unit

    def monitor(self, points: Points) -> Float[np.ndarray, " point"]:
        """m over its mean on the mesh as it was, at the places of the nodes, or of a function anywhere.

        Raises:
            InputError: values that are not positive and finite, or too few.
        """
        began = time.perf_counter()
        given: Any = self._monitor
        if callable(given):
            found = np.array(given(points.copy()))  # the function may write on its points, and on what it gave before
        elif points is self.points:
            found = given
        else:
            if self._walk is None:
                self._walk = Walk(self.points, self.cells)
            found = self._walk.sample(given, points)
        self.seconds += time.perf_counter() - began
        return checked_monitor(found, len(points)) / self.unit


class MeshMover(ABC):
    """Abstract: gives the nodes of intervals or triangles new places.

    What `_propose` gives is never taken as it is: nodes on the boundary are put back on their piece of it, a straight
    one or a circle that is known, and of the way there only so much is gone, 1, ½, ¼, ..., that every cell keeps a
    thousandth of its content and its orientation. This ends in any case, as a valid mesh is where it starts from.
    """

    name: str

    @final
    def move(
        self,
        points: Any,
        cells: Any,
        boundary: Sequence[int] | np.ndarray | None = None,
        *,
        monitor: Any = None,
        field: Any = None,
        geometry: Geometry | None = None,
    ) -> tuple[Points, Info]:
        """New places of the nodes.

        Args:
            points: (N, D), D = 1 or 2.
            cells: (C, D + 1) node numbers; triangles anticlockwise, intervals from left to right.
            boundary: nodes that stay beside the corners, which are found; None for no more.
            monitor: m > 0, the wanted density of nodes up to a factor: a function of points, or values at the nodes.
            field: u in place of a monitor: values at the nodes, or a function of points; m is then `hessian` of it.
            geometry: the region of the plane that the mesh fills, so that nodes on its arcs slide along these, and the
                area that straight sides cut off changes a little; None: nodes stay where the boundary is not straight.

        Returns:
            (points, info); the arguments are left as they are.

        Raises:
            InputError: a mesh with inverted or overlapping cells, hanging nodes or an open boundary, or not of this
                geometry; a monitor that is not positive.
        """
        began = time.perf_counter()
        places, numbers = checked_mesh(points, cells)
        held = None if boundary is None else checked_nodes(boundary, len(places))
        if (monitor is None) == (field is None):
            raise InputError(
                f"{self.name}: expected a monitor or a field, got {'neither' if field is None else 'both'}"
            )
        if field is not None:
            monitor = hessian(places, numbers, field(places.copy()) if callable(field) else field)
        if geometry is not None and not isinstance(geometry, Geometry):
            raise InputError(f"{self.name}: geometry is {geometry!r:.60}, expected a Geometry such as Box or Disc")
        given: Any = monitor if callable(monitor) else checked_monitor(monitor, len(places))
        domain = Domain(places, numbers, Sliding.of(places, numbers, held, geometry), given)
        before = domain.first
        proposal = self._propose(domain)
        old, step = contents(places, numbers), proposal.points - places
        step = domain.sliding.projected(np.where(np.isfinite(step).all(1, keepdims=True), step, 0.0))
        inverted = int((contents(domain.sliding.moved(places, step), numbers) <= 0).sum())
        share = 1.0
        for _ in range(HALVINGS):
            found = domain.sliding.moved(places, share * step)
            new = contents(found, numbers)
            if (new >= LEAST * old).all():
                break
            share /= 2
        else:
            share, found, new = 0.0, places.copy(), old
        m = domain.monitor(found)
        portions, earlier = m[numbers].mean(1) * new, before[numbers].mean(1) * old
        return found, Info(
            float((new / old).min()), float(new.min()), float(new.max()), spread(portions), spread(earlier),
            float(portions.max() / portions.min()), proposal.iterations, proposal.residual, proposal.converged, share,
            inverted, time.perf_counter() - began, domain.seconds,
        )  # fmt: skip

    @final
    def moved(
        self,
        mesh: Mesh,
        boundary: Sequence[int] | np.ndarray | None = None,
        *,
        monitor: Any = None,
        field: Any = None,
        geometry: Geometry | None = None,
    ) -> tuple[Mesh, Info]:
        """`move` from mesh to mesh.

        Raises:
            InputError: cells other than triangles of the plane or intervals of a line; and as `move`.
        """
        if not isinstance(mesh, Mesh):
            raise InputError(f"mesh: expected a Mesh, got {type(mesh).__name__}; `move` takes points and cells")
        kind, kinds = ("line", "triangle")[mesh.dimensions == 2], [k for k, c in mesh.cells.items() if len(c)]
        if mesh.dimensions > 2:
            raise InputError(f"mesh: expected a mesh of a line or of the plane, got one in {mesh.dimensions}-D")
        if mesh.dimensions == 2 and kinds == ["line", kind]:  # lines are the boundary that Gmsh marks
            kinds = [kind]
        if kinds != [kind]:
            hint = "; Mesh(mesh.position, {'triangle': mesh.simplices()}) has them cut" if mesh.dimensions == 2 else ""
            raise InputError(f"mesh: expected {kind} cells alone, got {' and '.join(kinds)}{hint}")
        points, info = self.move(
            mesh.points(), mesh.cells[kind], boundary, monitor=monitor, field=field, geometry=geometry
        )
        return Mesh(points, dict(mesh.cells)), info

    def __repr__(self) -> str:
        told = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if isinstance(v, bool | int | float | str | None))
        return f"{type(self).__name__}({told})"

    @abstractmethod
    def _propose(self, domain: Domain) -> Proposal:
        """Where the nodes should be; not yet safe."""
