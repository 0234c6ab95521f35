"""What commands print: one JSON document, or tables for people. Progress and notes go to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from sciml._json import plain


def print_json(content: Any) -> None:
    """Print one JSON document to standard output, in escapes where that is not Unicode."""
    escaped = not str(getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    print(json.dumps(plain(content), indent=2, ensure_ascii=escaped, allow_nan=False))


def console(stderr: bool = False) -> Any:
    """Return a console; piped output keeps its full width instead of being cut to 80 columns."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, soft_wrap=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=160)


def note(text: str) -> None:
    """Tell a person something on standard error."""
    from rich.text import Text

    console(stderr=True).print(Text(text))


def watched() -> bool:
    """Whether a person may be looking on: progress is shown to nobody else."""
    import sys

    return sys.stderr.isatty()


def teller() -> Callable[[str], None] | None:
    """Return what tells a person who looks on which part of a longer work has begun."""
    return note if watched() else None


def facts(title: str, items: Sequence[tuple[str, str]]) -> Any:
    """Return a two-column table without lines."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, "bold") if title else None,
        title_justify="left",
        box=None,
        show_header=False,
        padding=(0, 2, 0, 0),
    )
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in items:
        table.add_row(Text(name), Text(value))
    return table


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """Return a table with a heading; numbers are set to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=Text(title, "bold") if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for index, name in enumerate(head):
        made.add_column(Text(name), justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(str(cell)) for cell in row))
    return made


def size(count: float) -> str:
    """Return a number of bytes in the usual units."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return ""
