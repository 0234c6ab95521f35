"""Finite elements on meshes that are moved to where the solution needs them."""

from __future__ import annotations

import functools
import inspect
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float

from sciml._json import plain
from sciml.errors import InputError, SolverError, suggest
from sciml.geometry import AXES
from sciml.meshing._settings import check_steps
from sciml.meshing._told import checked_density, monitor_told, mover_told, short
from sciml.meshing._walk import Walk
from sciml.meshing.elastic import Elastic
from sciml.meshing.monitors import hessian
from sciml.meshing.mover import Info, MeshMover
from sciml.problem import Case, Problem
from sciml.registry import solvers
from sciml.solver import Start
from sciml.solvers._fe_space import Space, oriented
from sciml.solvers._numerical import Begin, NumericalSolver
from sciml.solvers._titles import title
from sciml.solvers.finite_elements import KEPT, FiniteElements
from sciml.support import Mesh

if TYPE_CHECKING:
    import xarray

    from sciml.solvers.linear.discretisation import Discretisation

KINDS = {1: "line", 2: "triangle"}
SECONDS = ("seconds", "monitor_seconds")
OWN = ("mover", "monitor", "rounds", "field")


@solvers.register("adaptive_finite_elements")
class AdaptiveFiniteElements(NumericalSolver):
    """Finite elements for steady problems on lines and triangles: solve, say where cells should be small, move, solve
    again.

    In each round the monitor of the last solution moves the mesh as it was at first, on which the case is then solved
    anew. Nodes on straight pieces of the boundary slide along them; those where it turns or is curved, and those
    between two named boundaries, stay. Answers are those of `FiniteElements` on the moved mesh; their attribute
    `moves_json` says how each move went. A case that carries a `Mesh` has that one moved; inputs at its nodes are then
    read off at the new ones.

    Args:
        mover: what moves the nodes; None for `Elastic()`.
        monitor: (points, cells, values at the nodes) -> m > 0 at the nodes, such as `sciml.meshing.hessian`.
        rounds: how often the mesh is moved.
        field: the one that the monitor looks at; None for the problem's first.
        settings: of `FiniteElements`: `resolution`, `order`, ...

    Raises:
        InputError: settings out of range; for a case what `FiniteElements` and the mover refuse.
    """

    name = "adaptive_finite_elements"

    def __init__(
        self,
        mover: MeshMover | None = None,
        monitor: Callable[..., Any] = hessian,
        rounds: int = 1,
        field: str | None = None,
        **settings: Any,
    ):
        if mover is not None and not isinstance(mover, MeshMover):
            raise InputError(f"{self.name}: mover is {mover!r:.80}, expected a mover such as Elastic()")
        if not callable(monitor):
            raise InputError(f"{self.name}: monitor is {monitor!r:.80}, expected a function such as hessian")
        if field is not None and not isinstance(field, str):
            raise InputError(f"{self.name}: field is {field!r:.80}, expected the name of a field or None")
        check_steps(self.name, rounds=rounds)
        known = inspect.signature(FiniteElements).parameters
        for key in settings:
            if key not in known:
                raise InputError(f"{self.name}: no setting is called {key!r}{suggest(key, (*OWN, *known))}")
        self.mover, self.monitor = mover or Elastic(), monitor
        self.rounds, self.field = int(rounds), field
        self.elements = FiniteElements(**settings)
        self.max_substeps = self.elements.max_substeps
        self._moved: OrderedDict[int, tuple[Case, Any, Case, list[Info]]] = OrderedDict()

    @classmethod
    def on(cls, counts: tuple[int, ...], dtype: str = "float32", tendencies: bool = False, **options: Any) -> Self:
        return cls(resolution=FiniteElements.on(counts, dtype, tendencies).resolution, **options)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "mover": mover_told(self.mover), "monitor": monitor_told(self.monitor),
            "rounds": self.rounds, "field": self.field, **self.elements.settings,
        }  # fmt: skip

    def __repr__(self) -> str:
        return short(self)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_moved": OrderedDict()}

    def answers(self, problem: Problem) -> tuple[str, ...]:
        return self.elements.answers(problem)

    def supports(self, problem: Problem) -> bool:
        return problem.steady and problem.dimensions in KINDS and self.elements.supports(problem)

    # -- meshes -------------------------------------------------------------------------------------------------

    def grid(self, case: Case) -> Mesh:
        """The moved mesh."""
        return self.elements.grid(self.adapted(case)[0])

    def adapted(self, case: Case) -> tuple[Case, list[Info]]:
        """A case on its moved mesh, and how each move went; those of the last cases are kept.

        Where a solution on the way fails, the case on the last mesh that there was.

        Raises:
            InputError: a field that the problem does not have, or a mesh or monitor that the mover does not take.
        """
        # what decides the mesh: a mover may have been trained, or another one put in, since a case was last asked for
        state = self.mover, self.monitor, json.dumps(plain(self.settings), sort_keys=True)
        kept = self._moved.get(id(case))
        if kept is not None and kept[0] is case and kept[1] == state:
            return kept[2], kept[3]
        found, infos = self._adapt(case)
        self._moved[id(case)] = case, state, found, infos
        while len(self._moved) > KEPT:
            self._moved.popitem(last=False)
        return found, infos

    def _adapt(self, case: Case) -> tuple[Case, list[Info]]:
        field = self._field(case)
        space = self.elements.space(case)
        points = np.asarray(space.support.position, np.float64)
        kind = KINDS[space.dimensions]
        cells = oriented(points, space.support.simplices(), kind).cells[kind]
        first, held = Mesh(points, {kind: cells}), _between(space)
        given, infos = case, []
        for _ in range(self.rounds):
            (found,) = self.elements.run([given], [np.zeros(1)])
            if found["status"] != "ok":
                return given, infos
            now = np.asarray(self.elements.grid(given).position, np.float64)
            try:
                m: Any = checked_density(self.monitor(now, cells, found[field][0]), len(now))
                if now is not points and not np.array_equal(now, points):
                    m = functools.partial(Walk(now, cells).sample, m)
                moved, info = self.mover.move(points, cells, held, monitor=m)
            except InputError as error:
                raise InputError(f"{self.name}: {title(case)}: {error}") from None
            infos.append(info)
            given = _with_inputs(case, first, Mesh(moved, {kind: cells}))
        return given, infos

    def _field(self, case: Case) -> str:
        names = self.names(case)
        if self.field is None:
            return names[0]
        if self.field not in names:
            raise InputError(
                f"{self.name}: {case.problem.name} has no field {self.field!r}{suggest(self.field, names)}"
            )
        return self.field

    def portions(self, cases: Sequence[Case], times: Sequence[np.ndarray | None]) -> list[tuple[int, ...]]:
        for case in cases:
            self._field(case)
        return self.elements.portions(cases, times)

    # -- answers ------------------------------------------------------------------------------------------------

    def run(
        self, cases: Sequence[Case], times: Sequence[np.ndarray], begins: Sequence[Begin] | None = None
    ) -> list[dict[str, Any]]:
        return self.elements.run([self.adapted(case)[0] for case in cases], times, begins)

    def begin(self, start: Start) -> Begin:
        raise SolverError(f"{self.name}: {start.case.problem.name} is steady; use solve")

    def label(self, case: Case, times: np.ndarray | None, found: Mapping[str, Any]) -> xarray.Dataset:
        return self._told_of(case, self.elements.label(self.adapted(case)[0], times, found))

    def _at(self, case: Case, times: np.ndarray | None, points: np.ndarray) -> xarray.Dataset:
        return self._told_of(case, self.elements._at(self.adapted(case)[0], times, points))

    def _outside(self, case: Case, points: np.ndarray) -> np.ndarray:
        return self.elements._outside(case, points)

    def _told_of(self, case: Case, found: xarray.Dataset) -> xarray.Dataset:
        moves = [{k: v for k, v in asdict(i).items() if k not in SECONDS} for i in self.adapted(case)[1]]
        return found.assign_attrs(
            solver=self.name, settings=json.dumps(plain(self.settings), sort_keys=True),
            moves_json=json.dumps(plain(moves), sort_keys=True),
        )  # fmt: skip

    def gradients(
        self, case: Case, points: Float[np.ndarray, "point dimension"], times: Any = None
    ) -> dict[str, Float[np.ndarray, "*time dimension point"]]:
        """The gradients of the fields at points; see `FiniteElements.gradients`."""
        self.require(case)
        return self.elements.gradients(self.adapted(case)[0], points, times)

    def _linear(self, case: Case, begin: Begin | None) -> Discretisation:
        return self.elements._linear(self.adapted(case)[0], begin)


def _between(space: Space) -> np.ndarray:
    """Nodes at which two named boundaries meet, which would change their places if these nodes moved."""
    names = [np.unique(space.mesh.facets[:, facets]) for facets in space.facets.values()]
    nodes, count = np.unique(np.concatenate(names), return_counts=True)
    return nodes[count > 1]


def _with_inputs(case: Case, mesh: Mesh, moved: Mesh) -> Case:
    """A case on a moved mesh; what is given at the nodes is read off at their new places."""
    axes = AXES[: case.problem.dimensions][::-1]
    inputs = dict(case.inputs)
    for spec in case.problem.inputs:
        values = inputs.get(spec.name)
        if isinstance(values, np.ndarray) and values.shape == (mesh.size,) and spec.dims != axes and not spec.at:
            inputs[spec.name] = mesh.sample(values, moved.position)
    return Case(case.problem, dict(case.parameters), inputs, case.label, case.subset, case.extents, moved)
