"""Progress of long work, on the error stream, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class Bar:
    """A bar over things that are done one by one; as a context it gives the function that advances it.

    Args:
        name: what is being done.
        count: how many there are; a single one needs no bar.
        wanted: whether to show it.
    """

    def __init__(self, name: str, count: int, wanted: bool):
        self.name, self.count = name, count
        self.progress: Any = None
        self.wanted = wanted and count > 1 and sys.stderr.isatty()

    def __enter__(self) -> Callable[[], None]:
        if not self.wanted:
            return lambda: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=Console(stderr=True))
        self.progress.start()
        task = self.progress.add_task(self.name, total=self.count)
        return lambda: self.progress.advance(task)

    def __exit__(self, *_: Any) -> None:
        if self.progress is not None:
            self.progress.stop()
