"""Whether a case says enough on its boundary for its balances to have one solution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sciml.boundary import Condition, Periodic
from sciml.calculus import Derivative, slope, strong, substituted
from sciml.errors import InputError, suggest
from sciml.expressions import ZERO, Balance, Constant, Expression, Field, leaves
from sciml.geometry import AXES, SIDES, Boundary
from sciml.problem import Case

Alpha = tuple[int, ...]


def required_conditions(case: Case, balances: Iterable[Balance] | None = None) -> dict[str, dict[str, Condition]]:
    """The conditions of a case on each part of its boundary, where no data say the rest.

    A field that is differentiated twice in space needs a condition on every part. One that is differentiated once, and
    carried by its own balance ∂t q + c ∂x q + ... = 0 with c ≠ 0 known beforehand, needs one on an end of that axis: it
    comes in from somewhere. Where c depends on other fields, inputs or the place it may vanish on the boundary, and
    pressure, which nothing carries, is only known up to a constant: neither needs any.

    Args:
        balances: those that are to hold; by default all.

    Raises:
        InputError: a condition on what is no boundary or no field, a condition that is missing, and more derivatives
            across the boundary than one condition a side can fix.
    """
    problem = case.problem
    name, names = problem.name, [f.name for f in problem.fields]
    parts, given, around = case.geometry.boundaries, case.boundary_conditions, case.geometry.periodic
    for boundary in given:
        if boundary not in parts and not (boundary in SIDES and around[SIDES[boundary][0]]):
            raise InputError(f"{name}: conditions on {boundary!r}, which is no boundary{suggest(boundary, parts)}")
    rows = [row for b in (problem.balances().values() if balances is None else balances) for row in strong(b)]
    held = _held(rows)
    second = [n for n in names if max((sum(a[:-1]) for a in held.get(n, ())), default=0) > 1]
    found: dict[str, dict[str, Condition]] = {}
    for boundary in parts:
        conditions = dict(given.get(boundary, {}))
        for field in [*conditions, *second]:
            if field not in names:
                known = suggest(field, names)
                raise InputError(f"{name}: a condition on {boundary!r} for {field!r}, which is no field{known}")
            if field not in conditions:
                raise InputError(f"{name}: no condition for {field!r} on {boundary!r}, expected one such as Dirichlet")
            if isinstance(conditions[field], Periodic):
                raise InputError(f"{name}: {field!r} is Periodic on {boundary!r}, but the domain is not periodic there")
        if conditions:
            found[boundary] = conditions
    _refuse_high_orders(case, held)
    _refuse_free_transport(case, rows, held, found)
    return found


def _held(rows: Sequence[Expression]) -> dict[str, set[Alpha]]:
    """How fields are differentiated."""
    found: dict[str, set[Alpha]] = {}
    for row in rows:
        for leaf in leaves(row):
            if isinstance(leaf, Derivative) and isinstance(leaf.field, Field):
                found.setdefault(leaf.field.name, set()).add(leaf.alpha)
    return found


def _refuse_high_orders(case: Case, held: Mapping[str, set[Alpha]]) -> None:
    parts, around = case.geometry.boundaries, case.geometry.periodic
    if not parts:
        return
    inner = any(part.side is None for part in parts.values())
    for field, alphas in held.items():
        order = max(sum(n for n, p in zip(a[:-1], around, strict=True) if inner or not p) for a in alphas)
        if order > 2:
            raise InputError(
                f"{case.problem.name}: {field!r} is differentiated {order} times in space, and one condition on each "
                "part of the boundary cannot fix it; expected at most 2, or a periodic domain (write it as a system)"
            )


def _refuse_free_transport(
    case: Case, rows: Sequence[Expression], held: Mapping[str, set[Alpha]], given: Mapping[str, Mapping[str, Condition]]
) -> None:
    d, around = case.problem.dimensions, case.geometry.periodic
    for axis in (a for a in range(d) if not around[a]):
        across = (*(int(k == axis) for k in range(d)), 0)
        ends = [c for b, c in given.items() if _may_end(case.geometry.boundaries[b], axis)]
        for field, alphas in held.items():
            if across not in alphas or any(sum(a[:-1]) > 1 for a in alphas):
                continue
            for row in (substituted(r, case.parameters) for r in rows):
                moving = {
                    x.field.name for x in leaves(row)
                    if isinstance(x, Derivative) and x.alpha[-1] and isinstance(x.field, Field)
                }  # fmt: skip
                speed = slope(row, Derivative(Field(field), across)) if moving else ZERO
                if speed == ZERO or any(x != Field(field) and not isinstance(x, Constant) for x in leaves(speed)):
                    continue
                enough = any(field in c for c in ends) if field in moving else any(ends)
                if not enough:
                    raise InputError(
                        f"{case.problem.name}: {field!r} is carried along {AXES[axis]}, but has no condition at either "
                        "end; expected one where it comes in, such as Dirichlet"
                    )


def _may_end(part: Boundary, axis: int) -> bool:
    """Whether an axis ends on a part of the boundary, which may be curved."""
    return part.side is None or part.side[0] == axis
