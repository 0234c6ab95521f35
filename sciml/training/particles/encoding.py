"""From particles' frames to what operators take, and back: scales, features, and which particles take part."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch

from sciml.contracts import Signature
from sciml.errors import InputError, is_number, is_whole
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case, Problem, rebuild
from sciml.solver import Start
from sciml.support.neighbours import farthest_points, spacing_of, wrapped
from sciml.training.normalisation import FeatureScaler
from sciml.training.particles.bodies import Bodies
from sciml.training.particles.motion import Motion, Scene, field_names, require_particles
from sciml.training.samples import CaseTable, TimeStep, feature_table, features
from sciml.training.stepping import Autoregressive

REACH = 2.5  # radius in units of the distance between neighbours, where nobody says: some 16 neighbours in the plane
VARIANTS = 8  # choices of few particles that training draws from, for each case
GRAVITY = ("gravity_x", "gravity_y", "gravity_z")


@dataclass(frozen=True)
class Nodes:
    """Which particles of a case take part.

    Args:
        amount: None for all; a share of them (a number up to 1.0), or how many (a whole number > 1).
        choice: "farthest": each as far as can be from those before it, in the first frame; "random".

    Raises:
        InputError: an argument out of range.
    """

    amount: float | int | None = None
    choice: str = "farthest"

    def __post_init__(self) -> None:
        a = self.amount
        share = is_number(a) and not is_whole(a) and 0 < a <= 1 if a is not None else True
        if not share and not (is_whole(a) and int(a) >= 1):  # type: ignore[arg-type]
            raise InputError(f"nodes: expected a share in (0, 1), a whole number or None, got {a!r}")
        if self.choice not in ("farthest", "random"):
            raise InputError(f"choice: expected 'farthest' or 'random', got {self.choice!r}")

    def count(self, particles: int) -> int:
        """How many of so many particles."""
        if self.amount is None:
            return particles
        if is_whole(self.amount):
            return min(int(self.amount), particles)
        return max(1, min(particles, math.ceil(float(self.amount) * particles - 1e-9)))

    def chosen(self, points: np.ndarray, count: int, variant: int = 0) -> np.ndarray:
        """(count,) sorted numbers of particles with first positions (N, D); `variant` is another such choice."""
        n = len(points)
        if count >= n:
            return np.arange(n)
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([n, count, variant])))
        if self.choice == "random":
            return np.sort(generator.permutation(n)[:count])
        # places of a lattice are as far from each other: rounding must not decide between them
        size = float(np.ptp(points, axis=0).max()) or 1.0
        points = np.round((points - points.min(0)) / size, 9)
        middle = int(((points - points.mean(0)) ** 2).sum(1).argmin())
        return np.sort(farthest_points(points, count, int(generator.integers(n)) if variant else middle))


@dataclass(frozen=True)
class ParticleEncoding:
    """Everything between frames of particles and an operator's tensors.

    Args:
        problem: whose cases these are.
        stepping: frames that one step spans, and how many go in: one more than there are past velocities.
        step: length of one step.
        around: for each axis, whether the box is periodic.
        radius: within which particles are joined, in the unit of length.
        velocity, acceleration: root mean squares a component of first and second differences of positions over a step,
            among the training cases; in the unit of length.
        lead: c of v(t) = (x(t) − x(t − Δt) + c (x(t) − 2x(t − Δt) + x(t − 2Δt))) / Δt, by least squares from the
            velocities in the data: 0 where these are backward differences, 1/2 where they are those of the instant.
        features: scaler of the problem's dimensionless numbers, and of gravity over the scale of accelerations.
        told: names of the problem's numbers that operators are told; None for all.
        bodies: whether some training case has a body.
        nodes: which particles take part, and `spacing` the mean distance between neighbours of all particles in the
            first frames of the training cases.
        cells: box of the first training case over the radius, whole numbers.
        dtype: of the operator's tensors.
    """

    problem: Problem
    stepping: Autoregressive
    step: TimeStep
    around: tuple[bool, ...]
    radius: float
    velocity: float
    acceleration: float
    lead: float
    features: FeatureScaler
    told: tuple[str, ...] | None
    bodies: bool
    nodes: Nodes
    spacing: float
    cells: tuple[int, ...]
    dtype: str = "float32"

    # -- from training data -------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls, table: CaseTable, stepping: Autoregressive, nodes: Nodes, *, radius: float | None = None,
        told: Sequence[str] | None = None, dtype: str = "float32",
    ) -> Self:  # fmt: skip
        """From the training split alone.

        Raises:
            InputError: data that are no particles, or have no step in common.
        """
        problem, d = table.problem, table.problem.dimensions
        require_particles(table.fields, d)
        if problem.steady:
            raise InputError(f"data: {problem.name} is steady, expected particles that move")
        step = stepping.time_step(table)
        around = tuple(bool(p) for p in placed(table, 0).geometry.periodic)
        firsts = [first_positions(table, i) for i in range(len(table.cases))]
        spacing = float(np.mean([spacing_of(p) for p in firsts]))
        if radius is None:
            # fewer particles are as much further apart
            thinned = np.mean([(len(p) / nodes.count(len(p))) ** (1 / d) for p in firsts])
            radius = float(REACH * spacing * thinned)
            if not radius > 0:
                raise InputError("radius: particles of the first frames lie in one place; expected a radius")
        elif not is_number(radius) or not radius > 0:
            raise InputError(f"radius: expected a number > 0, got {radius!r}")
        elif radius < spacing:
            raise InputError(f"radius: {radius:g} joins no particles, which are {spacing:.3g} apart; expected more")
        sums = np.zeros(6)
        for i, case in enumerate(table.cases):
            sums += _moments(table, i, stepping.every, step.of(case))
        count, velocity, accelerations, acceleration, cross, square = sums
        if not count:
            raise InputError("data: no case has as many frames as one step spans")
        if not accelerations:
            raise InputError("data: no case has the three frames, a step apart, that tell an acceleration")
        size = math.sqrt(velocity / count)
        rate = math.sqrt(acceleration / accelerations)
        size = size if size > 0 else 1e-6 * float(radius)  # of particles that never move
        scales = (size, max(rate, 1e-6 * size))  # free flight has no accelerations but rounding
        lead = float(np.clip(cross / square, 0.0, 1.0)) if square > 0 else 0.0
        box = placed(table, 0).geometry.extents
        cells = tuple(max(4, round((b - a) / radius)) for a, b in box)
        if told is not None:
            known = features(table.cases[0], np.zeros(1), step.of(table.cases[0]))[0]
            for name in told:
                if name not in known:
                    raise InputError(f"features: {problem.name} has no number {name!r}; it has {', '.join(known)}")
        nothing = FeatureScaler((), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))
        found = cls(
            problem, stepping, step, around, float(radius), *scales, lead, nothing,
            None if told is None else tuple(told),
            any(Bodies.of(c, np.zeros(1)) is not None for c in table.cases), nodes, spacing, cells, dtype,
        )  # fmt: skip
        rows = []
        assert table.times is not None
        for i in range(len(table.cases)):
            raw, names = found.raw(placed(table, i), table.times[i])
            rows.append(raw)
        return replace(found, features=FeatureScaler.fit(names, np.concatenate(rows)))

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> int:
        return self.problem.dimensions

    @property
    def fields(self) -> tuple[str, ...]:
        return field_names(self.dimensions)

    @property
    def past(self) -> int:
        """Velocities that go in."""
        return max(self.stepping.history - 1, 1)

    @cached_property
    def torch_dtype(self) -> torch.dtype:
        return getattr(torch, self.dtype)

    def signature(self) -> Signature:
        d = self.dimensions
        channels = self.past * d + 2 * sum(not p for p in self.around) + (1 + 2 * d if self.bodies else 0)
        return Signature(
            channels, d, d, n_params=len(self.features.names), periodic=self.around, space=self.cells, residual=True
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        content = {
            k: getattr(self, k) for k in ("radius", "velocity", "acceleration", "lead", "bodies", "spacing", "dtype")
        }
        return content | {
            "problem": self.problem.to_attrs()["problem"], "problem_attrs": self.problem.to_attrs(),
            "options": self.problem.options, "fields": list(self.fields), "stepping": self.stepping.to_json(),
            "step": asdict(self.step), "around": list(self.around), "features": self.features.to_json(),
            "told": None if self.told is None else list(self.told), "nodes": asdict(self.nodes),
            "cells": list(self.cells),
        }  # fmt: skip

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """What `to_json` gave.

        Raises:
            InputError, KeyError, TypeError, ValueError: content that is not that.
        """
        return cls(
            rebuild(content["problem_attrs"], content["options"]), Autoregressive.from_json(content["stepping"]),
            TimeStep(str(content["step"]["kind"]), float(content["step"]["value"])),
            tuple(bool(p) for p in content["around"]), float(content["radius"]), float(content["velocity"]),
            float(content["acceleration"]), float(content["lead"]), FeatureScaler.from_json(content["features"]),
            None if content["told"] is None else tuple(content["told"]), bool(content["bodies"]),
            Nodes(**content["nodes"]), float(content["spacing"]), tuple(int(m) for m in content["cells"]),
            str(content["dtype"]),
        )  # fmt: skip

    # -- cases --------------------------------------------------------------------------------------------------

    def raw(self, case: Case, times: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """(time, feature) numbers of a case as they are, and their names."""
        dt = self.step.of(case)
        known = tuple(features(case, np.asarray(times)[:1], dt)[0]) if len(times) else ()
        raw = feature_table(case, np.asarray(times), dt, known)
        if self.told is not None:
            raw, known = raw[:, [known.index(n) for n in self.told]], self.told
        if not isinstance(case.problem, ParticleProblem):
            return raw, known
        pull = np.asarray(case.problem.gravity(case), dtype=np.float64) * dt**2 / self.acceleration  # type: ignore
        return np.hstack([raw, np.tile(pull, (len(raw), 1))]), (*known, *GRAVITY[: len(pull)])

    def doubts(self, case: Case, times: np.ndarray) -> list[str]:
        """What a case has that training never saw, in words."""
        raw, _ = self.raw(case, times)
        found = self.features.doubts(raw)
        if self.ignores_bodies(case):
            found.append("has a body, which no training case has, and which is not seen")
        return found

    def ignores_bodies(self, case: Case) -> bool:
        """Whether a case has bodies that operators are not told of."""
        return not self.bodies and Bodies.of(case, np.zeros(1)) is not None

    def scene(self, case: Case, count: int, times: np.ndarray) -> Scene:
        """What stays the same for `count` particles of a case that take steps from times (steps,) on."""
        low, high = np.array(case.geometry.extents, dtype=np.float64).T
        ends = np.append(times, times[-1] + self.step.of(case))
        params = self.features.normalise(self.raw(case, times)[0])
        bodies = Bodies.of(case, ends) if self.bodies else None
        return Scene(
            (count,), torch.from_numpy(low)[None], torch.from_numpy(high - low)[None], torch.from_numpy(params)[None],
            (bodies,),
        )  # fmt: skip

    def motion(self, first: np.ndarray, frames: np.ndarray, real: int, case: Case) -> Motion:
        """Present positions and past differences.

        Args:
            first: (node, D) first positions, to which displacements count.
            frames: (history, field, node), each one step after the one before it.
            real: how many of the last of them are known; before these particles flew evenly, as the velocity field
                says.
        """
        d, wanted = self.dimensions, self.past + 1
        known = frames[len(frames) - min(real, len(frames)) :][-wanted:]
        before = np.arange(wanted - len(known), 0, -1.0)[:, None, None]
        even = known[:1, :d] - before * self.step.of(case) * known[:1, d : 2 * d]
        moved = np.concatenate([even, known[:, :d]]).astype(np.float64)
        place = first + moved[-1].T
        return Motion(torch.from_numpy(place), torch.from_numpy(np.diff(moved, axis=0).transpose(2, 0, 1).copy()))

    def real(self, start: Start) -> int:
        """How many frames of a start are known: the first of a case stands in for what was before it."""
        if start.first is None:
            return len(start.frames)
        steps = math.floor((start.time - start.first[1]) / self.step.of(start.case) + 1e-3)
        return max(1, min(len(start.frames), 1 + steps))

    def velocities(self, state: Motion, case: Case) -> torch.Tensor:
        """(node, D) of the present instant, see `lead`."""
        ahead = state.moved[:, -1]
        if state.moved.shape[1] > 1:
            ahead = ahead + self.lead * (state.moved[:, -1] - state.moved[:, -2])
        return ahead / self.step.of(case)

    def amount(self, first: np.ndarray) -> int:
        """How many of particles with first positions (node, D) take part: as many to a volume as in training."""
        n = len(first)
        if self.nodes.amount is None:
            return n
        spacing = spacing_of(first)
        finer = spacing / self.spacing if self.spacing > 0 and spacing > 0 else 1.0
        if is_whole(self.nodes.amount) or 0.8 < finer < 1.25:
            return self.nodes.count(n)
        return max(1, min(n, round(float(self.nodes.amount) * n * finer**self.dimensions)))


def placed(table: CaseTable, i: int) -> Case:
    """The i-th case of a table, knowing where its data live."""
    case = table.cases[i]
    return case if case.support is not None else case.on(table.support(i))


def first_positions(table: CaseTable, i: int) -> np.ndarray:
    """(node, D) positions less displacements, in the first frame."""
    d = table.problem.dimensions
    shift = table.frames(i, slice(0, 1))[0, [table.fields.index(n) for n in field_names(d)[:d]]]
    return in_box(table.support(i, 0).points() - (shift * table.scales(i)[:d, None]).T, placed(table, i))


def require_places(table: CaseTable) -> None:
    """Refuse data whose coordinates are not those of their displacements, or of another box.

    Raises:
        InputError: first positions differ between the first frame of a case and its last, or most lie outside.
    """
    d = table.problem.dimensions
    rows = [table.fields.index(n) for n in field_names(d)[:d]]
    for i, case in enumerate(table.cases):
        last, known = int(table.length[i]) - 1, placed(table, i)
        low, high = np.array(known.geometry.extents, dtype=np.float64).T
        firsts = []
        for k in (0, last):
            shift = (table.frames(i, slice(k, k + 1))[0, rows] * table.scales(i)[:d, None]).T
            firsts.append(in_box(table.support(i, k).points() - shift, known))
        apart = np.abs(firsts[1] - firsts[0])
        apart = np.minimum(apart, np.where(known.geometry.periodic, np.abs(apart - (high - low)), apart)).max(1)
        worst = int(apart.argmax())
        if apart[worst] > 1e-3 * (high - low).max():
            told = " and at ".join("(" + ", ".join(f"{v:.4g}" for v in f[worst]) + ")" for f in firsts)
            raise InputError(
                f"data: {case.label or f'case {i}'}: coordinates less displacements say that particle {worst} begins "
                f"at {told}, in its first frame and in its last; expected coordinates that move by the displacements"
            )
        out = ((firsts[0] < low) | (firsts[0] > high)).any(1)
        if out.mean() > 0.5:
            where = ", ".join(f"{v:.4g}" for v in firsts[0][int(out.argmax())])
            raise InputError(
                f"data: {case.label or f'case {i}'}: {out.sum()} of {len(out)} particles begin outside of the box, the "
                f"first at ({where})"
            )


def in_box(points: np.ndarray, case: Case) -> np.ndarray:
    """First positions (node, D) without the whole lengths that a periodic box may have put between them and present
    ones."""
    low, high = np.array(case.geometry.extents, dtype=np.float64).T
    return low + wrapped(points - low, np.where(np.array(case.geometry.periodic, dtype=bool), high - low, 0.0))


def tracks(table: CaseTable, i: int, rows: slice | None = None) -> np.ndarray:
    """(T, field, node) of the i-th case, displacements and velocities in physical units."""
    return table.frames(i, rows) * table.scales(i)[:, None]


def _moments(table: CaseTable, i: int, every: int, dt: float) -> np.ndarray:
    """Sums over a case: number and squares of first differences, of second ones, and what `lead` needs."""
    found = np.zeros(6)
    for values in _pieces(table, i, every):
        d = table.problem.dimensions
        x, v = values[:, :d], values[:, d:]
        first = x[every:] - x[:-every]
        second = first[every:] - first[:-every]
        ahead = v[2 * every :] * dt - first[every:]
        found += [
            first.size,
            (first**2).sum(),
            second.size,
            (second**2).sum(),
            (ahead * second).sum(),
            (second**2).sum(),
        ]
    return found


def _pieces(table: CaseTable, i: int, every: int, most: int = 64) -> Iterator[np.ndarray]:
    """Frames of a case in pieces that overlap by two steps: all second differences once, some first ones twice."""
    length = int(table.length[i])
    for a in range(0, max(length - 2 * every, 1), most):
        yield tracks(table, i, slice(a, min(a + most + 2 * every, length)))
