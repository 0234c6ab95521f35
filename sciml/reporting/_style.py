"""How every figure of the report looks: one palette, one type size, one way out to SVG and PNG.

Colours are those of Okabe and Ito (2008), which readers with any common colour-vision deficiency can tell apart;
maps are viridis (magnitudes), RdBu reversed (signed) and cividis (absolute errors).
A figure is a fresh Matplotlib `Figure` drawn by the Agg/SVG canvas, never through pyplot, so that drawing a report
leaves a caller's own plotting state alone.
"""

from __future__ import annotations

import base64
import contextlib
import contextvars
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

INK = "#1b1f24"
MUTED = "#5b6470"
GRID = "#e3e6ea"
LEARNED = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
UNLEARNED = ("#6b7280", "#8d939c", "#4b5563", "#a3a8b0")
DASHES = ((0, (4, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)), (0, (2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
SUBSETS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")

_RC: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "sciml",
    "figure.dpi": 96,
    "axes.formatter.useoffset": False,
    "axes.titley": 1.0,  # no ticks above, so that there is nothing to look for a place above of
}

_serial = itertools.count(1)
_styled = contextvars.ContextVar("styled", default=False)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Around, or as the decorator of, whatever draws: the settings of this module on top of Matplotlib's defaults, and
    none of the user's own (LaTeX for all text, say, or another set of fonts), which are as before afterwards.

    Within another one it does nothing: to set all of Matplotlib's settings takes as long as some drawings do.
    """
    if _styled.get():
        yield
        return
    inside = _styled.set(True)
    try:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_RC)
            yield
    finally:
        _styled.reset(inside)


@dataclass(frozen=True)
class Look:
    """Colour, dash and marker of one row of the comparison, the same in every figure of a page."""

    colour: str
    dash: object = "-"
    marker: str = "o"
    width: float = 2.0


def looks(names: Sequence[str], kinds: Sequence[str]) -> dict[str, Look]:
    """Give every row its look: strong colours for surrogates, dashed greys for what needs no training."""
    given: dict[str, Look] = {}
    learned = plain = 0
    for name, kind in zip(names, kinds, strict=True):
        if name in given:
            continue
        if kind == "surrogate":
            given[name] = Look(LEARNED[learned % len(LEARNED)], "-", MARKERS[learned % len(MARKERS)], 2.4)
            learned += 1
        elif kind == "reference":
            given[name] = Look(INK, (0, (5, 2)), "D", 1.5)
        else:
            given[name] = Look(UNLEARNED[plain % len(UNLEARNED)], DASHES[plain % len(DASHES)], "x", 1.6)
            plain += 1
    return given


def figure(width: float = 4.0, height: float = 3.1) -> tuple[Figure, Axes]:
    """Return an empty figure of `width` × `height` inches (96 px each) with one pair of axes.

    The default fits the width of a phone almost unscaled, so that 9-point type stays readable there.
    """
    with style():
        made = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(made)
        return made, made.add_subplot()


@style()
def caption(axes: Axes, title: str = "", xlabel: str = "", ylabel: str = "", pad: float | None = None) -> None:
    """Write the title (bold, flush left, `pad` points above) and the names of the axes, with their units."""
    axes.set_title(title, loc="left", fontweight="bold", fontsize=10.5, pad=pad)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)


def svg(made: Figure, label: str) -> str:
    """Return `made` as an SVG element for use inside HTML; `label` is what a screen reader says.

    Identifiers get a prefix of their own: several drawings share one page, and their clip paths must not meet.
    """
    buffer = io.StringIO()
    with style():
        # `savefig` draws twice, the first time for what nothing here makes use of
        FigureCanvasSVG(made).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    # Laid out with DejaVu Sans, the widest of the usual faces: any that a reader has instead still fits.
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', 'Segoe UI', Roboto, Helvetica, Arial, sans-serif")
    prefix = f"f{next(_serial)}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = text.replace("url(#", f"url(#{prefix}").replace('href="#', f'href="#{prefix}')
    # Coordinates beyond a hundredth of a point cannot be seen and make up most of the bytes.
    text = re.sub(r"(?<=[\s\"LMQC(,-])(\d+\.\d\d)\d+", r"\1", text)
    head, rest = text.split(">", 1)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', head)
    if size is not None:  # points to CSS pixels; the style sheet shrinks it where the page is narrower
        pixels = float(size.group(1)) * 96 / 72
        head = head.replace(size.group(0), f'style="width:{pixels:.0f}px"')
    return f'{head} role="img" aria-label="{_attribute(label)}">{rest.strip()}'


def png(made: Figure, dpi: int = 110) -> bytes:
    """Return `made` as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with style():
        made.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """Return `content` as a data: address, which needs no network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


@style()
def label_lines(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float = 12.0) -> None:
    """Write each line's name beside its right end, moved apart vertically where two would touch.

    `ends` holds (x, y, text, colour) in data units; `gap` is the least distance between two names in points.
    Call it last: it reads the limits of the axes.
    """
    figure_: Any = axes.figure
    usable = [end for end in ends if _finite(end[0]) and _finite(end[1])]
    if not usable:
        return
    _lay_out(figure_.get_figure(root=True), axes)
    scale = 72.0 / figure_.get_figure(root=True).dpi
    box = axes.get_window_extent()
    low, high = box.y0 * scale + 5, box.y1 * scale
    wanted = sorted(
        ((axes.transData.transform((x, y))[1] * scale, x, y, text, colour) for x, y, text, colour in usable),
        key=lambda item: item[0],
    )
    placed = _spread([min(max(item[0], low), high) for item in wanted], gap, low, high)
    for (natural, x, y, text, colour), target in zip(wanted, placed, strict=True):
        axes.annotate(
            text, (x, y), xytext=(7, target - natural), textcoords="offset points", color=colour,
            fontsize=9, va="center", ha="left", annotation_clip=False,
        )  # fmt: skip


@style()
def label_points(axes: Axes, points: Sequence[tuple[float, float, str, str, bool]]) -> None:
    """Write a name beside every point (x, y, text, colour, bold), on the first side where it touches nothing.

    Call it last: it reads the limits of the axes.
    """
    made = axes.figure.get_figure(root=True)
    assert made is not None
    _lay_out(made, axes)
    pixels = made.dpi / 72.0
    dots = [axes.transData.transform((x, y)) for x, y, *_ in points]
    taken = [Bbox.from_bounds(a - 5 * pixels, b - 5 * pixels, 10 * pixels, 10 * pixels) for a, b in dots]
    frame = axes.get_window_extent()
    sides = ((8, 0, "left", "center"), (-8, 0, "right", "center"), (0, 8, "center", "bottom"), (0, -8, "center", "top"),
             (7, 8, "left", "bottom"), (7, -8, "left", "top"), (-7, 8, "right", "bottom"), (-7, -8, "right", "top"),
             (0, 20, "center", "bottom"), (0, -20, "center", "top"))  # fmt: skip
    for number_, (x, y, text, colour, bold) in enumerate(points):
        best = None
        for across, up, ha, va in sides:
            label = axes.annotate(
                text, (x, y), xytext=(across, up), textcoords="offset points", ha=ha, va=va, color=colour, fontsize=9,
                fontweight="bold" if bold else "normal", annotation_clip=False,
            )  # fmt: skip
            box = label.get_window_extent()
            others = [t for i, t in enumerate(taken) if i != number_]
            outside = max(frame.x0 - box.x0, 0) + max(box.x1 - frame.x1, 0)
            badness = sum(box.overlaps(other) for other in others) * 100 + outside
            if best is None or badness < best[0]:
                if best is not None:
                    best[1].remove()
                best = (badness, label, box)
            else:
                label.remove()
            if badness == 0:
                break
        assert best is not None
        taken.append(best[2])


def _lay_out(made: Figure, axes: Axes) -> None:
    """Put axes where a drawing will, with their limits: all that is asked of them before they are drawn."""
    engine = made.get_layout_engine()
    if engine is not None:
        engine.execute(made)
    for limits in (axes.get_xlim, axes.get_ylim):  # as far as the data go
        limits()


def number(value: float) -> str:
    """Return an error as text with two significant digits, in powers of ten where it is small or large."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e3:
        return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}·10{superscript(int(exponent))}"


def superscript(exponent: int) -> str:
    """Return a whole number as an exponent."""
    return str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return sorted `positions` moved as little as needed to lie `gap` apart within [low, high] where that fits."""
    groups: list[list[float]] = []  # [centre, count]: neighbours that touch share one block
    for position in positions:
        groups.append([position, 1.0])
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            (b, n), (a, m) = groups.pop(), groups.pop()
            groups.append([(a * m + b * n) / (m + n), m + n])
    result: list[float] = []
    for centre, count in groups:
        half = gap * (count - 1) / 2
        if high - low > 2 * half:
            centre = min(max(centre, low + half), high - half)
        result.extend(centre - half + gap * i for i in range(int(count)))
    return result


def _finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")
