"""All published flows from one command, and the cylinder from data to page without a line written for it."""

import json

import pytest

import sciml

FLOWS = ["cylinder_flow", "dam_flow", "lid_driven_cavity", "tube_flow"]


def test_a_plan_computes_nothing(cli, tmp_path):
    told = cli("generate", "all", "--plan", "--profile", "published", "--fraction", "0.1")
    assert told.code == 0, told.err
    lines = told.out.splitlines()
    assert [line.split(",")[0] for line in lines] == FLOWS
    assert all("GB; about" in line and "of one core" in line for line in lines)
    plans = json.loads(cli("generate", "all", "--plan", "--json").out)
    assert sum(sum(p["cases"].values()) for p in plans) == 175 + 220 + 159 + 175  # those that are published
    cli("generate", "all").refused("--out")
    cli("generate", "all", "--out", tmp_path / "a", "--fraction", "2").refused("--fraction", "(0, 1]")
    cli("generate", "cavity", "--plan", "--profile", "publishd").refused("--profile", "published")
    assert not list(tmp_path.iterdir())


def test_all_flows_go_to_a_folder_and_the_same_command_goes_on(cli, tmp_path):
    words = [
        "generate",
        "all",
        "--out",
        tmp_path / "flows",
        "--fraction",
        "0.004",
        "--frames",
        "2",
        "--resolution",
        "16",
    ]
    made = cli(*words)
    assert made.code == 0, made.err
    files = sorted(p.name for p in (tmp_path / "flows").glob("*.h5"))
    assert files == [f"{flow}.h5" for flow in FLOWS]
    (tmp_path / "flows" / "cylinder_flow.h5").unlink()
    again = cli(*words)
    assert again.code == 0 and "lid_driven_cavity.h5 is there" in again.err
    assert (tmp_path / "flows" / "cylinder_flow.h5").exists()


@pytest.fixture(scope="module")
def wakes(tmp_path_factory):
    path = tmp_path_factory.mktemp("wakes") / "cylinder.h5"
    sciml.solvers.generate("cylinder", path, cases=10, subset="bc,ic", frames=4, resolution=24, progress=False)
    return path


def test_operators_train_on_the_cylinder_and_a_page_shows_bodies_and_forces(cli, wakes, tmp_path):
    runs = []
    for operator, size in (("fno", "operator.modes=4,4"), ("unet", "operator.multipliers=1,2")):
        run = tmp_path / operator
        done = cli("train", wakes, "--operator", operator, "--out", run, "--steps", "20", "--set", size, "--set",
                   "operator.width=8")  # fmt: skip
        assert done.code == 0, done.err
        runs.append(run)
    page = tmp_path / "page.html"
    shown = cli("report", *runs, "--data", wakes, "--out", page, "--steps", "2")
    assert shown.code == 0, shown.err
    text = page.read_text(encoding="utf-8")
    assert "cylinder" in text and "reference 24 × 24" in text


@pytest.mark.parametrize("flow", ["tube", "dam"])
def test_operators_train_on_two_fluids_and_a_page_shows_water_and_where_fluids_meet(cli, tmp_path, flow):
    path, runs = tmp_path / f"{flow}.h5", []
    sciml.solvers.generate(flow, path, cases=6, subset="bc", frames=4, resolution=16, progress=False)
    for operator, size in (("fno", "operator.modes=4,4"), ("unet", "operator.multipliers=1,2")):
        runs.append(tmp_path / operator)
        done = cli("train", path, "--operator", operator, "--out", runs[-1], "--steps", "10", "--set", size, "--set",
                   "operator.width=8")  # fmt: skip
        assert done.code == 0, done.err
    page = tmp_path / "page.html"
    shown = cli("report", *runs, "--data", path, "--out", page, "--steps", "2")
    assert shown.code == 0, shown.err
    text = page.read_text(encoding="utf-8")
    for words in ("Area where alpha = 1", "Where alpha = 1/2", "alpha within 0 to 1", "fraction, between frames"):
        assert words in text
    assert ("Force on the barrier along x" in text) == (flow == "dam")
