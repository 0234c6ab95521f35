"""Many cases one after the other, each with its own status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sciml.errors import InputError, SolverError, is_whole
from sciml.problem import Case
from sciml.solver import Solver, as_cases, times_for

if TYPE_CHECKING:
    import numpy as np
    import xarray


def solve_many(
    solver: Solver,
    attempt: Callable[[Case, np.ndarray | None], xarray.Dataset],
    cases: Iterable[Case],
    times: Any,
    progress: bool,
) -> xarray.Dataset:
    """One ragged data set of all cases; what failed holds its frames up to the failure.

    Args:
        attempt: (case, times) -> solution whose attribute `status` is "ok" or says what failed; it does not raise.

    Raises:
        InputError: no cases, a case that the solver does not support, or unusable times; before anything is computed.
    """
    from sciml.data import pack

    cases = as_cases(cases)
    if not cases:
        raise InputError("cases: expected at least one, got none")
    for case in cases:
        solver.require(case)
    each = times_for(cases, times)
    solutions = []
    with _bar(solver.name, len(cases), progress) as step:
        for case, wanted in zip(cases, each, strict=True):
            solutions.append(attempt(case, wanted))
            step()
    return pack(solutions, dtype=None)


def checked(solution: xarray.Dataset) -> xarray.Dataset:
    """`solution`, if it is whole.

    Raises:
        SolverError: with the solution's status, where that says that it failed.
    """
    if solution.attrs["status"] != "ok":
        raise SolverError(solution.attrs["status"])
    return solution


def title(case: Case) -> str:
    """What a message calls a case."""
    return f"case {case.label!r}" if case.label else repr(case)


def cell_counts(name: str, resolution: Any, least: int) -> int | tuple[int, ...]:
    """`resolution` as one count or a tuple of counts, if it is that.

    Raises:
        InputError: anything else, or fewer than `least` cells along some axis.
    """
    several = isinstance(resolution, tuple | list)
    counts = list(resolution) if several else [resolution]
    whole = all(is_whole(n) for n in counts)
    if not counts or not whole or min(counts) < least:
        raise InputError(
            f"{name}: resolution is {resolution!r}, expected a count of at least {least} cells, or one for each axis"
        )
    return tuple(int(n) for n in counts) if several else int(resolution)


class _bar:
    """A progress bar on the error stream, where it is a terminal; as a context it gives the function that advances."""

    def __init__(self, name: str, count: int, wanted: bool):
        self.name, self.count = name, count
        self.progress: Any = None
        self.wanted = wanted and count > 1 and sys.stderr.isatty()

    def __enter__(self) -> Callable[[], None]:
        if not self.wanted:
            return lambda: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.progress.start()
        task = self.progress.add_task(self.name, total=self.count)
        return lambda: self.progress.advance(task)

    def __exit__(self, *_: Any) -> None:
        if self.progress is not None:
            self.progress.stop()
