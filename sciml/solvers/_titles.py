"""What messages call a case."""

from __future__ import annotations

from sciml.problem import Case


def title(case: Case) -> str:
    """What a message calls a case."""
    return f"case {case.label!r}" if case.label else repr(case)
