"""What the equations say of a state, as input channels of a surrogate.

A neural operator that steps far in time must first find out what moves what: that a velocity carries a gradient, that
a wall drags. The problem's balances say so already. For a state q the channels are, dimensionless and compressed where
they exceed 30,

    the gradients                  L ∂_a f / F                 of every field f,
    the transport tendency         −T ∇·flux₀(q) / S           of every balance with storage, flux₀ without gradients,
    the diffusion tendency         −T ∇·(flux − flux₀)(q) / S,

in finite-volume form with the case's own box, parameters and wall values in the middle of the step; L, T, F are the
problem's scales and S is the storage of a state at them. Fields that the surrogate does not carry (the pressure of an
incompressible flow) are left out as zero: the channels are hints, and the operator learns the step.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.boundary import BoundaryCondition
from sciml.derivatives import torch as provider
from sciml.errors import InputError
from sciml.expressions import Balance, Expression, Field, Input, Parameter, evaluate, leaves, without_gradients
from sciml.geometry import Box, Grid
from sciml.problem import Case, PDEProblem

COMPRESSION = 30.0


class PhysicsChannels:
    """The channels of one problem.

    Args:
        problem: transient, on a box.
        fields: the fields of the state, in order.
    """

    def __init__(self, problem: PDEProblem, fields: tuple[str, ...]):
        self.problem, self.fields = problem, fields
        self.balances = {n: b for n, b in problem.balances().items() if b.storage is not None}
        if problem.steady or not self.balances:
            raise InputError(f"physics: {problem.name} has no balance in time, expected a transient problem")
        self.transport = {n: _transport(b) for n, b in self.balances.items()}
        needed = {leaf.name for b in self.balances.values() for leaf in _leaves(b) if isinstance(leaf, Input)}
        if needed:
            names = ", ".join(sorted(needed))
            raise InputError(f"physics: the equations of {problem.name} need {names}, which is not supported")
        self.storages = [row[0] for b in self.balances.values() for row in b.components()]
        self.parameters = tuple(p.name for p in problem.parameters)
        example = problem.case()
        geometry = example.geometry
        if not isinstance(geometry, Box):
            raise InputError(f"physics: {problem.name} lives on a {type(geometry).__name__}, expected a Box")
        self.periodic = geometry.periodic
        self.walls = tuple(
            (boundary, name)
            for boundary, conditions in example.boundary_conditions.items()
            for name, condition in conditions.items()
            if condition.kind == "dirichlet" and name in fields
        )

    @property
    def count(self) -> int:
        """Number of channels."""
        return len(self.fields) * self.problem.dimensions + 2 * len(self.storages)

    @property
    def numbers(self) -> int:
        """How many numbers of a case `context` gives."""
        d = self.problem.dimensions
        return d + len(self.fields) + 2 + len(self.storages) + len(self.parameters) + len(self.walls)

    def signs(self, axis: str, odd: tuple[str, ...]) -> np.ndarray:
        """Factors of `context` under the mirror image along `axis`, where the fields `odd` change sign."""
        walls = [-1.0 if name in odd else 1.0 for _, name in self.walls]
        return np.array([1.0] * (self.numbers - len(self.walls)) + walls)

    def context(self, case: Case, times: Any, step: float) -> np.ndarray:
        """What the channels need of a case, for steps that start at `times`: (time, numbers) float64."""
        scales = case.scales
        fields = [scales.fields.get(n, 1.0) for n in self.fields]
        constant = [b - a for a, b in case.geometry.extents] + fields + [scales.length, scales.time]
        constant += [abs(_at_scale(s, case)) or 1.0 for s in self.storages]
        constant += [case.parameters[n] for n in self.parameters]
        middle = np.asarray(times, dtype=np.float64) + step / 2
        rows = np.repeat(np.array(constant)[None], len(middle), axis=0)
        conditions = case.boundary_conditions
        walls = np.zeros((len(middle), len(self.walls)))
        for i, (boundary, name) in enumerate(self.walls):
            values = conditions[boundary][name].over(middle)
            walls[:, i] = values.reshape(len(middle), -1).mean(axis=1)
        return np.concatenate([rows, walls], axis=1)

    def __call__(self, state: Tensor, context: Tensor) -> Tensor:
        """Channels (batch, count, *space) of states (batch, field, *space) in units of the problem's scales."""
        d, f = self.problem.dimensions, len(self.fields)
        shape = (-1, *[1] * d)
        parts = [c.reshape(shape) for c in context.unbind(1)]
        extents, scales = parts[:d], parts[d : d + f]
        length, time = parts[d + f : d + f + 2]
        at = d + f + 2
        storage = parts[at : at + len(self.storages)]
        at += len(storage)
        parameters = dict(zip(self.parameters, parts[at : at + len(self.parameters)], strict=True))
        boundary: dict[str, dict[str, BoundaryCondition]] = {}
        for (name, field), value in zip(self.walls, parts[at + len(self.parameters) :], strict=True):
            boundary.setdefault(name, {})[field] = BoundaryCondition("dirichlet", value)  # type: ignore[arg-type]
        fields = {n: state[:, i] * scales[i] for i, n in enumerate(self.fields)}
        zero = torch.zeros_like(state[:, 0])
        everything = {spec.name: fields.get(spec.name, zero) for spec in self.problem.fields}
        grid = _unit_grid(self.periodic, tuple(state.shape[2:]))
        given: dict[str, Any] = {
            "parameters": parameters,
            "rates": dict.fromkeys(everything, zero),
            "boundary": boundary,
            "stretch": extents,
        }
        lattice = provider.lattice(grid, everything, **given)
        channels = []
        for i, n in enumerate(self.fields):
            for axis in range(d):
                face = lattice.faces(Field(n), axis)
                slope = lattice._difference(face, axis) * (state.shape[-1 - axis] / extents[axis])
                channels.append(slope * (length / scales[i]) / 4)  # in the middle of a cavity of order one
        moved, total = [], []
        for name, balance in self.balances.items():
            moved += lattice.finite_volume(self.transport[name])
            total += lattice.finite_volume(balance)
        for m, t, s in zip(moved, total, storage, strict=True):
            channels += [-m * (time / s), (m - t) * (time / s)]
        return _compress(torch.stack(channels, dim=1))


