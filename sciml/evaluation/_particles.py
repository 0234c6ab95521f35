"""What statistics of particles share: where the particles of any row are, and which they are of a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError
from sciml.evaluation._statistic import TRUTH, Statistic
from sciml.evaluation._streamed import shown, told
from sciml.geometry import AXES
from sciml.particle_problem import ParticleProblem
from sciml.problem import Case
from sciml.support import Points, Support

if TYPE_CHECKING:
    from jaxtyping import Float


def displacement_of(fields: Sequence[str], dimensions: int) -> tuple[str, ...]:
    """The fields that say how far particles have come from their first positions; () where they do not."""
    names = tuple(f"displacement_{a}" for a in AXES[:dimensions])
    return names if set(names) <= set(fields) else ()


def followed(case: Case, support: Support | None, fields: Sequence[str]) -> bool:
    """Whether positions follow from the fields: particles with displacements."""
    return isinstance(support, Points) and bool(displacement_of(fields, case.problem.dimensions))


@dataclass(frozen=True, eq=False)
class Frame:
    """The particles of one frame.

    Args:
        position: (N, D), which go on beyond the ends of a periodic box.
        velocity: (N, D); None where it is not among the fields.
        share: (N,) of the mass, with sum 1.
    """

    position: Float[np.ndarray, "node d"]
    velocity: Float[np.ndarray, "node d"] | None
    share: Float[np.ndarray, " node"]

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.position).all()) and (
            self.velocity is None or bool(np.isfinite(self.velocity).all())
        )


@dataclass
class Course:
    """Numbers of one rollout over its steps."""

    case: Case
    steps: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


class OfParticles(Statistic):
    """Abstract. Frames of particles become numbers; one entry for each rollout of each row.

    Where particles are follows from displacement alone: first positions, which are those of the truth (its positions
    less its displacements), plus what the row says. That is what a rollout of a solver of particles means, and what the
    support of the truth at that step does not say.

    Raises:
        InputError: other supports than points, no displacement among the fields, or a row whose rollout no frame of the
            truth came before.
    """

    def __init__(self, name: str):
        if not isinstance(name, str) or not name:
            raise InputError(f"name: expected a word, got {name!r}")
        self.name = name
        self.fields: tuple[str, ...] = ()
        self.courses: dict[tuple[str, int, int], Course] = {}
        self._first: dict[int, tuple[Case, np.ndarray, np.ndarray]] = {}

    def begin(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)

    def measure(self, key: tuple[str, int, int], step: int, frame: Frame, case: Case) -> Any:
        """The numbers of one frame."""
        raise NotImplementedError

    def entry(self, course: Course) -> dict[str, Any]:
        """Of one rollout, beyond what all entries have."""
        raise NotImplementedError

    def add(
        self, row: str, run: int, rollout: int, step: int, time: float, frame: np.ndarray, case: Case, support: Support
    ) -> None:
        found = self._frame(np.asarray(frame, np.float64), case, support)
        course = self.courses.setdefault((row, run, rollout), Course(case))
        course.steps.append(step)
        course.times.append(time)
        course.values.append(self.measure((row, run, rollout), step, found, case))

    def _frame(self, values: np.ndarray, case: Case, support: Support) -> Frame:
        d = case.problem.dimensions
        names = displacement_of(self.fields, d)
        if not isinstance(support, Points) or not names:
            raise InputError(
                f"{self.name}: expected particles with displacements, got {support!r} with the fields "
                f"{', '.join(self.fields) or '(none were named)'}"
            )
        moved = np.stack([values[self.fields.index(n)] for n in names], axis=-1)
        if id(case) not in self._first:  # of the truth, which comes before the rows
            weights = support.weights()
            self._first[id(case)] = (case, support.points() - moved, weights / weights.sum())
        _, first, share = self._first[id(case)]
        velocity = None
        if len(case.problem.velocity) == d and set(case.problem.velocity) <= set(self.fields):
            velocity = np.stack([values[self.fields.index(n)] for n in case.problem.velocity], axis=-1)
        return Frame(first + moved, velocity, share)

    def result(self) -> dict[str, Any]:
        """{"kind", "entries": one for each rollout, the truth first}; steps count from 1, as those of a summary do."""
        order = sorted(self.courses, key=lambda k: k[0] != TRUTH)
        entries = []
        for key in order:
            course = self.courses[key]
            head = {
                "row": key[0], "run": key[1], "rollout": key[2], "label": course.case.label,
                "parameters": shown(course.case), "step": [k + 1 for k in course.steps], "time": course.times,
            }  # fmt: skip
            entries.append(told(head | self.entry(course)))
        return {"kind": type(self).__name__, "entries": entries}


def spacing_of(points: np.ndarray, support: Support) -> float:
    """The distance between particles: the edge of what one fills where that is known, else the median distance between
    neighbours."""
    if isinstance(support, Points) and support.volume is not None:
        return float(np.mean(support.volume) ** (1 / support.dimensions))
    return Points(points).spacing()


def gravity_of(case: Case) -> np.ndarray | None:
    """(D,) acceleration; None where it is not known."""
    return np.asarray(case.problem.gravity(case)) if isinstance(case.problem, ParticleProblem) else None
