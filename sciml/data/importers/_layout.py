"""What a layout of files is, and what reading one gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sciml.support import Support

if TYPE_CHECKING:
    from sciml.data.importers._mapping import Plan
    from sciml.data.importers._source import Source
    from sciml.problem import Problem


@dataclass(frozen=True)
class Recognised:
    """That a source is of a layout.

    Args:
        layout: its name.
        title: in words, "PDEBench, one-dimensional".
        facts: what can be said at once: numbers, names, shapes.
        certainty: 3 where signature and structure say so, 2 structure alone, 1 a guess by names.
        needs: why it cannot be read without being told more; "" where it can.
    """

    layout: str
    title: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    certainty: int = 3
    needs: str = ""


@dataclass
class Raw:
    """One case as it was found, before anything is checked.

    Args:
        fields: name -> values, (time, *support) or without time where steady.
        support: where they live; or name -> array of positions, as `sciml.data.solution` takes for nodes that move,
            with `connectivity`.
        times: (T,) in the problem's unit of time; None where steady.
        parameters, inputs: by name.
        label: which case it is, for people: a file, a folder, a number.
        subset, split: as the source has them, "" where it says nothing.
        more: further arguments of `sciml.data.solution`.
        extents: of the domain, (lower, upper) for x, y, z, where nodes move; by default what they reach.
    """

    fields: Mapping[str, np.ndarray]
    support: Support | Mapping[str, np.ndarray]
    times: np.ndarray | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    subset: str = ""
    split: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    extents: tuple[tuple[float, float], ...] | None = None


@dataclass
class Reading:
    """A source that is being read.

    Args:
        problem: what all cases are of.
        count: how many there are.
        cases: them, read one after another.
        notes: what was not understood, was assumed, or looks wrong, a line each; may grow while cases are read.
        attrs: of the data set.
    """

    problem: Problem
    count: int
    cases: Iterator[Raw]
    notes: list[str] = field(default_factory=list)
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """What `import_data` wrote.

    Args:
        path: the data set file.
        layout, title: what the source was.
        cases: how many.
        notes: what was not understood, was assumed, or looks wrong, a line each.
    """

    path: Path
    layout: str
    title: str
    cases: int
    notes: Sequence[str] = ()


class Layout(ABC):
    """A way in which files hold cases. Objects have no state; methods run in a process of their own, with limits."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: options that a plan may give, name -> what they are
    options: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def recognise(self, source: Source) -> Recognised | None:
        """Whether the source is of this layout, by names, signatures and heads of files alone.

        What is damaged is either recognised all the same, so that reading says what is wrong, or not.
        """

    def draft(self, source: Source) -> tuple[Plan, Mapping[str, str]]:
        """A plan to be edited: what the source tells, guesses for the rest; and remarks, dotted key -> text."""
        from sciml.data.importers._mapping import Plan

        return Plan(layout=self.name), {}


class Cases(Layout):
    """A layout that is read case after case; what these have in common is checked and written for it."""

    @abstractmethod
    def read(self, source: Source, plan: Plan) -> Reading:
        """Begin to read.

        Args:
            plan: what somebody told about the source, empty where nothing.

        Raises:
            InputError: what was told does not fit.
            FileFormatError: a file that is damaged or holds something else; names it, and the way out.
        """


class Whole(Layout):
    """A layout whose reader writes the data set itself."""

    @abstractmethod
    def write(self, source: Source, plan: Plan, out: Path, seed: int) -> list[str]:
        """Read all, write `out`, and return notes; raises as `Cases.read` does."""
