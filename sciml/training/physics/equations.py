"""The balances of a problem over an operator's answers: what can be held to them, and what a batch needs for that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml._well_posed import required_conditions
from sciml.derivatives import torch as on_tensors
from sciml.errors import InputError, suggest
from sciml.expressions import Balance, Field, Input, leaves
from sciml.problem import Case
from sciml.support import Grid
from sciml.training.devices import move
from sciml.training.encoding import Encoding
from sciml.training.layout import Layout
from sciml.training.norms import spectral_square
from sciml.training.physics.magnitudes import magnitudes

KEPT = 4096  # cases of which what does not change is kept


@dataclass(frozen=True)
class Member:
    """What a case says of its balances once and for all."""

    case: Case
    grid: Grid
    layout: Layout
    parameters: np.ndarray
    inputs: dict[str, np.ndarray]
    magnitudes: dict[str, np.ndarray]
    factors: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Group:
    """The samples of a batch that go through one lattice.

    Args:
        lengths: of the box by axis of the arrays, in units of the length scale of each case, (1, member, 1).
        rows: (member,) their numbers in the batch; None for all of them.
        parameters, inputs: by name, (member, 1, ...) and (member, *shape).
        stretch: lengths by axis, (member, 1, ...), or None.
        times: (member, 1, ..., level) of the frames that take part, beginning with the one that goes in; None where
            there is no time.
        boundary: for each level the values of `Layout.told`.
        multiplier, offset: (member, field, 1, ...) of normalised fields.
        magnitudes: by balance, (component, member, 1, ...).
        weights: by balance, (component, 1, *shape).
    """

    layout: Layout
    lengths: tuple[Tensor, ...]
    rows: Tensor | None
    parameters: dict[str, Tensor]
    inputs: dict[str, Tensor]
    stretch: tuple[Tensor, ...] | None
    times: Tensor | None
    boundary: list[list[Tensor]]
    multiplier: Tensor
    offset: Tensor
    magnitudes: dict[str, Tensor]
    weights: dict[str, Tensor]

    def to(self, device: Any, dtype: Any = None) -> Group:
        return Group(**{n: v if n == "layout" else move(v, device) for n, v in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Supplied:
    """The balances of one batch, in its order: all that their residuals need beside the fields.

    Args:
        equations: which ones, and how they are made discrete.
        ahead: frames that one application answers.
    """

    equations: Equations
    groups: tuple[Group, ...]
    ahead: int

    def to(self, device: Any, dtype: Any = None) -> Supplied:
        return Supplied(self.equations, tuple(g.to(device) for g in self.groups), self.ahead)

    def residuals(
        self, before: Float[Tensor, "batch field *space"] | None, answers: Float[Tensor, "batch ahead field *space"],
        k: int = 0,
    ) -> list[tuple[Group, dict[str, Tensor]]]:  # fmt: skip
        """By balance (component, member, ahead, *shape), in the balance's unit, of each group.

        Args:
            before: the normalised frame from which application number `k` went; None for steady problems.
            answers: the normalised frames that it gave.
        """
        found = []
        for group in self.groups:

            def rows(t: Tensor, g: Group = group) -> Tensor:
                return t if g.rows is None else t[g.rows]

            levels = [] if before is None else [self._physical(group, rows(before))]
            levels += [self._physical(group, a) for a in rows(answers).unbind(1)]
            found.append((group, self._steps(group, levels, k * self.ahead)))
        return found

    def mean_square(
        self, before: Float[Tensor, "batch field *space"] | None, answers: Float[Tensor, "batch ahead field *space"],
        k: int = 0,
    ) -> Float[Tensor, ""]:  # fmt: skip
        """Over control volumes, samples, balances and their components, each in units of its own magnitude."""
        total, rows = 0.0, 0
        for group, residuals in self.residuals(before, answers, k):
            for name, r in residuals.items():
                size, weights = group.magnitudes[name][:, :, None], group.weights[name][:, None]
                square = self._square(group, r / size, weights)  # (component, member, ahead)
                total, rows = total + square.mean(2).sum(), rows + square.shape[0] * square.shape[1]
        assert isinstance(total, Tensor)
        return total / rows

    def _square(self, group: Group, r: Tensor, weights: Tensor) -> Tensor:
        """‖r‖² of each residual, in the norm Σ_k ((1 + L²|k|²) / (1 + L²|k₁|²))^s |r̂_k|², in which the longest wave of
        the box, k₁, counts as it does in the mean square; across walls r goes on as an odd function."""
        order = self.equations.norm
        if order == 0:
            return (weights * r.square()).flatten(3).sum(-1)
        r = torch.where(weights > 0, r, torch.zeros((), dtype=r.dtype, device=r.device))
        lengths, d, around = [], len(group.layout.grid.shape), tuple(reversed(group.layout.grid.periodic))
        for i, (periodic, size) in enumerate(zip(around, group.lengths, strict=True)):
            if not periodic:
                r = torch.cat([r, -r.flip(i - d)], i - d)
            lengths.append((size if periodic else 2 * size).expand(r.shape[0], -1, r.shape[2]).flatten())
        waves = torch.stack([(2 * math.pi / length).square() for length in lengths])
        # between walls no odd function is constant; a periodic axis is waved along only where there is no other
        walls = [i for i, periodic in enumerate(around) if not periodic]
        longest = 1 + (waves[walls].sum(0) if walls else waves.amin(0))
        square = spectral_square(r.flatten(0, 2)[:, None], order, lengths) / longest**order
        return square.reshape(r.shape[:3])

    @staticmethod
    def _physical(group: Group, values: Tensor) -> dict[str, Tensor]:
        values = torch.addcmul(group.offset, values.to(group.multiplier.dtype), group.multiplier)
        return dict(zip(group.layout.fields, values.unbind(1), strict=True))

    def _lattice(self, group: Group, fields: dict[str, Tensor], level: int) -> Any:
        eq = self.equations
        still = {name: torch.zeros_like(v) for name, v in fields.items()}
        return group.layout.lattice(
            on_tensors, fields, group.boundary[level], group.stretch, parameters=group.parameters,
            inputs=group.inputs, rates=still, time=0.0 if group.times is None else group.times[..., level],
            order=eq.order, method=eq.method,
        )  # fmt: skip

    def _steps(self, group: Group, levels: list[dict[str, Tensor]], first: int) -> dict[str, Tensor]:
        """Of steady problems div flux − source; in time, from each frame to the next,

            (S(u₁) − S(u₀))/Δt + θ (div flux − source)(u₁) + (1 − θ)(div flux − source)(u₀)

        and of balances that store nothing what they say of the answer.
        """
        eq, share = self.equations, self.equations.implicit
        lattices = [self._lattice(group, fields, first + j) for j, fields in enumerate(levels)]
        found = {}
        for name, balance in eq.balances.items():
            still = [torch.stack(eq.terms(lattice, balance)) for lattice in lattices]  # (component, member, *shape)
            if group.times is None:
                found[name] = still[0][:, :, None]
                continue
            steps = []
            for j in range(1, len(levels)):
                step, rows = group.times[..., first + j] - group.times[..., first + j - 1], []
                for i, (storage, _, _) in enumerate(balance.components()):
                    if storage is None:
                        rows.append(still[j][i])
                        continue
                    new, old = (lattices[n].cells(storage) for n in (j, j - 1))
                    rows.append((new - old) / step + share * still[j][i] + (1 - share) * still[j - 1][i])
                steps.append(torch.stack(rows))
            found[name] = torch.stack(steps, 2)
        return found


class Equations:
    """Which balances of a problem answers are held to, and how these are made discrete.

    Args:
        encoding: of the operator whose answers they are.
        names: which balances; () for all.
        method: "finite_volume", or "spectral" on boxes that are periodic on every axis.
        implicit: the share θ of the new frame in a step: 1/2 for the trapezoidal rule, 1 for implicit Euler.
        order: 2 or 4, of interpolation and differences in finite volumes.
        norm: s of the norm in which residuals are measured; 0 for the mean square.
        alone: whether no data say what happens where conditions do not: a case that leaves its boundary open is then
            refused.

    Raises:
        InputError: values that live on no grid, a problem without equations, a balance that needs what the operator
            does not answer, spectral derivatives on a box with walls.
    """

    def __init__(
        self, encoding: Encoding, names: Sequence[str] = (), method: str = "finite_volume", implicit: float = 0.5,
        order: int = 2, norm: float = 0.0, alone: bool = False,
    ):  # fmt: skip
        self.e, self.implicit, self.order, self.norm, self.alone = encoding, implicit, order, norm, alone
        self.method = "spectral" if method == "spectral" else "finite_difference"
        problem, template = encoding.problem, encoding.template
        known = problem.balances()
        if not known:
            raise InputError(f"objective: {problem.name} states no equations, so answers have no residual")
        if encoding.flat or not isinstance(template, Grid):
            raise InputError(
                "objective: the residual of a balance needs fields on the cells of a grid, but this operator answers "
                f"at points ({template!r})"
            )
        if encoding.stepping.queries:
            raise InputError(
                f"objective: the residual of a step needs the frame before it, which {encoding.stepping!r} does not "
                "have; expected Autoregressive or Window"
            )
        for name in names:
            if name not in known:
                raise InputError(f"balances: {problem.name} has no balance {name!r}{suggest(name, list(known))}")
        self.balances: dict[str, Balance] = {n: b for n, b in known.items() if not names or n in names}
        for name, balance in self.balances.items():
            self._check(name, balance, known)
        if method == "spectral" and not (all(template.periodic) and template.uniform_cells and not encoding.masked):
            raise InputError("method: 'spectral' needs equal cells and a box that is periodic on every axis")
        if norm and not template.uniform_cells:
            raise InputError(f"norm: of order {norm:g} needs equal cells, expected 0 on stretched grids")
        self._members: dict[int, Member] = {}
        self._layouts: dict[Any, tuple[Layout, dict[str, Tensor]]] = {}

    def _check(self, name: str, balance: Balance, known: dict[str, Balance]) -> None:
        e = self.e
        able = [n for n, b in known.items() if not (_named(b, Field) - set(e.fields))]
        missing = sorted(_named(balance, Field) - set(e.fields))
        if missing:
            offer = f"; take balances={able!r}, or answer them (fields=...)" if able else "; answer them (fields=...)"
            raise InputError(
                f"balances: {name} needs {', '.join(missing)}, but the operator answers {', '.join(e.fields)}{offer}"
            )
        inputs = [s.name for s in e.problem.inputs if s.covers(e.problem.dimensions)]
        for needed in sorted(_named(balance, Input) - set(inputs)):
            raise InputError(f"balances: {name} needs the input {needed}, which is no field on the grid")

    def require(self, case: Case) -> None:
        """Raises:
        InputError: the balances have no one solution under the conditions of a case: values beyond the boundary would
            be carried on from inside.
        """
        required_conditions(case, self.balances.values())

    def terms(self, lattice: Any, balance: Balance) -> list[Tensor]:
        """div flux − source of each component: what the balance says where nothing changes."""
        return lattice.strong(balance) if self.method == "spectral" else lattice.finite_volume(balance)

    # -- batches ------------------------------------------------------------------------------------------------

    def supplied(self, cases: Sequence[Case], times: np.ndarray | None) -> Supplied:
        """What a batch of these cases needs.

        Args:
            times: (batch, level) of the frames that take part, the one that goes in first; None for steady problems.
        """
        members, together = [self._member(c) for c in cases], {}
        for row, member in enumerate(members):
            together.setdefault(id(member.layout), []).append(row)
        groups = [
            self._group([members[r] for r in rows], None if len(rows) == len(members) else rows,
                        None if times is None else times[rows])
            for rows in together.values()
        ]  # fmt: skip
        return Supplied(self, tuple(groups), self.e.stepping.ahead)

    def _member(self, case: Case) -> Member:
        known = self._members.get(id(case))
        if known is not None and known.case is case:
            return known
        if self.alone:
            self.require(case)
        grid, problem = self.e.support(case), self.e.problem
        assert isinstance(grid, Grid)
        names = set().union(*(_named(b, Input) for b in self.balances.values()))
        bare = Grid(grid.faces, grid.periodic)
        inputs = {n: np.asarray(case.input_on(n, bare), dtype=np.float64) for n in sorted(names)}
        layout = Layout(case, grid, self.e.fields)
        layout, _ = self._layouts.setdefault(layout.key, (layout, {}))
        sizes = {n: float(np.sqrt(np.mean(np.square(v)))) for n, v in inputs.items()}
        multiplier, offset = self.e.factors([case])
        found = Member(
            case, grid, layout, np.array([case.parameters[p.name] for p in problem.parameters], dtype=np.float64),
            inputs, {n: np.array(magnitudes(b, case, sizes)) for n, b in self.balances.items()},
            (multiplier[0].numpy(), offset[0].numpy()),
        )  # fmt: skip
        if len(self._members) >= KEPT:
            self._members.clear()
        self._members[id(case)] = found
        return found

    def _group(self, members: list[Member], rows: list[int] | None, times: np.ndarray | None) -> Group:
        layout, dtype, d = members[0].layout, self.e.torch_dtype, len(members[0].grid.shape)
        ones = (1,) * d

        def tensor(values: Any) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(dtype)

        def each(values: Any) -> Tensor:
            return tensor(np.asarray(values, dtype=np.float64).reshape(len(members), *ones))

        levels = 1 if times is None else times.shape[1]
        clock = np.zeros((len(members), 1)) if times is None else times
        boundary = [
            [tensor(_stacked([t.values(m.case, m.grid, float(clock[i, j])) for i, m in enumerate(members)]))
             for t in layout.told]
            for j in range(levels)
        ]  # fmt: skip
        weights = self._layouts[layout.key][1]
        for name, balance in self.balances.items():
            if name not in weights:
                found = layout.volumes(balance, members[0].inputs, self.order)
                if not found.any(axis=tuple(range(1, found.ndim))).all():
                    raise InputError(f"balances: {name} has no control volume that touches no solid cell")
                weights[name] = tensor(found[:, None])
        stretch = None
        if layout.stretches:
            lengths = np.array([Layout.lengths(m.grid) for m in members])
            stretch = tuple(each(lengths[:, a]) for a in range(d))
        sizes = np.array([[n / m.case.scales.length for n in Layout.lengths(m.grid)] for m in members])
        return Group(
            layout,
            tuple(tensor(sizes[None, :, a, None]) for a in reversed(range(d))),
            None if rows is None else torch.tensor(rows),
            {p.name: each([m.parameters[i] for m in members]) for i, p in enumerate(self.e.problem.parameters)},
            {n: tensor(np.stack([m.inputs[n] for m in members])) for n in members[0].inputs},
            stretch,
            None if times is None else tensor(times.reshape(len(members), *ones, levels)),
            boundary,
            tensor(np.stack([m.factors[0] for m in members])),
            tensor(np.stack([m.factors[1] for m in members])),
            {n: tensor(np.stack([m.magnitudes[n] for m in members], 1).reshape(-1, len(members), *ones))
             for n in self.balances},
            weights,
        )  # fmt: skip


def _named(balance: Balance, kind: type[Field] | type[Input]) -> set[str]:
    return {
        leaf.name
        for storage, flux, source in balance.components()
        for e in (*flux, source, *(() if storage is None else (storage,)))
        for leaf in leaves(e)
        if isinstance(leaf, kind)
    }


def _stacked(values: list[np.ndarray]) -> np.ndarray:
    return np.stack(np.broadcast_arrays(*values))
