"""The lines of an audit, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Defect:
    """One line of an audit.

    Args:
        check: "balance", "boundary" or "invariant"; "bounds" and "divergence" where no equation is known; "law" where a
            problem says itself what its solutions obey.
        name: of the balance, boundary condition or invariant.
        size: edge of the control volumes in cells (0: the whole domain), None where it has no meaning.
        length: the same as a length, in the unit of the coordinates.
        rms, largest: of the defect, in `unit`.
        relative: rms over the natural magnitude (balances: rms face flux over the problem's length scale).
        floor: what the audit's discretisation would see of an exact solution, in `unit`; None where not estimated.
    """

    check: str
    name: str
    unit: str
    rms: float
    largest: float
    relative: float
    floor: float | None = None
    size: int | None = None
    length: float | None = None


@dataclass(frozen=True)
class Audit:
    """The defects of one solution; prints as a table."""

    problem: str
    case: str
    rows: tuple[Defect, ...]
    notes: tuple[str, ...] = ()
    frames: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON values: problem, case, frames, notes and the rows."""
        rows = [{k: v for k, v in vars(r).items()} for r in self.rows]
        return {
            "problem": self.problem, "case": self.case, "frames": self.frames, "notes": list(self.notes), "rows": rows,
        }  # fmt: skip

    def select(self, name: str, size: int | None = None) -> list[Defect]:
        """The lines of one balance, boundary condition or invariant (and control-volume size)."""
        return [r for r in self.rows if r.name == name and (size is None or r.size == size)]

    def __str__(self) -> str:
        head = ("check", "name", "volume", "rms", "largest", "floor", "unit", "relative")
        lines = [head, *(self._cells(r) for r in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        text = [f"audit of {self.problem}, {self.case}, {self.frames} frame(s)"]
        text += ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([*text, *(f"note: {n}" for n in self.notes)])

    __repr__ = __str__

    @staticmethod
    def _cells(r: Defect) -> tuple[str, ...]:
        volume = "-" if r.size is None else "domain" if r.size == 0 else f"{r.size} cell" + "s" * (r.size > 1)
        floor = "-" if r.floor is None else f"{r.floor:.1e}"
        return (r.check, r.name, volume, f"{r.rms:.1e}", f"{r.largest:.1e}", floor, r.unit, f"{r.relative:.1e}")

    def _repr_html_(self) -> str:
        from sciml._repr_html import audit_html

        return audit_html(self)
