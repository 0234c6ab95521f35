"""What a page is made of: sections that hold tables, figures, notes, tabs, films and code.

The builders of the sections return these; the template alone knows how they look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what it says, whether it is the best of its column, and a note for the pointer."""

    text: str
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table that scrolls sideways inside its own box; `rows` are (kind, cells), kind colours the row's mark."""

    head: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    caption: str = ""
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Figures:
    """Drawings laid side by side where there is room (`pairs`: two at most), under each other on a phone."""

    items: Sequence[str]
    caption: str = ""
    pairs: bool = False
    kind: Literal["figures"] = "figures"


@dataclass(frozen=True)
class Note:
    """A paragraph of plain text; `quiet` for an aside such as what was left out and why."""

    text: str
    quiet: bool = False
    kind: Literal["note"] = "note"


@dataclass(frozen=True)
class Facts:
    """Names with values, such as settings or versions."""

    items: Sequence[tuple[str, str]]
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True)
class Code:
    """Text to copy into a terminal or to read as it is."""

    text: str
    caption: str = ""
    kind: Literal["code"] = "code"


@dataclass(frozen=True)
class Tabs:
    """Alternatives of which one is seen at a time; without script and in print all are, one after the other."""

    items: Sequence[tuple[str, Sequence[object]]]
    kind: Literal["tabs"] = "tabs"


@dataclass(frozen=True)
class Film:
    """An animation: `strips` are pictures (data: addresses) of all frames side by side, one for each of `titles`.

    `width` × `height` are the cells of one frame; `times` are what is written under each frame; `bars` one colour bar
    (SVG) a strip.
    """

    strips: Sequence[str]
    titles: Sequence[str]
    width: int
    height: int
    times: Sequence[str]
    bars: Sequence[str]
    caption: str = ""
    kind: Literal["film"] = "film"

    @property
    def frames(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Section:
    """One heading with its blocks; `anchor` is its address on the page."""

    anchor: str
    title: str
    blocks: Sequence[object] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """The whole page: the verdict first, then the sections."""

    title: str
    verdict: str
    tone: Literal["good", "mixed", "poor", "plain"]
    highlights: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    footer: str = ""
