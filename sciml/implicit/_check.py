"""What is asked of a solution before its derivatives are believed."""

from __future__ import annotations

from dataclasses import dataclass

from sciml.errors import InputError, is_number

DENSE = 128
"""Unknowns of one system up to which its Jacobian is written out, factorised and checked for singularity; beyond,
products with it are all that is used (GMRES, or CG where it is symmetric)."""


@dataclass(frozen=True)
class Check:
    """What is asked of a solution and of the linear system behind its derivative, and what is done where it fails.

    A derivative is never silently wrong: with "raise" an error says what failed; with "warn" a warning does, the last
    iterate is returned, and its derivative is NaN. In a batch that holds for the members that failed alone.

    Args:
        on_failure: "raise" or "warn". In torch the error is a `ConvergenceError`; in JAX, where it may come out of a
            compiled function, it is the RuntimeError of `equinox.error_if`.
        least_rcond: of a Jacobian of up to `DENSE` unknowns, with rows and columns scaled to one, the reciprocal
            condition number in the 1-norm below which it counts as singular; 100 times the rounding of the type by
            default.
        settled: of such a Jacobian J, the most that ‖J(x)⁻¹ (J(x − δ) − J(x))‖ may be, where δ = J(x)⁻¹ f(x) is one
            more Newton step: about the relative error that the remaining error of x makes in the derivative. It is
            about one half at a double root, however small f is, and shows there what no condition number of a system of
            one unknown can.
        backward: relative residual of an iterative backward solve above which it failed; the square root of the
            rounding of the type by default.
    """

    on_failure: str = "raise"
    least_rcond: float | None = None
    settled: float = 0.05
    backward: float | None = None

    def __post_init__(self) -> None:
        if self.on_failure not in ("raise", "warn"):
            raise InputError(f"Check: on_failure is {self.on_failure!r}, expected 'raise' or 'warn'")
        for name in ("least_rcond", "settled", "backward"):
            value = getattr(self, name)
            if value is None and name != "settled":
                continue
            if value is None or not is_number(value) or value < 0:
                raise InputError(f"Check: {name} is {value!r}, expected a number ≥ 0")

    def rcond(self, rounding: float) -> float:
        return 100 * rounding if self.least_rcond is None else self.least_rcond

    def residual(self, rounding: float) -> float:
        return rounding**0.5 if self.backward is None else self.backward
