"""What somebody tells about files, in TOML."""

import tomllib

import pytest

from sciml.data.importers import Plan
from sciml.data.importers._mapping import Along, Taken, toml
from sciml.errors import InputError

TEXT = """
layout = "arrays"
problem = "plume"
steady = false
periodic = ["x"]
[axes]
order = ["case", "time", "y", "x"]
[time]
unit = "s"
step = 0.1
[coordinates.x]
low = 0
high = 1.0
[fields.u]
from = "velocity.npy"
component = 0
[parameters.nu]
values = {a = 0.01, "b c" = 0.02}
[options]
skip = 2
"""


def test_a_plan_is_read_and_written_back(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(TEXT)
    plan = Plan.read(path)
    assert plan.order == ("case", "time", "y", "x") and plan.time == Along(unit="s", step=0.1)
    assert plan.fields["u"] == Taken("velocity.npy", component=0)
    assert plan.parameters["nu"].values == {"a": 0.01, "b c": 0.02}
    written = toml(plan.to_json(), {"time.step": "seconds between frames", "fields.u": "along x"})
    assert "step = 0.1  # seconds between frames" in written and "# along x\n[fields.u]" in written
    assert Plan.from_json(tomllib.loads(written)) == plan
    assert Plan.from_json(Plan().to_json()) == Plan() and Plan().to_json() == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"layot": "arrays"}, "no key is called 'layot'; did you mean 'layout'"),
        ({"fields": {"u": {"form": "a"}}}, r"fields\.u: no key is called 'form'; did you mean 'from'"),
        ({"fields": {"u": "a.npy"}}, r"fields\.u: expected a table, got 'a\.npy'"),
        ({"axes": {"order": "yx"}}, r"axes\.order: expected a list of words, got 'yx'"),
        ({"time": {"step": "fast"}}, r"time\.step: expected a number, got 'fast'"),
        ({"steady": 1}, "steady: expected true or false, got 1"),
        ({"fields": {"u": {"component": True}}}, r"component: expected a whole number, got True"),
        ({"coordinates": {"x": {"low": float("nan")}}}, r"coordinates\.x\.low: expected a number, got nan"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(content, said):
    with pytest.raises(InputError, match=said):
        Plan.from_json(content)


def test_the_file_is_named(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("a = = 1")
    with pytest.raises(InputError, match=r"plan\.toml: not TOML"):
        Plan.read(path)
    with pytest.raises(InputError, match=r"none\.toml: cannot open: No such file"):
        Plan.read(tmp_path / "none.toml")
