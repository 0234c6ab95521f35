"""DeepCFD's arrays, and pickles of which nothing is executed."""

import os
import pickle
import random

import numpy as np
import pytest

from sciml import data
from sciml.data._pickled import array
from sciml.data.importers import deepcfd
from sciml.errors import FileFormatError, InputError

RANDOM = np.random.default_rng(0)


def arrays(cases=10, nx=9, ny=6):
    given = RANDOM.normal(size=(cases, 3, nx, ny)).astype("f4")
    given[:, 1] = 1.0
    given[:, 1, 3:5, 2:4] = 0.0
    return given, RANDOM.normal(size=(cases, 3, nx, ny)).astype("f4")


def put(folder, given, wanted, kind=".pkl"):
    for name, values in (("dataX", given), ("dataY", wanted)):
        if kind == ".npy":
            np.save(folder / f"{name}.npy", values)
        else:
            (folder / f"{name}.pkl").write_bytes(pickle.dumps(values))


@pytest.mark.parametrize("kind", [".pkl", ".npy"])
def test_arrays_become_a_data_set(tmp_path, kind):
    given, wanted = arrays()
    put(tmp_path, given, wanted, kind)
    path = deepcfd.import_tree(tmp_path, tmp_path / "d.h5", size=(0.9, 0.6))
    ds = data.open(path)
    assert dict(ds.sizes)["case"] == 10 and ds.u.shape == (10, 6, 9)
    case, truth = data.case(ds, 3)
    assert case.problem.steady and case.problem.name == "deepcfd"
    inside = given[3, 1].T != 0
    assert np.array_equal(truth.mask.values, inside)
    for k, name in enumerate(("u", "v", "p")):
        assert np.array_equal(truth[name].values, np.where(inside, wanted[3, k].T, 0))
    for k, name in enumerate(("obstacle_distance", "region", "wall_distance")):
        assert np.array_equal(np.asarray(case.inputs[name], "f4"), given[3, k].T)
    assert truth.x.values[-1] == pytest.approx(0.85) and set(ds.split.values.tolist()) == {0, 1, 2}


def test_lengths_are_cells_where_nobody_says(tmp_path):
    put(tmp_path, *arrays(3))
    ds = data.open(deepcfd.import_tree(tmp_path, tmp_path / "d.h5"))
    assert float(data.case(ds, 0)[1].x.values[-1]) == 8.5 and ds.x_max.attrs["units"] == "cell"


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("executed",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Evil()), "posix.mkdir, of which nothing is executed; expected a pickle of one plain array"),
        (pickle.dumps({"a": np.zeros(3)}), "holds an object that is no array"),
        (pickle.dumps([np.zeros(3)]), "holds an object that is no array"),
        (pickle.dumps(np.array([Evil(), None], object)), "an object that is no array|posix.mkdir"),
        (pickle.dumps(np.array([{}, None], object)), "an object that is no array"),
        (pickle.dumps(np.zeros(2, [("a", "f4")])), "an object that is no array|records"),
        (pickle.dumps(np.array(["a"])), "values of type 'U1'"),
        (pickle.dumps(np.zeros(3))[:-30], "not a pickle that can be read"),
        (b"", "not a pickle that can be read"),
        (b"\x80\x04cos\nsystem\n(S'true'\ntR.", "os.system"),
        (pickle.dumps(np.zeros((2, 3, 4))), r"float64 of shape \(2, 3, 4\), expected numbers \(case, 3, x, y\)"),
        (pickle.dumps(np.full((1, 3, 2, 2), np.nan)), "values that are not finite"),
    ],
)
def test_other_contents_are_refused_and_not_run(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, *arrays(2))
    (tmp_path / "dataX.pkl").write_bytes(content)
    with pytest.raises(FileFormatError, match=message) as caught:
        deepcfd.import_tree(tmp_path, tmp_path / "d.h5")
    assert "\n" not in str(caught.value) and not (tmp_path / "executed").exists() and not (tmp_path / "d.h5").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_read(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    for values in (
        RANDOM.normal(size=(2, 3, 4)), RANDOM.normal(size=(3, 4)).astype(">f4"), np.arange(6), np.zeros((0, 3)),
        np.asfortranarray(RANDOM.normal(size=(3, 4))),
    ):  # fmt: skip
        path.write_bytes(pickle.dumps(values, protocol))
        found = array(path)
        assert np.array_equal(found, values) and found.dtype == values.dtype


def test_damaged_pickles_end_in_one_line(tmp_path):
    draw, path = random.Random(0), tmp_path / "a.pkl"
    whole = pickle.dumps(RANDOM.normal(size=(20, 3)), 4)
    refused = 0
    for _ in range(2000):
        raw = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            raw[draw.randrange(len(raw))] = draw.randrange(256)
        path.write_bytes(bytes(raw[: draw.randrange(len(raw))] if draw.random() < 0.3 else raw))
        try:
            array(path)
        except FileFormatError as error:
            assert "\n" not in str(error)
            refused += 1
    assert 500 < refused < 2000


def test_a_pickle_cannot_ask_for_more_than_it_is(tmp_path):
    """A place in the memo, or bytes, beyond what there is: other readers set aside gigabytes for them."""
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04Nr\xff\xff\xff\x7f.")
    with pytest.raises(FileFormatError, match="holds a NoneType"):
        array(path)
    path.write_bytes(b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"abc.")
    with pytest.raises(FileFormatError, match="not a pickle that can be read"):
        array(path)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"expected dataX.pkl or dataX.npy, found neither"):
        deepcfd.import_tree(tmp_path, tmp_path / "d.h5")
    given, wanted = arrays(2)
    put(tmp_path, given, wanted[:1])
    with pytest.raises(FileFormatError, match=r"dataY.pkl: shape \(1, 3, 9, 6\), but dataX.pkl has \(2, 3, 9, 6\)"):
        deepcfd.import_tree(tmp_path, tmp_path / "d.h5")
