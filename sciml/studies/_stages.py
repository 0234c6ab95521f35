"""Work in stages that are skipped where they are done, so that what was cut short goes on where it stopped."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sciml.errors import InputError


class Stages:
    """Which stages are done with which settings, kept in a file of the folder that they fill.

    Args:
        path: of the record, JSON: name of a stage -> its settings, whether it is complete, its seconds.
        overwrite: do every stage anew.
        tell: is told what happens, a line each.
        within: the key of the record that holds the stages; None where they are all that it holds.
    """

    def __init__(
        self, path: Path, overwrite: bool = False, tell: Callable[[str], None] | None = None, within: str | None = None
    ):
        self.path, self.overwrite, self.tell = path, overwrite, tell or (lambda text: None)
        self.fresh = overwrite
        self.times: dict[str, dict[str, Any]] = {}
        self.content: dict[str, Any] = {}
        if path.exists():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError):
                content = None
            self.content = content if isinstance(content, dict) else {}
        self.done: dict[str, Any] = self.content
        if within is not None:
            if not isinstance(self.content.get(within), dict):
                self.content[within] = {}
            self.done = self.content[within]

    def run(self, name: str, settings: Any, products: Sequence[Path], work: Callable[[], None]) -> None:
        """Do a stage, unless it is done."""
        if self.begin(name, settings, products):
            began = time.monotonic()
            work()
            self.end(name, time.monotonic() - began)

    def begin(self, name: str, settings: Any, products: Sequence[Path]) -> bool:
        """Whether there is anything to do; then what is left of an earlier one is gone or can be gone on with."""
        from sciml.data._solution import version

        key = json.dumps({"settings": settings, "sciml": version()}, sort_keys=True)
        before = self.done.get(name)
        before = before if isinstance(before, dict) else None
        same = before is not None and before.get("key") == key
        complete = before is not None and before.get("complete") is True and all(p.exists() for p in products)
        if before is not None and same and complete and not self.overwrite:
            self.times[name] = {"seconds": float(before.get("seconds", 0.0)), "skipped": True}
            self.tell(f"{name}: done before")
            return False
        # Settings that changed make what is there another stage's; what was cut short goes on.
        self.fresh = self.overwrite or (before is not None and not same)
        self.done[name] = {"key": key, "complete": False}
        self.write()
        self.tell(f"{name} ...")
        for product in products:
            if product.is_file() and (self.fresh or same):
                product.unlink()
        return True

    def end(self, name: str, seconds: float) -> None:
        """A stage that was begun is done."""
        self.times[name] = {"seconds": seconds, "skipped": False}
        self.done[name] |= {"complete": True, "seconds": seconds}
        self.write()
        self.tell(f"{name}: {seconds:.1f} s")

    def write(self) -> None:
        """Put the record where it belongs, whole or not at all."""
        from sciml._json import plain
        from sciml.reporting._files import write_text

        write_text(self.path, json.dumps(plain(self.content), indent=1, allow_nan=False) + "\n")


def remove_run(folder: Path) -> None:
    """Remove the files of a run, and nothing that no run writes: a mistyped folder must not cost its content."""
    from sciml.reporting.gather import COMMAND_FILE
    from sciml.solvers._saved import PARTS

    ours = {"config.json", "metrics.jsonl", "run.json", "checkpoints", COMMAND_FILE}
    ours |= {f"{part}.safetensors" for part in PARTS}
    foreign = sorted(p.name for p in folder.iterdir() if p.name not in ours and not p.name.startswith("."))
    if foreign:
        raise InputError(f"overwrite: {folder} also holds {foreign[0]!r}, which no run writes; remove it yourself")
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
