"""What a study sees in data: ranges to the last digit, and each fault by its name."""

from __future__ import annotations

import numpy as np
import pytest
from _waves import SPEED, STEP, steady, swarm, wave, waves

import sciml
from sciml.errors import InputError
from sciml.studies._look import Look, look
from sciml.studies._split import by_logarithm


def test_ranges_and_the_change_of_a_step_are_those_of_the_values():
    phases = np.linspace(0, 2, 7).tolist()
    found = look(sciml.data.pack(waves(phases), dtype=None))
    values = np.stack([wave(p) for p in phases])
    f = found.fields["u"]
    assert (f["least"], f["most"]) == (values.min(), values.max())
    assert f["mean"] == pytest.approx(values.mean(), abs=1e-12)
    assert f["spread"] == pytest.approx(values.std(), rel=1e-9)
    # a wave that moves by cΔt changes by 2 sin(π c Δt) of its size
    assert found.changes == pytest.approx(2 * np.sin(np.pi * SPEED * STEP), rel=1e-2)
    assert found.varying["phase"] == {"unit": "1", "least": 0.0, "most": 2.0, "different": 7}
    assert found.time == pytest.approx((0, 2, STEP, STEP)) and found.equal_steps
    assert not found.odd
    assert Look.from_json(found.to_json()) == found


def test_faults_are_named():
    solutions = steady([1.0, 1.5, 1.5, 2.0, 3.0])
    solutions[2]["T"][:] = solutions[1]["T"].values
    solutions[3]["T"][4] = np.nan
    found = look(sciml.data.pack(solutions))
    assert found.unusable == [3]
    assert any("not finite in case 3" in text for text in found.odd)
    assert any("cases 1 and 2 hold the same values" in text for text in found.odd)
    apart = look(sciml.data.pack(solutions, ["train", "train", "test", "test", "test"]))
    assert any("cases 1 (train) and 2 (test) hold the same values" in text and "a fault" in text for text in apart.odd)
    same = look(sciml.data.pack(steady([1.0] * 5)))
    assert any("differ in nothing" in text for text in same.odd)


def test_a_parameter_over_decades_is_told_by_its_logarithm_where_it_is_spread_by_it():
    def wide(values):
        return look(sciml.data.pack(steady(values)))

    assert wide(np.logspace(-2, 1, 12).tolist()).logarithmic == ["a"]
    assert wide(np.linspace(0.1, 10, 12).tolist()).logarithmic == []  # as wide, but spread evenly as it is
    assert wide(np.logspace(-0.5, 0.5, 12).tolist()).logarithmic == []  # one decade
    packed = by_logarithm(sciml.data.pack(steady(np.logspace(-2, 1, 12).tolist())), ["a"])
    case, _ = sciml.data.case(packed, 3)
    assert list(case.problem.features(case, 0.0, 0.0).values()) == pytest.approx([np.log10(case.parameters["a"])])
    assert look(packed).logarithmic == []
    with pytest.raises(InputError, match="no parameter 'b'"):
        by_logarithm(packed, ["b"])


def test_times_that_teach_no_step_are_named():
    uneven = waves([0.1, 0.2])
    for s in uneven:
        s["time"] = s["time"] ** 2
    found = look(sciml.data.pack(uneven))
    assert not found.equal_steps and any("not equally far apart" in text for text in found.odd)
    slow = waves([0.1, 0.2])
    for s in slow:
        s["u"][:] = 5.0 + 1e-6 * s["u"].values
    assert any("hard to beat" in text for text in look(sciml.data.pack(slow, dtype=None)).odd)
    still = waves([0.1, 0.2])
    for s in still:
        s["u"][:] = s["u"].values[:1]
    assert any("nothing changes in time" in text for text in look(sciml.data.pack(still)).odd)


def test_nothing_but_not_a_number_is_nothing_to_learn_from():
    bad = steady([1.0, 2.0])
    for s in bad:
        s["T"][:] = np.nan
    with pytest.raises(InputError, match="not finite"):
        look(sciml.data.pack(bad))


def test_nodes_that_move_are_read_back_and_told(tmp_path):
    sciml.data.write(sciml.data.pack(swarm([0.5, 1.0]), dtype=None), tmp_path / "swarm.h5")
    found = look(sciml.data.open(tmp_path / "swarm.h5"))
    assert found.places == "10 nodes in 2-D, loose, moving in time"
    assert found.frames == (7, 7) and found.points == 10


def test_a_value_that_is_far_beyond_all_others_is_named():
    solutions = steady([1.0, 1.5, 1.7, 2.0, 3.0])
    solutions[3]["T"][4] = 1e12
    (said,) = [text for text in look(sciml.data.pack(solutions)).odd if "is usual" in text]
    assert said.startswith("T reaches 1e+12 in case 3, where ")
