"""Reports: trained runs held against what needs no training, on one self-contained HTML page.

report      runs and data to a page
compare     the same comparison as plain values (`Study`)
write_page  a `Study` to a page
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sciml.reporting.comparison import compare
from sciml.reporting.study import Study

__all__ = ["Study", "compare", "report", "write_page"]


def report(
    runs: Any,
    data: Any = None,
    out: str | Path = "report.html",
    *,
    split: str = "test",
    steps: int = 20,
    tell: Any = None,
    statistics: Any = None,
) -> Path:
    """Write one HTML page about trained runs: comparison, fields, errors, speed, audit, and how to make it again.

    Args:
        runs: a folder or a trained `Surrogate`, or several; those that differ in their seed alone share a row.
        data: data set, as a path or open; default the one that `sciml train` recorded in the first run.
        out: the page to write, replaced if it exists.
        split, steps: which cases are held out, and the length of rollouts.
        tell: function of one line, called before each longer part.
        statistics: of turbulence and the like, see `compare`.

    Returns:
        The path of the page.

    Raises:
        InputError: runs, data or a place that cannot be used.
    """
    return write_page(
        compare(runs, data, split=split, steps=steps, details=True, tell=tell, statistics=statistics), out
    )


def write_page(study: Study, out: str | Path) -> Path:
    """Draw a study and write its page, whole or not at all."""
    from sciml.reporting.page import write
    from sciml.reporting.sections import build

    return write(build(study), out)
