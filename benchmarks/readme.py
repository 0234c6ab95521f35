"""Write the tables of README.md and of the documentation from the ledgers: `python -m benchmarks.readme`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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


def figure(check: dict[str, Any]) -> str:
    """The middle, and how far it goes."""
    spread = check.get("spread")
    value = number(check["value"])
    return value if spread is None else f"{value} ({number(spread['low'])} … {number(spread['high'])})"


def table(record: dict[str, Any]) -> str:
    """The checks of one ledger as a Markdown table, and below it why goals were missed and what the spreads are."""
    lines = ["| figure | measured (spread) | goal | weight | |", "| --- | ---: | ---: | --- | --- |"]
    notes: list[str] = []
    spreads: dict[str, list[str]] = {}
    for check in record["checks"]:
        name = check["id"].replace("_", " ")
        goal = check["goal"].replace(">=", "≥").replace("<=", "≤")
        status = check["status"].replace("_", " ")
        if check["status"] != "holds":
            status = f"**{status}**"
        said = dict.fromkeys(filter(None, (check.get("note"), check["reason"])))  # once where they are the same
        if said:
            notes.append(f"{name}: {'; '.join(said)}")
            status = f"{status} {superscript(len(notes))}"
        if "spread" in check:
            spreads.setdefault(check["spread"]["of"], []).append(name)
        lines.append(f"| {name} | {figure(check)} | {goal} | {check['weight']} | {status} |")
    parts = record["parts"]
    machines = dict.fromkeys(f"{p['machine']['cpu']}, {p['machine']['cores']} cores" for p in parts.values())
    made: dict[str, list[str]] = {}
    for name, part in parts.items():
        made.setdefault(f"{part.get('commit', 'commit not recorded')}, {part['date']}", []).append(name)
    when = "; ".join(key if len(made) == 1 else f"{', '.join(names)}: {key}" for key, names in made.items())
    head = f"**{record['name']}** (`{record['command']}`; {'; '.join(machines)}; {when})"
    below = [f"{superscript(k)} {note}" for k, note in enumerate(notes, 1)]
    below += [f"The report's own verdict: {row['row']}" for row in record["rows"] if row.get("section") == "verdict"]
    below += [f"Spread of {', '.join(names)}: {of}." for of, names in spreads.items()]
    return "\n".join([head, "", *lines, *([""] if below else []), *(f"- {line}" for line in below)])


def superscript(value: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(value))


def body() -> str:
    """All tables."""
    order = ("speed", "gpu", "data", "learned", "darcy", "demo", "flows", "cfdbench", "operators", "physics",
             "constraints", "own_data", "linear", "mesh", "turbulence", "particles", "seeds")  # fmt: skip
    records = [json.loads((RESULTS / f"{n}.json").read_text()) for n in order if (RESULTS / f"{n}.json").exists()]
    return "\n\n".join(table(r) for r in records)


def rows_of(mark: str) -> str:
    """The table for a mark "<!-- rows LEDGER: SECTION: column, column as words, ... -->" of a page; "SECTION where
    column=value and ..." takes the rows that hold the values there."""
    name, section, columns = (part.strip() for part in mark.split(":", 2))
    pairs = [
        (key, words or key.replace("_", " ")) for key, _, words in (c.partition(" as ") for c in columns.split(", "))
    ]
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return "Not measured yet."
    record = json.loads(path.read_text())
    lines = ["| " + " | ".join(words for _, words in pairs) + " |", "|" + " ---: |" * len(pairs)]
    section, _, where = section.partition(" where ")
    wanted = [tuple(one.split("=", 1)) for one in where.split(" and ")] if where else []
    found = [
        row for row in record["rows"]
        if row.get("section") == section and all(_told(row.get(column)) == value for column, value in wanted)
    ]  # fmt: skip
    for row in found:
        lines.append("| " + " | ".join(_cell(row.get(key)) for key, _ in pairs) + " |")
    return "\n".join(lines) if found else "Not measured yet."


