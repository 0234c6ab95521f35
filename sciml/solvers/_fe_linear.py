"""Linear systems of finite elements: the matrix over the free coefficients."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.boundary import Dirichlet
from sciml.errors import InputError
from sciml.problem import Case
from sciml.solvers._asked import Listener, first_request
from sciml.solvers._fe_stepper import METHODS, Past, Steps, Theta
from sciml.solvers._numerical import Begin
from sciml.solvers._weak_form import System, _values
from sciml.solvers.linear import MatrixSystem
from sciml.solvers.linear.discretisation import Discretisation, Given
from sciml.support import Points

if TYPE_CHECKING:
    from sciml.solvers.finite_elements import FiniteElements

LEVEL = 1e-11  # of the matrix's largest entry: what it makes of a motion that it does not see


def linear_system(solver: FiniteElements, case: Case, begin: Begin | None) -> Discretisation:
    """The system of a steady problem, or of the first stage of a step from `begin`.

    Raises:
        InputError: an equation that is not linear, or nothing that is not given.
    """
    form = solver.system(case)
    if not form.linear:
        raise InputError(
            f"{solver.name}: {case.problem.name}: its equation is not linear in {', '.join(form.fields)}, expected one "
            "that is; use solve, which is Newton's method"
        )
    if not form.free.any():
        raise InputError(f"{solver.name}: {case.problem.name}: everything is given, expected unknowns; refine the mesh")
    state, time, mass, factor, known = first_request(lambda: _asks(solver, case, form, begin))
    base = np.where(form.fixed, state, 0.0)
    matrix, rhs = form.matrix(base, time, mass, factor), -form.residual(base, time, mass, factor, known)
    if matrix.diagonal().max() < 0:  # the same equations, signed as solvers take them
        matrix, rhs = -matrix, -rhs
    nodes = np.tile(form.space.nodes, (len(form.fields), 1))[form.free]
    null = _unseen(matrix, form)
    system = MatrixSystem(matrix, null, Points(nodes))

    def answer(x: np.ndarray, status: str) -> Any:
        values = np.array(base)
        values.reshape(-1)[form.free] = x
        found: dict[str, Any] = {f"{n}_dofs": v[None] for n, v in zip(form.fields, values, strict=True)}
        found |= {n: v[None, form.space.vertices] for n, v in zip(form.fields, values, strict=True)}
        times = None if case.problem.steady else np.array([time])
        return solver.label(case, times, found | {"status": status})

    return Discretisation(case, system, rhs, form.space.support, form.fields, _given(form, time), answer)


def _asks(solver: FiniteElements, case: Case, form: System, begin: Begin | None) -> None:
    listener: Any = Listener(form)
    if case.problem.steady:
        solver._steady(form, listener)
        return
    begun = begin or solver._beginning(case, form)
    size = solver.step_size(case)
    stepper = METHODS[solver.method](listener, Steps(np.array([begun.time]), np.array([size])))
    if isinstance(stepper, Theta):
        stepper.theta = solver.theta
    state = np.stack([np.asarray(begun.state[f"{n}_dofs"], np.float64) for n in form.fields])
    stepper.advance(Past(state, np.zeros_like(state), np.zeros(())), begun.time, size)


def _unseen(matrix: Any, form: System) -> np.ndarray | None:
    """(n, k) the constants of fields, and the turns of a displacement, that the matrix takes to zero; None without."""
    count, (nodes, d) = len(form.fields), form.space.nodes.shape
    motions = []
    for i in range(count):
        shift = np.zeros((count, nodes))
        shift[i] = 1
        motions.append(shift)
    if count == d > 1:
        at = form.space.nodes - form.space.nodes.mean(0)
        for i, j in itertools.combinations(range(d), 2):
            turn = np.zeros((count, nodes))
            turn[i], turn[j] = -at[:, j], at[:, i]
            motions.append(turn / np.abs(turn).max())
    found, size = [], abs(matrix).max()
    for motion in motions:
        if not motion.ravel()[~form.free].any():
            column = motion.ravel()[form.free]
            if np.abs(matrix @ column).max() <= LEVEL * size:
                found.append(column)
    return np.stack(found, axis=1) if found else None


def _given(form: System, time: float) -> tuple[Given, ...]:
    found = []
    for boundary, conditions in form.conditions.items():
        on = form.space.on(boundary)
        if not len(on):
            continue
        points = form.space.nodes[on]
        for i, name in enumerate(form.fields):
            condition = conditions[name]
            values = np.broadcast_to(_values(form.case, condition, boundary, name, time, points), len(on))
            numbers = on + i * form.space.size if isinstance(condition, Dirichlet) else None
            found.append(Given(boundary, name, type(condition).__name__, points, np.array(values), numbers))
    return tuple(found)
