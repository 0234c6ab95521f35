"""Write the tables of README.md from the ledgers: `python -m benchmarks.readme`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks._ledger import RESULTS

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- ledgers -->", "<!-- end of ledgers -->"


def number(value: float | None) -> str:
    if value is None:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}·10^{int(exponent)}"


def table(record: dict[str, Any]) -> str:
    """The checks of one ledger as a Markdown table."""
    lines = ["| figure | measured | goal | |", "| --- | ---: | ---: | --- |"]
    for check in record["checks"]:
        goal = check["goal"].replace(">=", "≥").replace("<=", "≤")
        status = {"holds": "holds"}.get(check["status"], f"**{check['status'].replace('_', ' ')}**: {check['reason']}")
        lines.append(f"| {check['id'].replace('_', ' ')} | {number(check['value'])} | {goal} | {status} |")
    machines = {json.dumps(p["machine"], sort_keys=True): p["machine"] for p in record["parts"].values()}
    where = "; ".join(f"{m['cpu']}, {m['cores']} cores" for m in machines.values())
    return f"**{record['name']}** (`{record['command']}`; {where})\n\n" + "\n".join(lines)


def main() -> None:
    order = ("speed", "data", "darcy", "demo")
    records = [json.loads((RESULTS / f"{n}.json").read_text()) for n in order if (RESULTS / f"{n}.json").exists()]
    text = (ROOT / "README.md").read_text()
    if START not in text or END not in text:
        raise SystemExit(f"README.md: the marks {START} and {END} are missing")
    body = "\n\n".join(table(r) for r in records)
    new = re.sub(
        f"{re.escape(START)}.*?{re.escape(END)}", lambda _: f"{START}\n{body}\n{END}", text, count=1, flags=re.DOTALL
    )
    (ROOT / "README.md").write_text(new)
    print(f"README.md: {sum(len(r['checks']) for r in records)} figures from {len(records)} ledgers")


if __name__ == "__main__":
    main()