def _told(value: Any) -> str:
    """A value as a mark writes it."""
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _cell(value: Any) -> str:
    if isinstance(value, bool) or isinstance(value, str) or value is None:
        return {True: "yes", False: "no", None: "–"}.get(value, str(value))
    if isinstance(value, list):
        return " × ".join(_cell(v) for v in reversed(value))
    return f"{value:,}" if isinstance(value, int) else _figures(value)


def _figures(value: float) -> str:
    """Six figures of what is close to one, four of others."""
    if 0.99 < value < 1.01:
        return f"{value:.6g}"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 else number(value)


def figures_of(mark: str) -> str:
    """The table for a mark "<!-- figures FIRST | SECOND: LEDGER.CHECK as words; ... -->": what was measured, what it is
    of, and the command that measures it, under the heads FIRST and SECOND."""
    heads, _, wanted = mark.partition(": ")
    first, second = (part.strip() for part in heads.split("|"))
    lines = [f"| {first} | {second} | by |", "| ---: | --- | --- |"]
    for one in wanted.split(";"):
        place, _, words = one.strip().partition(" as ")
        name, _, key = place.partition(".")
        record = json.loads((RESULTS / f"{name}.json").read_text())
        (check,) = [c for c in record["checks"] if c["id"] == key]
        lines.append(f"| {figure(check)} | {words} | `{record['command']}` |")
    return "\n".join(lines)


def systems_of(mark: str) -> str:
    """The table for a mark "<!-- systems HEAD | HEAD | HEAD | HEAD: SYSTEM | OBJECT | PLACE as words; ... -->": a
    published system, what it is called here, and what was measured of it, at LEDGER.CHECK or, of a row,
    LEDGER/SECTION/column=value&.../COLUMN."""
    heads, _, wanted = mark.partition(": ")
    lines = ["| " + " | ".join(h.strip() for h in heads.split("|")) + " |", "| --- | --- | ---: | --- |"]
    for one in wanted.split(";"):
        system, thing, told = (part.strip() for part in one.split("|"))
        place, _, words = told.partition(" as ")
        lines.append(f"| {system} | `{thing}` | {_measured(place)} | {words} |")
    return "\n".join(lines)


def _measured(place: str) -> str:
    if "/" not in place:
        name, _, key = place.partition(".")
        checks = [c for c in _record(name).get("checks", []) if c["id"] == key and c["value"] is not None]
        return figure(checks[0]) if checks else "not measured yet"
    name, section, where, column = place.split("/")
    wanted = [tuple(part.split("=", 1)) for part in where.split("&")]
    for row in _record(name).get("rows", []):
        if row.get("section") == section and all(_told(row.get(key)) == value for key, value in wanted):
            return number(row[column])
    return "not measured yet"


def _record(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


#: kind of mark -> what makes its table
MADE: dict[str, Callable[[str], str]] = {"rows": rows_of, "figures": figures_of, "systems": systems_of}
MARK = re.compile(r"<!-- (rows|figures|systems) ([^>]*?) -->.*?<!-- end of \1 -->", re.DOTALL)


def page(text: str) -> str:
    """A page with its tables made anew."""

    def made(found: re.Match[str]) -> str:
        kind, mark = found[1], found[2]
        return f"<!-- {kind} {mark} -->\n{MADE[kind](mark)}\n<!-- end of {kind} -->"

    return MARK.sub(made, text)


def main() -> None:
    for path in sorted((ROOT / "docs").glob("*.md")):
        old = path.read_text()
        if (new := page(old)) != old:
            path.write_text(new)
    text = (ROOT / "README.md").read_text()
    if START not in text or END not in text:
        raise SystemExit(f"README.md: the marks {START} and {END} are missing")
    tables = f"{START}\n{body()}\n{END}"
    new = re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: tables, page(text), count=1, flags=re.DOTALL)
    (ROOT / "README.md").write_text(new)
    print(f"README.md: {tables.count(chr(10))} lines of tables")


if __name__ == "__main__":
    main()
