"""What is wrong with cases as they were found is put right where that does no harm, and said."""

import numpy as np
import pytest

import sciml
from sciml import Grid, Mesh, Points
from sciml.data.importers._checked import Checked
from sciml.data.importers._layout import Raw
from sciml.errors import FileFormatError

GRID = Grid.from_centres((np.arange(4.0), np.arange(3.0)))
TIMES = np.array([0.0, 0.5, 1.0])


def moving(**options):
    return Checked(sciml.DataProblem("flow", ["T"], ["rate"], **options))


def frames(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, 3, 4))


def test_what_is_right_is_left_as_it_is():
    checked, values = moving(), frames()
    found = checked.solution(Raw({"T": values}, GRID, TIMES, {"rate": 2.0}, label="a"), 0)
    assert np.array_equal(found["T"].values, values) and np.array_equal(found["time"].values, TIMES)
    assert checked.notes() == []


def test_frames_are_sorted_and_said():
    checked, values = moving(), frames()
    found = checked.solution(Raw({"T": values[[2, 0, 1]]}, GRID, TIMES[[2, 0, 1]], label="a"), 0)
    assert np.array_equal(found["T"].values, values)
    assert checked.notes() == ["frames were not in the order of their times: sorted: a"]


def test_a_frame_that_is_there_twice_counts_once():
    checked, values = moving(), frames()
    found = checked.solution(Raw({"T": values[[0, 1, 1, 2]]}, GRID, TIMES[[0, 1, 1, 2]], label="a"), 0)
    assert np.array_equal(found["T"].values, values)
    assert checked.notes() == ["frames that repeat the time and the values of others: left out: a"]


def test_two_states_at_one_time_are_refused():
    with pytest.raises(FileFormatError, match=r"a: two different frames at time 0\.5; remove one"):
        moving().solution(Raw({"T": frames()}, GRID, np.array([0.0, 0.5, 0.5]), label="a"), 0)


def test_uneven_times_are_kept_and_said():
    checked = moving()
    found = checked.solution(Raw({"T": frames()}, GRID, np.array([0.0, 0.1, 1.0]), label="a"), 0)
    assert found["time"].values.tolist() == [0.0, 0.1, 1.0]
    assert checked.notes() == ["times are not equally spaced: a"]


def test_steps_that_differ_between_cases_are_said():
    checked = moving()
    for k, scale in enumerate((1.0, 2.0)):
        checked.solution(Raw({"T": frames(k)}, GRID, scale * TIMES, label=str(k)), k)
    assert checked.notes() == ["time steps differ between cases, from 0.5 to 1"]


def test_places_without_values_are_outside():
    checked, values = moving(), frames()
    values[:, 1, 2] = np.nan
    found = checked.solution(Raw({"T": values}, GRID, TIMES, label="a"), 0)
    assert found["mask"].values.tolist() == [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]]
    assert np.isfinite(found["T"].values).all() and (found["T"].values[:, 1, 2] == 0).all()
    assert checked.notes() == ["places that never have finite values count as outside of the domain: a (8.3%)"]


def test_values_that_are_missing_now_and_then_are_refused_with_their_place():
    values = frames()
    values[1, 1, 2] = np.inf
    with pytest.raises(FileFormatError, match=r"a: T is not finite at index \(1, 1, 2\) \(2\.78%"):
        moving().solution(Raw({"T": values}, GRID, TIMES, label="a"), 0)


def test_frames_at_the_end_without_values_were_not_reached():
    checked, values = moving(), frames()
    values[2] = np.nan
    found = checked.solution(Raw({"T": values}, GRID, TIMES, label="a"), 0)
    assert np.array_equal(found["T"].values, values[:2])
    assert checked.notes() == ["frames at the end that hold no finite value: left out: a"]


def test_nodes_without_values_leave_with_their_cells():
    position = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 0]])
    mesh = Mesh(position, {"triangle": np.array([[0, 1, 2], [0, 2, 3], [1, 4, 2]])})
    values = np.arange(15.0).reshape(3, 5)
    values[:, 4] = np.nan
    checked = moving()
    found = checked.solution(Raw({"T": values}, mesh, TIMES, label="a"), 0)
    assert np.array_equal(found["T"].values, values[:, :4])
    assert found["connectivity"].values.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_points_without_values_leave():
    values = np.arange(15.0).reshape(3, 5)
    values[:, 0] = np.nan
    points = Points(np.random.default_rng(0).uniform(size=(5, 2)))
    found = moving().solution(Raw({"T": values}, points, TIMES, label="a"), 0)
    assert np.array_equal(found["T"].values, values[:, 1:])
    assert np.array_equal(found["x"].values, points.position[1:, 0])


def test_clockwise_cells_are_turned():
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 1]])
    cells = {"triangle": np.array([[0, 2, 1], [0, 2, 3]]), "quadrilateral": np.array([[1, 2, 5, 4]])}
    checked = moving()
    found = checked.solution(Raw({"T": np.zeros((3, 6))}, Mesh(square, cells), TIMES, label="a"), 0)
    assert found["connectivity_triangle"].values.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert found["connectivity_quadrilateral"].values.tolist() == [[1, 4, 5, 2]]
    assert checked.notes() == ["cells that ran clockwise: turned: a (2 of 3)"]


def test_nodes_that_move_keep_their_positions_in_step():
    positions = {"x": np.arange(12.0).reshape(3, 4), "y": np.zeros((3, 4))}
    values = np.arange(12.0).reshape(3, 4)
    order = [1, 0, 2]
    found = moving().solution(
        Raw({"T": values[order]}, {k: v[order] for k, v in positions.items()}, TIMES[order], label="a"), 0
    )
    assert np.array_equal(found["x"].values, positions["x"]) and np.array_equal(found["T"].values, values)


def test_whole_numbers_become_real_ones_and_text_is_refused():
    found = moving().solution(Raw({"T": np.ones((3, 3, 4), int)}, GRID, TIMES), 0)
    assert found["T"].dtype == np.float64
    with pytest.raises(FileFormatError, match="case 3: T has type <U1, expected real numbers"):
        moving().solution(Raw({"T": np.full((3, 3, 4), "a")}, GRID, TIMES), 3)


@pytest.mark.parametrize("mark", [-9999.0, 1e20, -32767.0])
def test_numbers_that_stand_for_no_value_are_named(mark):
    """What is 10 times beyond all other values and is such a number by habit; a value that belongs to others is not."""
    checked, values = moving(), frames()
    values[:, 1, 2] = mark
    checked.solution(Raw({"T": values}, GRID, TIMES, label="a"), 0)
    assert checked.notes() == [f"T is {mark:g} at some places, as if unknown there; if so, write NaN: a"]
    checked, values = moving(), frames() * abs(mark)
    values[:, 1, 2] = mark
    checked.solution(Raw({"T": values}, GRID, TIMES, label="a"), 0)
    assert checked.notes() == []
