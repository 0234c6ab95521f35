"""Which operators take some data: tried on two of its cases, so that nothing here knows an operator by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sciml.errors import InputError


def explained(
    error: InputError, name: str, several: Sequence[str | Path], split: str | None, options: Mapping[str, Any]
) -> InputError:
    """What to say of an error in training: where the operator itself does not take such data, which ones do.

    Args:
        several: data sets.
        options: of the operator, as they were given; with others it may take the data.
    """
    from sciml import registry
    from sciml.solvers.sensor_surrogate import SensorSurrogate
    from sciml.training.fits import refusal
    from sciml.training.samples import open_data, table

    why = cases = None
    try:
        for data in several:
            cases = table(open_data(data)[0], split)
            cases = cases.keep(list(range(min(2, len(cases.cases)))))  # type: ignore[arg-type]
            if not cases.cases:
                return error
            why = refusal(registry.operators.get(name), cases) and refusal(registry.operators.get(name), cases, options)
            if why is not None:
                break
    except InputError:  # the data themselves are at fault
        return error
    if why is None or cases is None or why.partition(":")[0] in SensorSurrogate.planned:  # a setting, not the operator
        return error
    others = [n for n in registry.operators.names() if n != name and refusal(registry.operators.get(n), cases) is None]
    known = f"operators that take these data: {', '.join(others)}" if others else "no operator takes these data"
    return InputError(f"--operator {name}: {why}; {known}")
