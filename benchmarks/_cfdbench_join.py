"""Rows that were trained after the CFDBench table was made, on its data: written beside it, as parts of their own."""

from __future__ import annotations

import json
from typing import Any

from benchmarks._cfdbench_figures import Rows, comparison
from benchmarks._ledger import RESULTS, Ledger

NAME = "joined"  # of a group of rows, where it has none of its own
CLOSE = 1e-3  # relative, of the error of "nothing changes"


def part(flow: str, group: str) -> str:
    return f"{flow}, {group}"


def same(flow: str, manifest: list[dict[str, Any]]) -> list[str]:
    """The cases whose values are not to the bit those of the table: solvers round otherwise on other machines.

    Raises:
        SystemExit: other cases, or another split.
    """
    table = {r["case"]: r for r in _held("manifest", flow)}
    mine = {m["case"]: m for m in manifest}
    for case in sorted(set(mine) | set(table)):
        if mine.get(case, {}).get("split") != table.get(case, {}).get("split"):
            raise SystemExit(f"--join: case {case} of {flow} is not in the table, or in another split; run it all")
    return [c for c in sorted(mine) if mine[c]["sha256"] != table[c]["sha256"]]


def rows(ledger: Ledger, flow: str, found: Rows, manifest: list[dict[str, Any]], differ: list[str], group: str) -> None:
    """The trained ones, and that nothing changes, to be held against the table's own; how far its error is from that
    in the table says how far data are that are not the same to the bit. The ledger's section is called as the group.

    Raises:
        SystemExit: further than `CLOSE`.
    """
    mine, (theirs,) = found["persistence"]["one_step_nmse"], [
        r["one_step_nmse"] for r in _held("comparison", flow) if r["row"] == "persistence"
    ]  # fmt: skip
    gap = abs(mine / theirs - 1)
    if gap > CLOSE:
        raise SystemExit(f"--join: the data of {flow} are not those of the table: persistence errs {gap:.2g} otherwise")
    taken = {n: r for n, r in found.items() if r["kind"] == "learned" or n == "persistence"}
    comparison(ledger, flow, taken, manifest, group)
    ledger.row(section=f"{group} data", flow=flow, cases=len(manifest), equal_to_the_bit=len(manifest) - len(differ),
               persistence_difference=gap)  # fmt: skip


def _held(section: str, flow: str) -> list[dict[str, Any]]:
    path = RESULTS / "cfdbench.json"
    held = json.loads(path.read_text())["rows"] if path.exists() else []
    return [r for r in held if r.get("section") == section and r["flow"] == flow]
