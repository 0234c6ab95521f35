"""Designs: which cases a benchmark makes of a problem, and at which times it wants them. One problem a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sciml.errors import InputError, suggest
from sciml.problem import Case, Problem


@dataclass(frozen=True)
class Request:
    """What is asked of a design.

    Args:
        subsets: names out of the design's.
        count: cases in all; None for all that it has.
        profile: one of the design's.
        resolution: cells in array order (z, y, x) of the grid that the cases will be solved on.
        frames: of each case; 1 for steady problems.
        seed: of what is random.
    """

    subsets: tuple[str, ...]
    count: int | None
    profile: str
    resolution: tuple[int, ...]
    frames: int
    seed: int


class Design(ABC):
    """Cases and times; both depend on the request alone."""

    subsets: ClassVar[tuple[str, ...]]
    profiles: ClassVar[tuple[str, ...]]
    #: subsets of our own beside those of a published benchmark
    unpublished: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def cases(self, request: Request) -> list[Case]:
        """The cases, subset by subset, each with a label of its own.

        Raises:
            InputError: subsets, a profile or a number of cases that there are not.
        """

    @abstractmethod
    def times(self, case: Case, request: Request) -> np.ndarray | None:
        """(frames,) times; None for steady problems."""

    def posed(self, problem: Problem, profile: str) -> Problem:
        """The problem whose cases a profile holds, for instance in time where `problem` is steady."""
        return problem

    def cells(self, case: Case, resolution: tuple[int, ...]) -> tuple[int, ...]:
        """On how many cells along each array axis a case is solved whose frames are stored on `resolution`, so that the
        physics is resolved: on as many, unless a design says more."""
        return resolution

    def under_resolved(self, cases: Sequence[Case], resolution: tuple[int, ...]) -> dict[str, float]:
        """label -> how far a case goes beyond what the grid shows, of those that do."""
        return {}


class RandomDesign(Design):
    """Cases drawn at random, in one subset; case k depends on (seed, k) alone, so that fewer cases are the first of
    more."""

    subsets, profiles = ("random",), ("standard",)
    usual = 100  # cases where no number is asked for
    step = 0.05  # between frames, in the case's time scale

    def __init__(self, problem: Problem):
        self.problem = problem

    @abstractmethod
    def draw(self, random: np.random.Generator, resolution: tuple[int, ...]) -> Case:
        """One case."""

    def cases(self, request: Request) -> list[Case]:
        check(request.subsets, self.subsets, request.profile, self.profiles)
        found = []
        for k in range(self.usual if request.count is None else request.count):
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([request.seed, 0xCA5E, k])))
            case = self.draw(random, request.resolution)
            found.append(case.problem.case(**case.parameters, **case.inputs, label=f"random{k:04d}", subset="random"))
        return found

    def times(self, case: Case, request: Request) -> np.ndarray | None:
        return None if case.problem.steady else self.step * case.scales.time * np.arange(request.frames)


def check(subsets: Sequence[str], known: Sequence[str], profile: str, profiles: Sequence[str]) -> None:
    """Refuse names that a design does not have."""
    for name in subsets:
        if name not in known:
            raise InputError(f"subset: no subset is called {name!r}{suggest(name, known)}")
    if not subsets or len(set(subsets)) != len(subsets):
        raise InputError(
            f"subset: expected different names out of {', '.join(known)}, got {', '.join(subsets) or 'none'}"
        )
    if profile not in profiles:
        raise InputError(f"profile: no profile is called {profile!r}{suggest(profile, profiles)}")


def waves(random: np.random.Generator, x: np.ndarray, most: int = 4) -> np.ndarray:
    """Σ_k a_k sin(2πkx + φ_k), k ≤ `most`, with a_k ~ N(0, 1)/k, scaled to a largest value of 1; x in periods."""
    k = np.arange(1, most + 1)
    amplitudes, phases = random.standard_normal(most) / k, random.uniform(0, 2 * np.pi, most)
    values = amplitudes @ np.sin(2 * np.pi * np.outer(k, x) + phases[:, None])
    return values / np.abs(values).max()


def gaussian_field(random: np.random.Generator, shape: tuple[int, ...], tau: float, power: float) -> np.ndarray:
    """A sample of N(0, (−Δ + τ²)^(−power)) with no flux through the sides of the unit box, at the centres of cells.

    The cosine coefficients are drawn from low to high wave numbers up to 32 an axis, so that equal generators give one
    field at all resolutions.
    """
    found = random.standard_normal((32,) * len(shape))
    for axis in range(len(shape)):
        k = np.arange(32)
        where = [1] * len(shape)
        where[axis] = -1
        found = found * np.where(k == 0, 1.0, np.sqrt(2)).reshape(where)
    square = sum(
        (np.pi * np.arange(32)).reshape([-1 if a == axis else 1 for a in range(len(shape))]) ** 2
        for axis in range(len(shape))
    )
    found = found * (square + tau**2) ** (-power / 2)
    found[(0,) * len(shape)] = 0.0
    for axis, n in enumerate(shape):
        basis = np.cos(np.pi * np.outer((np.arange(n) + 0.5) / n, np.arange(32)))
        found = np.moveaxis(np.tensordot(basis, found, axes=(1, axis)), 0, axis)
    return found
