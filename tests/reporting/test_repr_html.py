"""What a notebook shows for the nouns."""

from __future__ import annotations

import html.parser
import subprocess
import sys

import numpy as np
import pytest

import sciml
from sciml._repr_html import pretty_unit


class Matched(html.parser.HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


OWN = sciml.problems.DataProblem("smoke", ["c", "u"], ["rate"], periodic=(True, False))


@pytest.mark.parametrize("name", sciml.registry.problems.names())
def test_every_problem(name):
    problem = OWN if name == "data" else sciml.registry.problems.get(name)()
    text = problem._repr_html_()
    Matched(text)
    for spec in (*problem.fields, *problem.parameters, *problem.inputs):
        assert spec.name in text


def test_case_with_inputs_and_a_hostile_label():
    lid = sciml.Series([0, 1, 2], [0, 1, 0.5])
    psi = np.outer(np.hanning(9), np.hanning(9))
    case = sciml.problems.LidDrivenCavity().case(
        label="<img src=x>", viscosity=0.0025, lid_motion=lid, initial_streamfunction=psi
    )
    text = case._repr_html_()
    Matched(text)
    assert "<img" not in text and "&lt;img" in text
    for part in ("0.0025", "Pa s", "Reynolds number", "400", "3 knots", "9 × 9", "<svg"):
        assert part in text


def test_case_of_own_data():
    text = OWN.case(label="one", rate=2.5)._repr_html_()
    Matched(text)
    assert text.count("rate") == 1 and "2.5" in text  # the parameter is not said twice


def test_solver_shows_its_settings():
    solver = sciml.solvers.Surrogate("fno", width=8)
    Matched(solver._repr_html_())
    assert "fno" in solver._repr_html_() and "Surrogate" in solver._repr_html_()


@pytest.mark.parametrize(
    ("unit", "text"), [("m s-1", "m s⁻¹"), ("1", "–"), ("", "–"), ("kg m-3", "kg m⁻³"), ("Pa s", "Pa s")]
)
def test_units(unit, text):
    assert pretty_unit(unit) == text


def test_needs_numpy_alone():
    code = (
        "import sys, sciml\nfrom sciml.problems import LidDrivenCavity\nLidDrivenCavity().case()._repr_html_()\n"
        "print([m for m in ('torch', 'jax', 'xarray', 'matplotlib', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
