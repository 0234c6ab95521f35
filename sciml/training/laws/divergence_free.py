"""Velocities that no control volume loses or gains fluid by."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sciml.constraints import DiscreteProjection, Equations, central_divergence, linearise
from sciml.derivatives import numpy as on_arrays
from sciml.errors import InputError, suggest
from sciml.expressions import Balance, Field, expression
from sciml.problem import Case
from sciml.support import Grid, Support
from sciml.training.laws.base import Constraint, Law, moments
from sciml.training.layout import Layout

if TYPE_CHECKING:
    from sciml.training.encoding import Encoding

REACH = 2  # cells that a control volume reads along each axis: values at the sides are extrapolated from two
LARGE = 32**3  # cells of a box in three dimensions beyond which a factorisation takes too much memory


@dataclass(frozen=True)
class DivergenceFree(Constraint):
    """Σ_f v·n A / |V| = 0 of every control volume, as the audit measures it: the nearest such velocity.

        û = ũ − M⁻¹Aᵀ (A M⁻¹Aᵀ)⁺ (A ũ − b)

    with the discrete divergence A, the values b that conditions give through the sides, and volumes M: least change in
    ∫|û − ũ|² dV. A and b are read off the function with which audit and solvers evaluate the balance, so that nothing
    is left but rounding: of 10⁻¹⁶ in models of double precision, of 10⁻⁷ in others. Control volumes beside a body that
    cuts cells have no balance there and are held to their sum: what flows through all sides is zero.

    Of problems without equations, central differences of the fields that are known as a velocity vanish, where all
    neighbours are inside.

    Args:
        balance: which one, where the problem has several that store nothing: one that is linear in the fields.

    Source: A. J. Chorin, Math. Comp. 22, 745 (1968).
    """

    balance: str = "continuity"

    def changes(self, encoding: Encoding) -> tuple[str, ...]:
        e, problem = encoding, encoding.problem
        if e.flat or not isinstance(e.template, Grid):
            raise InputError(
                f"constraints: DivergenceFree needs fields on the cells of a grid, but this operator answers at points "
                f"({e.template!r})"
            )
        known = problem.balances()
        if not known:
            velocity = problem.velocity
            if len(velocity) != e.template.dimensions:
                raise InputError(
                    f"constraints: DivergenceFree: {problem.name} has neither equations nor fields that are known as a "
                    f"velocity in {e.template.dimensions} dimensions"
                )
        else:
            velocity = _flux(problem.name, self.balance, known)
        missing = [n for n in velocity if n not in e.fields]
        if missing:
            raise InputError(
                f"constraints: DivergenceFree needs {', '.join(missing)}, "
                f"but the operator answers {', '.join(e.fields)}"
            )
        return velocity

    def law(self, encoding: Encoding, case: Case, support: Support) -> Law:
        velocity = self.changes(encoding)
        assert isinstance(support, Grid)
        index = tuple(encoding.fields.index(n) for n in velocity)
        balances = encoding.problem.balances()
        if not balances:

            def central() -> _Free:
                equations = central_divergence(support)
                projection = equations.projection(_factorised(support))
                return _Free(projection, index, torch.from_numpy(equations.target))

            return encoding.kept.get(("central", _place(support)), central)
        volumes = _Volumes(case, support, velocity, balances[self.balance])
        equations, projection = encoding.kept.get(volumes.key, volumes.equations)
        times = moments(encoding, case, [case.boundary_conditions[t.boundary][t.field] for t in volumes.layout.told])
        target = volumes.target(equations, times)

        def held() -> _Free:
            try:
                projection(torch.zeros(projection.shape, dtype=torch.float64), torch.from_numpy(target))
            except InputError:
                raise InputError(volumes.contradiction()) from None
            return _Free(projection, index, torch.from_numpy(target))

        return encoding.kept.get((volumes.key, target.tobytes()), held)


@dataclass(frozen=True, eq=False)
class _Free(Law):
    """A x = b of the components with these numbers."""

    projection: DiscreteProjection
    index: tuple[int, ...]
    target: Tensor

    def to(self, device: Any) -> _Free:
        return replace(self, target=self.target.to(device))

    @property
    def kind(self) -> Hashable:
        return id(self.projection)

    def apply(self, laws: Sequence[_Free], answers: Tensor, before: Tensor | None) -> Tensor:
        target = torch.stack([law.target for law in laws]).to(answers.device)[:, None]
        moved = self.projection(answers[:, :, list(self.index)], target.expand(-1, answers.shape[1], -1))
        parts = [moved[:, :, self.index.index(k)] if k in self.index else answers[:, :, k]
                 for k in range(answers.shape[2])]  # fmt: skip
        return torch.stack(parts, 2)


class _Volumes:
    """The control volumes of one balance in one case, as the audit evaluates them."""

    def __init__(self, case: Case, grid: Grid, velocity: tuple[str, ...], balance: Balance):
        self.case, self.names, self.balance = case, velocity, balance
        self.layout = Layout(case, grid, velocity)
        self.lengths = Layout.lengths(grid) if self.layout.stretches else None
        self.grid = grid if self.lengths is not None else Grid(grid.faces, grid.periodic, self.layout.fluid)
        self.inside = self.layout.fluid
        self.given = self._given(0.0)

    def _given(self, time: float) -> list[np.ndarray]:
        return [t.values(self.case, self.layout.grid if self.lengths is None else self._own, time) for t in
                self.layout.told]  # fmt: skip

    @cached_property
    def _own(self) -> Grid:
        return Grid(self.grid.faces, self.grid.periodic)

    @property
    def key(self) -> Hashable:
        """Equal for cases with the same matrix."""
        told = tuple(
            (t.boundary, t.field, t.axis, t.end, None if t.here is None else t.here.tobytes(),
             self.case.boundary_conditions[t.boundary][t.field].law)
            for t in self.layout.told
        )  # fmt: skip
        return (_place(self.grid), self.inside.tobytes(), told, self.names, repr(self.balance))

    def _lattice(self, x: np.ndarray) -> Any:
        d = self.grid.dimensions
        stretch = None if self.lengths is None else [np.full((1,) * (d + 1), n) for n in self.lengths]
        fields = {name: x[:, k] for k, name in enumerate(self.names)}
        return self.layout.lattice(
            on_arrays, fields, [g[None] for g in self.given], stretch, parameters=self.case.parameters, inputs={},
            rates={n: np.zeros_like(v) for n, v in fields.items()}, time=0.0, order=2,
        )  # fmt: skip

    def _residual(self, x: np.ndarray) -> np.ndarray:
        return self._lattice(x).finite_volume(self.balance)[0]

    def _through(self, x: np.ndarray) -> np.ndarray:
        """What leaves through the sides of the grid, at the cells beside them."""
        lattice, found, volumes = self._lattice(x), np.zeros((len(x), *self.grid.shape)), self._own.volumes()
        for axis, flux in enumerate(self.balance.components()[0][1]):
            if self.grid.periodic[axis]:
                continue
            area = volumes / self.grid.widths[axis].reshape((-1,) + (1,) * axis) * self.inside
            values = np.moveaxis(np.asarray(lattice.faces(flux, axis)), -1 - axis, -1)
            into, areas = np.moveaxis(found, -1 - axis, -1), np.moveaxis(area, -1 - axis, -1)
            into[..., 0] -= values[..., 0] * areas[..., 0]
            into[..., -1] += values[..., -1] * areas[..., -1]
        return found

    def equations(self) -> tuple[Equations, DiscreteProjection]:
        import scipy.sparse

        found = linearise(self._residual, self.grid, len(self.names), REACH)
        if not found.judged[self.inside].all():  # what the cells beside bodies do in sum does not follow from others
            parts = linearise(self._through, self._own, len(self.names), REACH)
            row = parts.matrix.sum(axis=0)[None, :] * np.tile(self.inside.ravel(), len(self.names)) / self._size
            matrix = scipy.sparse.csr_array(scipy.sparse.vstack([found.matrix, scipy.sparse.csr_array(row)]))
            target = np.append(found.target, parts.target.sum() / self._size)
            found = Equations(matrix, target, found.judged, found.shape, found.weights)
        return found, found.projection(_factorised(self.grid))

    @property
    def _size(self) -> float:
        return float(self._own.volumes()[self.inside].sum())

    def target(self, equations: Equations, times: np.ndarray) -> np.ndarray:
        """b for the values of this case's conditions.

        Args:
            times: at which they are compared.

        Raises:
            InputError: it changes in time.
        """
        first, *others = (self._given(t) for t in times)
        found = self._target(equations, first)
        for other in others:
            same = all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
            if not same and not np.array_equal(found, self._target(equations, other)):
                raise InputError(
                    "constraints: DivergenceFree: what flows through a side changes in time here, expected constant "
                    "values"
                )
        return found

    def contradiction(self) -> str:
        """What is wrong with values that no velocity has."""
        zero = np.zeros((1, len(self.names), *self.grid.shape))
        surplus = -float(self._through(zero).sum())
        told = [t for t in self.layout.told if t.field == self.names[t.axis]]
        where = ", ".join(dict.fromkeys(f"{t.field} on {t.boundary}" for t in told))
        return (
            f"constraints: DivergenceFree: no velocity has the values that conditions of {self.case.problem.name} "
            f"give ({where}): by them {surplus:.6g} more flows in than out"
        )

    def _target(self, equations: Equations, given: list[np.ndarray]) -> np.ndarray:
        self.given = given
        zero = np.zeros((1, len(self.names), *self.grid.shape))
        found = -self._residual(np.where(self.inside, zero, np.nan))[0][equations.judged]
        if len(found) == len(equations.target):
            return found
        return np.append(found, -self._through(zero).sum() / self._size)


def _flux(problem: str, name: str, known: dict[str, Balance]) -> tuple[str, ...]:
    """The fields of a balance that stores nothing, in the order of the axes."""
    if name not in known:
        raise InputError(f"constraints: DivergenceFree: {problem} has no balance {name!r}{suggest(name, list(known))}")
    components = known[name].components()
    storage, flux, source = components[0]
    axes = tuple(flux)
    plain = (
        len(components) == 1 and storage is None and source == expression(0.0) and all(type(f) is Field for f in axes)
    )
    if not plain:
        raise InputError(
            f"constraints: DivergenceFree: expected a balance whose flux is a velocity, without storage and source; "
            f"{name!r} of {problem} is none"
        )
    return tuple(f.name for f in axes if isinstance(f, Field))


def _factorised(grid: Grid) -> bool:
    return grid.dimensions < 3 or grid.size <= LARGE


def _place(grid: Grid) -> Hashable:
    inside = grid.inside
    return (tuple(f.tobytes() for f in grid.faces), grid.periodic, None if inside is None else inside.tobytes())
