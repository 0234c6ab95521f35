"""Splits of a study: what is held out stays held out, and no step is lost or told twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from _waves import steady, wave, waves

import sciml
from sciml.data import schema
from sciml.errors import InputError
from sciml.studies._look import look
from sciml.studies._split import AsGiven, ByCase, InTime, Split, suited


@pytest.mark.parametrize("frames", [6, 7, 11, 41, 200, 1001])
@pytest.mark.parametrize("pieces", [2, 10, 25])
def test_pieces_hold_every_frame_once_and_every_step_to_train_on(frames, pieces):
    parts = InTime(pieces).parts(frames)
    names = [name for name, _, _ in parts]
    assert names == sorted(names, key=("train", "validation", "test").index)  # in the order of time
    assert {"train", "test"} <= set(names)
    owners: dict[int, set[str]] = {}
    for name, a, b in parts:
        assert b - a >= 2  # a step at least
        for frame in range(a, b):
            owners.setdefault(frame, set()).add(name)
    assert sorted(owners) == list(range(frames))
    assert all(len(several) == 1 for several in owners.values())
    train = [(a, b) for name, a, b in parts if name == "train"]
    assert all(b == c + 1 for (_, b), (c, _) in pairwise(train))
    assert sum(b - a - 1 for a, b in train) == train[-1][1] - 1  # each step once


def test_pieces_hold_the_values_of_the_trajectory():
    packed = sciml.data.pack(waves([0.3]), dtype=None)
    made, notes = InTime().apply(packed, [], 0)
    whole = wave(0.3)
    for k, (name, a, b) in enumerate(InTime().parts(len(whole))):
        case, solution = sciml.data.case(made, k)
        assert np.array_equal(solution["u"].values, whole[a:b])
        assert solution["time"].values == pytest.approx(0.05 * np.arange(b - a), abs=1e-12)  # from zero
        assert str(schema.flag_names(made["split"])[k]) == name
        assert f"{0.05 * a:.4g} to" in case.label
        assert case.parameters == {"phase": 0.3}
    assert "7 train, 1 validation, 2 test" in notes[0]


def test_pieces_of_a_problem_with_a_class_begin_as_their_frames_say():
    problem = sciml.problems.LidDrivenCavity()
    case = problem.case(lid_velocity=2.0, viscosity=0.01)
    grid = sciml.Grid.uniform(case.geometry, 4)
    times = np.arange(12) * 0.1
    u = times[:, None, None] * np.ones((4, 4))
    whole = sciml.data.solution(case, times, {"u": u, "v": -u}, grid)
    made, _ = InTime(3).apply(sciml.data.pack([whole], dtype=None), [], 0)
    piece, solution = sciml.data.case(made, 2)
    assert isinstance(piece.problem, sciml.DataProblem) and piece.problem.velocity == ("u", "v")
    assert piece.parameters["lid_velocity"] == 2.0
    assert np.array_equal(solution["v"].values, -u[8:])
    assert made["u"].attrs["units"] == problem.field("u").unit


def test_several_trajectories_are_subsets_of_their_own():
    made, notes = InTime().apply(sciml.data.pack(waves([0.3, 1.0]), dtype=None), [], 0)
    assert set(schema.flag_names(made["subset"])) == {"trajectory_0", "trajectory_1"}
    assert "2 trajectories" in notes[0]


def test_a_split_that_the_data_bring_stays_what_it_is():
    given = ["train"] * 20 + ["test"] * 10
    packed = sciml.data.pack(steady(np.linspace(0.5, 2, 30).tolist()), given)
    made, notes = AsGiven().apply(packed, [3], 0)
    names = schema.flag_names(made["split"])
    assert (names[20:] == "test").all() and names[3] == "unused"
    assert (names == "validation").sum() == 2 and "2 of the 19" in notes[0]


def test_cases_that_cannot_be_used_are_in_no_part():
    made, _ = ByCase((0.6, 0.2, 0.2)).apply(sciml.data.pack(steady(np.linspace(0.5, 2, 11).tolist())), [4], 0)
    names = schema.flag_names(made["split"])
    assert names[4] == "unused"
    assert [int((names == n).sum()) for n in ("train", "validation", "test")] == [6, 2, 2]


@pytest.mark.parametrize(
    ("solutions", "expected"),
    [
        (lambda: steady([1.0]), None),
        (lambda: steady([1.0, 1.5, 2.0]), None),
        (lambda: steady(np.linspace(0.5, 2, 8).tolist()), ByCase),
        (lambda: waves([0.1]), InTime),
        (lambda: waves([0.1, 0.2, 0.3]), InTime),
        (lambda: waves([0.1], 5), None),
        (lambda: waves(np.linspace(0, 1, 5).tolist(), 5), ByCase),
        (lambda: waves(np.linspace(0, 1, 6).tolist(), 1), None),
    ],
)
def test_what_suits_follows_from_cases_and_frames(solutions, expected):
    chosen, reasons = suited(look(sciml.data.pack(solutions())))
    assert (type(chosen) if chosen else None) is expected
    assert reasons and all(r.endswith(".") for r in reasons)


def test_a_file_names_a_split_by_its_kind():
    for split in (AsGiven(), ByCase((0.5, 0.25, 0.25)), InTime(7)):
        assert Split.from_json(split.to_json()) == split
    with pytest.raises(InputError, match="InTime"):
        Split.from_json({"kind": "InTimes"})
