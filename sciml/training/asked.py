"""What every training looks at first: how it is to go, and on which cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sciml.errors import InputError
from sciml.problem import Problem
from sciml.training.recipe import Recipe, Running
from sciml.training.samples import CaseTable, table


def require_settings(recipe: Any, running: Any) -> None:
    """Refuse what is no recipe, or no way to run one."""
    if not isinstance(recipe, Recipe):
        raise InputError(f"recipe: expected a sciml.Recipe, got {type(recipe).__name__}")
    if not isinstance(running, Running):
        raise InputError(f"running: expected a sciml.Running, got {type(running).__name__}")


def require_step(train: CaseTable, encoding: Any) -> None:
    """Refuse to go on with frames that are further apart, or nearer, than those that a model marches by.

    Raises:
        InputError: another step.
    """
    stepping = encoding.stepping
    if encoding.step is None or not stepping.past or stepping.queries:
        return
    found = stepping.time_step(train)
    for case in train.cases:
        here, known = found.of(case), encoding.step.of(case)
        if abs(here - known) > 1e-3 * known:
            unit = case.problem.time_unit
            raise InputError(f"data: a step is {here:g} {unit}, but the model was trained on {known:g} {unit}; "
                             "fresh=True begins anew")  # fmt: skip


def cases_of(
    dataset: Any, split: str | None, subset: Sequence[str] | str | None, fields: Sequence[str] | None,
    former: Problem | None,
) -> CaseTable:  # fmt: skip
    """The cases of a split that belong to some subsets.

    Args:
        former: the problem that what goes on was trained on.

    Raises:
        InputError: there are none, or they are of another problem.
    """
    found = table(dataset, split, fields).select(subset)
    if not found.cases:
        raise InputError(f"split: no case of the data set is in split {split!r}" + (f", {subset}" if subset else ""))
    if former is not None and not found.problem.same(former):
        raise InputError(
            f"data: are of {found.problem.name!r}, but the model was trained on {former.name!r}; fresh=True begins anew"
        )
    return found