def _compress(x: Tensor) -> Tensor:
    """30 asinh(x/30), of which torch's own is slow: a difference across a corner must not drown what is around it."""
    size = x.abs() / COMPRESSION
    return torch.copysign(torch.log(size + torch.sqrt(size * size + 1)), x) * COMPRESSION


def _transport(balance: Balance) -> Balance:
    """The balance whose flux has no gradients in it."""
    flux = np.asarray(balance.flux, dtype=object)
    plain = np.empty(flux.shape, dtype=object)
    for index in np.ndindex(flux.shape):
        plain[index] = without_gradients(flux[index])
    return replace(balance, flux=plain)


def _leaves(balance: Balance) -> set[Expression]:
    found: set[Expression] = set()
    for storage, flux, source in balance.components():
        for e in (*flux, source, *(() if storage is None else (storage,))):
            found |= leaves(e)
    return found


def _at_scale(storage: Expression | None, case: Case) -> float:
    """The storage of a state at the problem's scales."""
    assert storage is not None

    def leaf(e: Expression) -> float:
        match e:
            case Field(name):
                return case.scales.fields.get(name, 1.0)
            case Parameter(name):
                return case.parameters[name]
        return 1.0

    functions = {n: getattr(math, n) for n in ("sin", "cos", "exp", "log", "sqrt", "tanh")}
    return float(evaluate(storage, leaf, lambda e: 0.0, functions))


def _unit_grid(periodic: tuple[bool, ...], shape: tuple[int, ...]) -> Grid:
    d = len(shape)
    return Grid.uniform(Box((0.0,) * d, (1.0,) * d, periodic), shape)
