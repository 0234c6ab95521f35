"""From a `Page` to one HTML file that needs nothing else: styles, script, drawings and pictures are all inside."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from sciml.reporting._files import write_text
from sciml.reporting.blocks import Page


def _template(name: str) -> str:
    return resources.files("sciml.reporting").joinpath("templates", name).read_text(encoding="utf-8")


def render(page: Page) -> str:
    """Return the HTML text of `page`. Every text is escaped; only our own drawings go in as they are."""
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        page=page, style=_template("report.css"), script=_template("report.js")
    )


def write(page: Page, out: str | Path) -> Path:
    """Render `page` and put it at `out` in one move: either the whole page is there or what was there before."""
    return write_text(out, render(page))
