"""From output time to output time, with one frame at hand: for fields that are too large to be kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sciml.errors import InputError, SolverError
from sciml.problem import Case
from sciml.progress import Bar
from sciml.solver import Restartable, check_times

if TYPE_CHECKING:
    import xarray


def follow(solver: Restartable, case: Case, times: Any, frame: Any = None) -> Iterator[xarray.Dataset]:
    """The solution at one time after another, each a data set of one frame, made from the one before it.

    Between two times the march is that of `solver.resume`; the answers are those of `solver.solve` but for the size of
    steps, which is chosen anew after each time, and for what rounding to the stored type does.

    Args:
        times: increasing, in the case's unit of time.
        frame: a solution with the state fields to start from instead of the case's beginning.
    Raises:
        InputError: no solver that can be resumed, or times that cannot be met.
        SolverError: the computation failed; the message says when.
    """
    if not isinstance(solver, Restartable):
        raise InputError(f"follow: expected a solver that resumes, got {type(solver).__name__}")
    asked = check_times(case.problem, times)
    if asked is None:
        raise InputError(f"follow: {case.problem.name} is steady; use solve")
    return _marched(solver, case, asked, frame)


def _marched(solver: Restartable, case: Case, times: np.ndarray, frame: Any) -> Iterator[xarray.Dataset]:
    for time in times:
        frame = solver.solve(case, [time]) if frame is None else solver.resume(case, frame, [time])
        if (status := frame.attrs.get("status", "ok")) != "ok":
            raise SolverError(status if status.startswith(solver.name) else f"{solver.name}: {status}")
        yield frame


def history(
    solver: Restartable,
    case: Case,
    times: Any,
    measure: Callable[[xarray.Dataset], Mapping[str, Any]],
    frame: Any = None,
    progress: bool = False,
) -> xarray.Dataset:
    """Figures of a flow over time, without its fields being kept.

    Args:
        times: increasing, in the case's unit of time.
        measure: of a solution with one frame: numbers, or arrays whose shape stays the same, by name.
        frame: a solution to start from instead of the case's beginning.
    Returns:
        The figures over time (and "<name>_<axis>" where they are arrays), and "frame_tail", the solver's
        "spectrum_tail" at each time, where it gives that.
    Raises:
        InputError, SolverError: as `follow` does; or InputError for what is no mapping.
    """
    import xarray

    rows: list[dict[str, np.ndarray]] = []
    tails: list[float] = []
    said: dict[str, str] = {}
    frames, asked = follow(solver, case, times, frame), check_times(case.problem, times)
    assert asked is not None
    with Bar(f"{solver.name}, {case.problem.name}", len(asked), progress) as step:
        while True:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                now = next(frames, None)
            said |= {str(w.category): str(w.message) for w in caught if issubclass(w.category, UserWarning)}
            if now is None:
                break
            found = measure(now)
            if not isinstance(found, Mapping):
                raise InputError(f"measure: expected figures by name, got {type(found).__name__}")
            rows.append({name: np.asarray(value) for name, value in found.items()})
            tails.append(float(now.attrs.get("spectrum_tail", np.nan)))
            step()
    for message in said.values():  # once, as it was last
        warnings.warn(message, stacklevel=2)
    fields = {}
    for name, value in rows[0].items():
        dims = ("time", *(f"{name}_{a}" for a in range(value.ndim)))
        fields[name] = (dims, np.stack([row[name] for row in rows]))
    if np.isfinite(tails).all():
        fields["frame_tail"] = (("time",), np.array(tails))
    return xarray.Dataset(fields, {"time": asked})
