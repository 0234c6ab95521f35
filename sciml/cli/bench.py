"""`sciml bench`: run the measurements of a source checkout, or list what they last gave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from sciml.errors import InputError


def bench(
    name: str = typer.Argument(None, metavar="[NAME]", help="Which benchmark; all of them when left out."),
    show: bool = typer.Option(False, "--list", help="Only list the benchmarks and the last results."),
    as_json: bool = typer.Option(False, "--json", help="Print the ledgers as JSON."),
) -> None:
    """Run benchmarks (they live in a source checkout) and show what they measured against the goals."""
    from sciml.cli._arguments import choice

    folder = _folder()
    names = sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_") and p.stem != "readme")
    if name is not None:
        choice("NAME", name, names)
    chosen = [name] if name else names
    if not show:
        for one in chosen:
            done = subprocess.run([sys.executable, "-m", f"benchmarks.{one}"], cwd=folder.parent, check=False,
                                  stdout=sys.stderr)  # fmt: skip
            if done.returncode:
                raise typer.Exit(130 if done.returncode in (130, -2) else 1)
    ledgers = {one: _ledger(folder / "results" / f"{one}.json") for one in chosen}
    _print(ledgers, as_json)


def _folder() -> Path:
    """Return benchmarks/ of the checkout that this package runs from, or of the current folder."""
    package = Path(__file__).resolve().parents[1]
    for parent in (package.parent, Path.cwd(), *Path.cwd().parents):
        if (parent / "benchmarks" / "_ledger.py").is_file():
            return parent / "benchmarks"
    raise InputError(f"bench: no benchmarks/ beside {package} or in {Path.cwd()}; expected to run in a source checkout")


def _ledger(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"bench: {path} is not a ledger ({error}); expected JSON written by a benchmark") from None
    if not isinstance(content, dict):
        raise InputError(f"bench: {path} is not a ledger; expected a JSON object")
    return content


def _print(ledgers: dict[str, dict[str, Any] | None], as_json: bool) -> None:
    from sciml.cli import _show

    if as_json:
        _show.print_json(ledgers)
        return
    rows = []
    for name, ledger in ledgers.items():
        checks = (ledger or {}).get("checks", [])
        if not checks:
            rows.append((name, "–", "–", "–", "not run yet" if ledger is None else "no checks"))
        for check in checks:
            value = check.get("value")
            shown = "–" if value is None else f"{value:.4g}"
            rows.append((name, check["id"], shown, str(check.get("goal", "")), check["status"]))
    _show.console().print(_show.table("", ("benchmark", "figure", "measured", "goal", "status"), rows))
