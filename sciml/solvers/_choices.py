"""What a generation is asked to do otherwise than the design of its problem says."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sciml.errors import InputError, is_number, suggest
from sciml.problem import Case, Problem

if TYPE_CHECKING:
    from sciml.solvers._numerical import NumericalSolver

P = TypeVar("P", bound=Problem)

#: arguments of a solver that follow from what is asked for beside
DECIDED = ("resolution", "dtype", "tendencies")


def arguments(made: Any, without: Sequence[str] = ()) -> dict[str, inspect.Parameter]:
    """The arguments by which a class is made, by name."""
    wanted = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(made).parameters
    return {n: p for n, p in found.items() if p.kind in wanted and n not in without}


def mapping(what: str, given: Any) -> dict[str, Any]:
    """Values by name, or an InputError that names the argument."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or any(not isinstance(name, str) for name in given):
        raise InputError(f"{what}: expected values by name, got {given!r:.80}")
    return dict(given)


def with_options(problem: P, options: Mapping[str, Any] | None) -> P:
    """The same problem with some options of its own, as `drive` of a channel.

    Raises:
        InputError: an option that it does not have, or a value that does not fit.
    """
    given = mapping("options", options)
    if not given:
        return problem
    known = arguments(type(problem))
    for name in given:
        if name not in known:
            raise InputError(f"options: {problem.name} takes no {name!r}{suggest(name, known)}")
    return type(problem)(**{**problem.options, **given})


def held(cases: Sequence[Case], options: Mapping[str, Any] | None, parameters: Mapping[str, float] | None) -> Any:
    """The cases of a design, with options of their problem and with parameters at one value in all of them.

    Raises:
        InputError: an unknown name, a value that does not fit, or cases that differ no longer.
    """
    values = mapping("parameters", parameters)
    if not values and not options:
        return list(cases)
    found = []
    for case in cases:
        problem = with_options(case.problem, options)
        known = [p.name for p in problem.parameters]
        for name in values:
            if name not in known:
                raise InputError(f"parameters: {problem.name} has no parameter {name!r}{suggest(name, known)}")
        new = problem.case(case.label, case.subset, **{**case.parameters, **case.inputs, **values})
        found.append(new if case.extents is None else replace(new, extents=case.extents))
    _differ(cases, found, values)
    return found


def _differ(before: Sequence[Case], after: Sequence[Case], values: Mapping[str, float]) -> None:
    """Refuse values that make one case of two."""
    first: dict[Any, int] = {}
    for i, case in enumerate(after):
        k = first.setdefault(_content(case), i)
        if k < i and _content(before[k]) != _content(before[i]):
            raise InputError(
                f"parameters: with {', '.join(values)} held, cases {after[k].label!r} and {case.label!r} are the same; "
                "choose subsets whose cases differ in something else"
            )


def _content(case: Case) -> Any:
    """What tells a case from others, names apart."""
    inputs = {n: v.tobytes() if isinstance(v, np.ndarray) else repr(v) for n, v in case.inputs.items()}
    return tuple(sorted(case.parameters.items())), tuple(sorted(inputs.items()))


def times_from(times: np.ndarray | None, start: float | None, step: float | None) -> np.ndarray | None:
    """(frames,) times that begin at `start`, or lie `step` apart.

    Raises:
        InputError: no such times, or a steady problem, which has none.
    """
    if start is None and step is None:
        return times
    name, value = ("start", start) if step is None else ("step", step)
    if times is None:
        raise InputError(f"{name}: expected none, the problem is steady; got {value!r:.40}")
    if start is not None and (not is_number(start) or start < 0):
        raise InputError(f"start: expected a time from 0 on, got {start!r:.40}")
    if step is None:
        return times - times[0] + float(start or 0.0)
    if not is_number(step) or step <= 0:
        raise InputError(f"step: expected a time > 0 between frames, got {step!r:.40}")
    return (times[0] if start is None else float(start)) + float(step) * np.arange(len(times))


def of_solver(cls: type[NumericalSolver], options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Further arguments of a solver, beside those that follow from resolution, dtype and fields.

    Raises:
        InputError: one that it does not take.
    """
    given, known = mapping("solver_options", options), arguments(cls, DECIDED)
    for name in given:
        if name not in known:
            raise InputError(f"solver_options: {cls.name} takes no {name!r}{suggest(name, known)}")
    return given
