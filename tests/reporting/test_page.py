"""The page: everything on it, nothing outside it, readable on a laptop and on a phone."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from _browser import browser, find
from _synthetic import SUBSETS, sample, small, study

from sciml.errors import InputError
from sciml.reporting import write_page
from sciml.reporting.blocks import Figures
from sciml.reporting.page import render
from sciml.reporting.sections import build
from sciml.reporting.sections.setting import training
from sciml.support import Grid

ANCHORS = ("setting", "comparison", "growth", "fields", "animation", "profiles", "parameters", "spectra", "cost",
           "audit", "reproduce")  # fmt: skip


class Outline(HTMLParser):
    """Checks that tags match, and collects identifiers, addresses and text."""

    VOID = frozenset({"meta", "link", "img", "input", "br", "hr", "path", "use", "rect", "stop"})

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
            self.open.pop()

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_page(study(), tmp_path_factory.mktemp("page") / "report.html")


def test_has_every_section_and_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    outline = Outline(text)
    assert set(ANCHORS) <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))  # drawings share one page
    assert all(a.startswith(("#", "data:")) for a in outline.addresses), outline.addresses
    targets = [a[1:] for a in outline.addresses if a.startswith("#")]
    assert set(targets) <= set(outline.ids)
    for name in re.findall(r"url\(#(.+?)\)", text):
        assert name in outline.ids
    assert page.stat().st_size < 8e6
    shown = " ".join(outline.words)
    for words in ("persistence", "mean field", "interpolation", "reference 16²", "FNO", "U-Net", "Ghia et al. (1982)",
                  "sciml report runs/fno --data cavity.h5", "torch", "m s⁻¹", "± "):  # fmt: skip
        assert words in shown, words


def test_drawings_do_not_depend_on_the_users_settings():
    wanted = render(build(small()))
    own = {
        "text.usetex": True,
        "axes.grid": False,
        "figure.facecolor": "black",
        "lines.linewidth": 9.0,
        "savefig.bbox": "tight",
        "axes.titlesize": 30.0,
    }
    with matplotlib.rc_context(own):
        found = render(build(small()))
        assert all(matplotlib.rcParams[name] == value for name, value in own.items())
    # each drawing's identifiers have a number of their own
    assert re.sub(r"\bf\d+-", "", found) == re.sub(r"\bf\d+-", "", wanted)


def test_text_from_data_is_escaped():
    hostile = '<script>alert("x")</script>'
    text = render(build(small(title=hostile, data_name=hostile, command=hostile)))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_type_is_at_least_nine_points(page):
    """Sizes in the drawings are CSS pixels; 9 pt are 12 px at 96 px an inch. Superscripts of exponents are smaller."""
    text = page.read_text(encoding="utf-8")
    sizes = [float(s) for s in re.findall(r"font: (?:[a-z0-9]+ )?([\d.]+)px", text)]
    assert sizes
    drawn = [s for s in sizes if s >= 8]  # 0.7 of 9: exponents
    assert min(drawn) >= 9.0


@pytest.mark.integration
def test_in_a_browser(page, tmp_path):
    assert find() is not None, "this test needs Chromium (Debian package chromium)"
    with browser() as chromium:
        for width, mobile in ((1280, False), (390, True)):
            chromium.open(page, width, 850, mobile)
            assert chromium.complaints() == []
            assert chromium.requests() == []
            overflow = chromium.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0
            # tables scroll inside their own box, and drawings fit the page
            assert chromium.evaluate("[...document.querySelectorAll('svg, canvas')].every("
                                     "e => e.getBoundingClientRect().right <= innerWidth + 1)")  # fmt: skip
            chromium.screenshot(tmp_path / f"{width}.png")
            assert (tmp_path / f"{width}.png").stat().st_size > 50_000


@pytest.mark.integration
def test_tabs_and_film_work(page):
    assert find() is not None, "this test needs Chromium (Debian package chromium)"
    with browser() as chromium:
        chromium.open(page, 1280, 850)
        assert chromium.evaluate("[...document.querySelectorAll('#fields .tab')].filter(t => !t.hidden).length") == 1
        chromium.evaluate("document.querySelectorAll('#fields .tablist button')[2].click()")
        seen = "[...document.querySelectorAll('#fields .tab')].findIndex(t => !t.hidden)"
        assert chromium.evaluate(seen) == 2
        assert chromium.evaluate("document.querySelectorAll('#fields .tablist button').length") == len(SUBSETS)
        shot = "document.querySelector('.film canvas').toDataURL()"
        first = chromium.evaluate(shot)
        chromium.evaluate("(s => { s.value = 20; s.dispatchEvent(new Event('input')); })"
                          "(document.querySelector('.film input'))")  # fmt: skip
        assert chromium.evaluate(shot) != first
        assert "step 20" in chromium.evaluate("document.querySelector('.film output').textContent")
        playing = "document.querySelector('.film button').textContent"
        assert chromium.evaluate(playing) == "Play"
        chromium.evaluate("document.querySelector('.film button').click()")
        assert chromium.evaluate(playing) == "Pause"
        assert chromium.complaints() == []


@pytest.mark.integration
def test_nothing_moves_for_readers_who_ask_for_that(page):
    assert find() is not None, "this test needs Chromium (Debian package chromium)"
    with browser() as chromium:
        for reduced in (False, True):
            chromium.open(page, 1280, 850, reduced_motion=reduced)
            chromium.evaluate("document.querySelector('.film').scrollIntoView()")
            chromium.evaluate("new Promise(done => setTimeout(done, 900))")
            state = chromium.evaluate("document.querySelector('.film button').textContent")
            assert state == ("Play" if reduced else "Pause")


def _one_dimensional():
    times, x = np.linspace(0, 1, 6), np.linspace(0.05, 0.95, 10)
    truth = {"u": np.sin(2 * np.pi * x)[None] * np.exp(-times)[:, None]}
    return dataclasses.replace(
        sample("", 0), times=times, support=Grid((np.linspace(0, 1, 11),)), truth=truth,
        predictions={"FNO": {"u": truth["u"] * 1.05}}, audits={},
    )  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": []},
        {"benchmarks": [], "runs": [], "rollout_features": {}},
        {"fields": {"u": "1"}, "velocity": (), "samples": [_one_dimensional()], "benchmarks": []},
        {"subsets": ["all"], "rollout_subset": ["all"] * 24, "samples": [sample("", 0)]},
        {"facts": [], "settings": [], "versions": [], "command": "", "more": {}},
    ],
    ids=["no samples", "no table, runs or parameters", "one dimension", "no subsets", "no words"],
)
def test_parts_that_are_missing_are_left_out(changes):
    Outline(render(build(small(**changes))))


def test_a_steady_problem():
    whole = small()
    still = dataclasses.replace(sample("", 0), times=np.zeros(1))
    still = dataclasses.replace(
        still, truth={k: v[:1] for k, v in still.truth.items()},
        predictions={m: {k: v[-1:] for k, v in p.items()} for m, p in still.predictions.items()},
    )  # fmt: skip
    made = small(steady=True, square=whole.square[:, :, :1], label=whole.label[:, :1], samples=[still], benchmarks=[])
    outline = Outline(render(build(made)))
    assert "growth" not in outline.ids and "animation" not in outline.ids
    assert {"comparison", "fields", "spectra"} <= set(outline.ids)


def test_one_row_alone():
    whole = small()
    alone = small(rows=[whole.rows[5]], square=whole.square[5:6], samples=[], runs=[])
    outline = Outline(render(build(alone)))
    assert "comparison" in outline.ids


def test_a_diverged_rollout_is_drawn():
    whole = small()
    square = whole.square.copy()
    square[6, :, 10:] = np.inf
    Outline(render(build(small(square=square))))


def test_writing_is_whole_or_not_at_all(tmp_path):
    target = tmp_path / "kept.html"
    target.write_text("before")
    blocked = tmp_path / "file" / "report.html"
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"report\.html"):
        write_page(small(samples=[]), blocked)
    with pytest.raises(InputError, match="folder"):
        write_page(small(samples=[]), tmp_path)
    assert target.read_text() == "before"
    write_page(small(samples=[]), target)
    assert target.read_text().startswith("<!DOCTYPE html>")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "kept.html"]


def test_what_validation_is_of_is_told():
    """Runs that are trained by rollouts are validated by them."""
    whole = study()
    (step,) = whole.runs
    rollout = dataclasses.replace(step, history=[{**r, "validation_one_step": 0.1} for r in step.history])
    words = {"one step": [step], "rollouts as long as in training": [rollout], "where there are some": [step, rollout]}
    for expected, runs in words.items():
        told = [b.caption for b in training(dataclasses.replace(whole, runs=runs)) if isinstance(b, Figures)]
        assert len(told) == 1 and f"{expected}. One pair of lines a run." in told[0]
