"""`sciml demo`."""

from __future__ import annotations

import typer


def demo(out: str = typer.Option("runs/demo", "--out", metavar="DIR", help="Folder for data, runs and page.")) -> None:
    """Make cavity flows, train two operators on them, hold them against what needs no training, write a page."""
    raise NotImplementedError
