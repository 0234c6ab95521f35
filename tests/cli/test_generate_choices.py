"""`sciml generate --set`: what is made otherwise than the design of a problem says."""

import json

import numpy as np
import pytest

import sciml

SMALL = ("--cases", 2, "--frames", 2, "--resolution", "4,9,6")


def chosen(*paths):
    return [word for path in paths for word in ("--set", path)]


def test_a_channel_with_all_that_can_be_chosen(cli, tmp_path):
    words = chosen(
        "problem.drive=flow_rate", "case.viscosity=1/40", "case.bulk_velocity=9", "solver.closure=WALE(constant=0.4)",
        "solver.resolution=4,11,6", "times.start=0.01", "times.step=0.02",
    )  # fmt: skip
    made = cli("generate", "turbulent_channel", "--out", tmp_path / "a.h5", *SMALL, *words)
    assert made.code == 0, made.err
    with sciml.data.open(tmp_path / "a.h5") as found:
        case, solution = sciml.data.case(found, 0)
    assert case.problem.options == {"drive": "flow_rate"} and case.viscosity == pytest.approx(0.025)
    np.testing.assert_allclose(solution.time, [0.01, 0.03])
    told = json.loads(cli("generate", "turbulent_channel", "--plan", "--json", *SMALL, *words).out)[0]
    assert told["solved_on"] == [264, 264] and told["cells"] == [4, 9, 6] and told["core_seconds"] > 0


@pytest.mark.parametrize("typed", ["wale", "WALE", "WALE()", "Dynamic_Smagorinsky", "DynamicSmagorinsky()"])
def test_parts_are_named_as_people_write_them(cli, typed):
    told = cli("generate", "turbulent_channel", "--plan", *SMALL, *chosen(f"solver.closure={typed}"))
    assert told.code == 0 and "solved on 216 cells" in told.out
    plain = cli("generate", "turbulent_channel", "--plan", *SMALL, *chosen("solver.closure=none"))
    assert "solved on 143,424 cells" in plain.out


def test_options_say_what_the_rest_can_be(cli):
    told = cli("generate", "burgers_front", "--plan", "--resolution", "8,8", *chosen("problem.dimensions=2"))
    assert told.code == 0 and "8 x 8 cells" in told.out
    cavity = cli("generate", "cavity", "--plan", "--subset", "bc", *chosen("case.viscosity=0.02", "solver.cfl=0.5"))
    assert cavity.code == 0


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("drive=flow_rate", ("'drive'", "did you mean 'problem.drive'")),
        ("viscosity=1", ("did you mean 'case.viscosity'",)),
        ("problem.drive=pump", ("pump", "flow_rate")),
        ("case.viscosity=thin", ("case.viscosity", "1/180", "'thin'")),
        ("case.viscosity=1/0", ("case.viscosity", "'1/0'")),
        ("case.viscosity", ("--set", "PATH=VALUE")),
        ("solver.closure=vale", ("WALE, DynamicSmagorinsky", "'vale'")),
        ("solver.closure=WALE(k=1)", ("WALE takes no 'k'", "constant")),
        ("solver.closure=WALE(1,2)", ("takes constant, each once",)),
        ("solver.closure=WALE(1,constant=2)", ("takes constant, each once",)),
        ("solver.cfl=9", ("cfl is 9",)),
        ("solver.dtype=float64", ("'solver.dtype'",)),
        ("times.begin=1", ("'times.begin'",)),
        ("times.step=0", ("step", "> 0")),
    ],
)
def test_what_is_mistyped_is_one_clear_line(cli, tmp_path, path, words):
    cli("generate", "turbulent_channel", "--out", tmp_path / "a.h5", *SMALL, "--set", path).refused(*words)
    assert not list(tmp_path.iterdir())
