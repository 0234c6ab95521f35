"""Rows that were trained after the CFDBench table was made, on its data: written beside it, as parts of their own."""

from __future__ import annotations

import json
from typing import Any

from benchmarks._cfdbench_figures import Rows, comparison
from benchmarks._ledger import RESULTS, Ledger

SECTION = "joined"


def part(flow: str) -> str:
    return f"{flow}, joined"


def same(flow: str, manifest: list[dict[str, Any]]) -> None:
    """Refuse data that are not those of the table: another content, another split.

    Raises:
        SystemExit: says which case differs.
    """
    path = RESULTS / "cfdbench.json"
    held = json.loads(path.read_text())["rows"] if path.exists() else []
    table = {r["case"]: r for r in held if r.get("section") == "manifest" and r["flow"] == flow}
    for case in sorted({m["case"] for m in manifest} | set(table)):
        mine = next((m for m in manifest if m["case"] == case), {})
        if any(mine.get(k) != table.get(case, {}).get(k) for k in ("sha256", "split")):
            raise SystemExit(f"--join: case {case} of {flow} is not that of the table; run the whole table")


def rows(ledger: Ledger, flow: str, found: Rows, manifest: list[dict[str, Any]]) -> None:
    """The trained ones, and that nothing changes, to be held against the table's own."""
    taken = {n: r for n, r in found.items() if r["kind"] == "learned" or n == "persistence"}
    comparison(ledger, flow, taken, manifest, SECTION)
