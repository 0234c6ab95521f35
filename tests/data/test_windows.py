"""Windows against a list made by brute force, and the loader against the windows."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from _make import cavities, cavity, problems
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sciml import data
from sciml.data import _store
from sciml.data.loader import order
from sciml.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    rng = np.random.default_rng(0)
    lengths = [1, 9, 2, 6, 0, 12, 5]
    made = [
        cavity(rng, t, n=4, subset=("bc", "ic")[k % 2], lid_velocity=1.0 + k, status="ok" if t else "failed")
        for k, t in enumerate(lengths)
    ]
    place = tmp_path_factory.mktemp("windows") / "a.h5"
    names = ["train", "train", "test", "train", "train", "validation", "train"]
    data.write(data.pack(made, splits=names), place)
    return place


def brute_force(dataset, split, subset, history, horizon, stride, step):
    """(case, first frame) of every window."""
    found = []
    for i in range(dataset.sizes["case"]):
        if split is not None and data.schema.flag_names(dataset["split"])[i] != split:
            continue
        if subset is not None and data.schema.flag_names(dataset["subset"])[i] != subset:
            continue
        frames = int(dataset["row_size"].values[i])
        for s in range(0, frames, stride):
            if all(s + k * step < frames for k in range(history + horizon)):
                found.append((i, s))
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    split=st.sampled_from([None, "train", "validation"]),
    subset=st.sampled_from([None, "bc", "ic"]),
    history=st.integers(0, 3),
    horizon=st.integers(1, 4),
    stride=st.integers(1, 4),
    step=st.integers(1, 3),
    fields=st.sampled_from([None, ("u",), ("p", "u"), ("u_face",)]),
    memory=st.booleans(),
)
def test_windows_are_those_of_a_brute_force_list(path, split, subset, history, horizon, stride, step, fields, memory):
    dataset = data.open(path)
    expected = brute_force(dataset, split, subset, history, horizon, stride, step)
    source = dataset.compute() if memory else path
    arguments = dict(history=history, horizon=horizon, stride=stride, step=step, subset=subset, fields=fields)
    if not expected:
        with pytest.raises(InputError, match="windows:"):
            data.Windows(source, split, **arguments)
        return
    windows = data.Windows(source, split, **arguments)
    assert len(windows) == len(expected)
    starts = data.schema.starts(dataset["row_size"].values)
    values = {n: dataset[n].values for n in windows.fields}
    for k, (case, frame) in enumerate(expected):
        found = windows[k]
        rows = starts[case] + frame + step * np.arange(history + horizon)
        whole = np.stack([values[n][rows] for n in windows.fields], axis=1)
        np.testing.assert_array_equal(found["state"], whole[:history])
        np.testing.assert_array_equal(found["target"], whole[history:])
        np.testing.assert_array_equal(found["times"], dataset["time"].values[rows])
        assert (found["case"], found["frame"]) == (case, frame)
        assert found["state"].dtype == found["target"].dtype == np.float32
    batch = windows.batch(np.arange(len(windows))[::-1])
    assert [tuple(r) for r in zip(batch["case"], batch["frame"], strict=True)] == expected[::-1]


def test_float64_and_compressed_files_give_the_same_windows(tmp_path):
    made = cavities(3)
    data.write(data.pack(made), tmp_path / "a.h5")
    data.write(data.pack(made, dtype=None), tmp_path / "b.h5", compression=2)
    a, b = (data.Windows(tmp_path / f"{n}.h5", split=None, history=2, step=1) for n in "ab")
    for k in range(len(a)):
        np.testing.assert_array_equal(a[k]["state"], b[k]["state"])
        np.testing.assert_array_equal(a[k]["target"], b[k]["target"])


def test_steady_sets_give_inputs_and_targets(tmp_path):
    rng = np.random.default_rng(0)
    x = np.array([0.25, 0.75])
    made = [
        data.solution(
            problems.Darcy().case(permeability=1 + rng.random((2, 2))), None, {"p": (("y", "x"), rng.random((2, 2)))},
            {"x": x, "y": x}, mask=[[1, 1], [k, 1]],
        )
        for k in range(2)
    ]  # fmt: skip
    data.write(data.pack(made), tmp_path / "a.h5")
    windows = data.Windows(tmp_path / "a.h5", split=None, inputs=["permeability"])
    assert (windows.history, windows.horizon, len(windows)) == (0, 1, 2)
    (batch,) = data.Loader(windows, 2, shuffle=False).epoch(0)
    for k in range(2):
        np.testing.assert_array_equal(batch["target"][k, 0, 0], made[k]["p"].values.astype("f4"))
        np.testing.assert_array_equal(batch["inputs"][k, 0], made[k]["input_permeability"].values.astype("f4"))
        np.testing.assert_array_equal(batch["mask"][k], made[k]["mask"].values)
    assert batch["state"].shape == (2, 0, 1, 2, 2)
    with pytest.raises(InputError, match="did you mean 'permeability'"):
        data.Windows(tmp_path / "a.h5", split=None, inputs=["permeabilty"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tran"}, "did you mean 'train'"),
        ({"subset": "geo"}, "subset: 'geo' is not in the data set"),
        ({"fields": ["w"]}, "no field 'w'"),
        ({"fields": ["u", "u_face"]}, "'u_face' is over"),
        ({"fields": []}, "at least one name"),
        ({"history": -1}, "history: expected an integer >= 0"),
        ({"horizon": 0}, "horizon: expected an integer >= 1"),
        ({"stride": 1.5}, "stride: expected an integer"),
        ({"step": True}, "step: expected an integer"),
        ({"horizon": 100}, "101 frames are needed, but the longest case of this split has 9"),
    ],
)
def test_bad_arguments_are_named(path, arguments, message):
    with pytest.raises(InputError, match=message):
        data.Windows(path, **arguments)


def test_a_changed_data_set_is_not_read_from_its_old_file(path):
    dataset = data.open(path)
    dataset["split"] = (("case",), dataset["split"].values[::-1].copy(), dataset["split"].attrs)
    with pytest.raises(InputError, match="'split' of this data set differs"):
        data.Windows(dataset)


def test_a_file_that_is_replaced_is_never_mixed_with_the_old_one(tmp_path):
    data.write(data.pack(cavities(2)), tmp_path / "a.h5")
    windows = data.Windows(tmp_path / "a.h5", split=None)
    first = windows[0]
    data.write(data.pack(cavities(2, seed=1)), tmp_path / "a.h5")
    same(windows[0], first)  # this process holds the old file open, which lives on until then
    forget(windows)
    with pytest.raises(InputError, match="the file has changed since it was opened"):
        list(data.Loader(windows, 1).epoch(0))


def test_a_file_that_goes_away_is_reported(tmp_path):
    data.write(data.pack(cavities(2)), tmp_path / "a.h5")
    windows = data.Windows(tmp_path / "a.h5", split=None)
    (tmp_path / "a.h5").unlink()
    forget(windows)
    with pytest.raises(InputError, match=r"a\.h5: cannot open: No such file"):
        list(data.Loader(windows, 1).epoch(0))


def forget(windows):
    """As in a process that has not read the file yet."""
    for field in windows._fields:
        _store.release(field.file)


def test_windows_travel_by_pickle_without_their_values(path):
    windows = data.Windows(path)
    raw = pickle.dumps(windows)
    assert len(raw) < 4000
    np.testing.assert_array_equal(pickle.loads(raw)[3]["target"], windows[3]["target"])
    (path.parent / "windows.pickle").write_bytes(raw)
    script = """
import pickle, sys
windows = pickle.load(open(sys.argv[1], "rb"))
print(windows[3]["target"].sum() != 0, {"torch", "jax", "h5py", "xarray"} & set(sys.modules))
"""
    command = [sys.executable, "-c", script, str(path.parent / "windows.pickle")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.stdout == "True set()\n", run.stderr


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_torch_reads_windows_in_processes_of_its_own(path, start):
    windows = data.Windows(path, history=2)
    windows[0]  # the file is open here; the workers open it themselves
    batches = torch.utils.data.DataLoader(windows, 4, num_workers=2, multiprocessing_context=start)
    for found, expected in zip(batches, data.Loader(windows, 4, shuffle=False).epoch(0), strict=True):
        assert found.keys() == expected.keys() - {"index"}
        assert found["state"].dtype == torch.float32
        same({k: v.numpy() for k, v in found.items()}, {k: expected[k] for k in found})


# ---- loader ---------------------------------------------------------------------------------------------------------


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def test_the_order_is_fixed_by_seed_and_epoch(path):
    windows = data.Windows(path)
    for epoch in (0, 3):
        for batch in data.Loader(windows, 4, seed=5).epoch(epoch):
            same(batch, windows.batch(batch["index"]) | {"index": batch["index"]})
    assert np.concatenate(data.Loader(windows, 4, seed=5).indices(3)).tolist() == order(len(windows), 5, 3).tolist()
    orders = {tuple(np.concatenate(data.Loader(windows, 4, seed=s).indices(e))) for s in (0, 1) for e in (0, 1)}
    assert len(orders) == 4
    assert all(sorted(o) == list(range(len(windows))) for o in orders)


def test_some_windows_come_again(path):
    windows = data.Windows(path)
    firsts = windows.first_of_cases()
    assert all(windows[int(i)]["frame"] == 0 for i in firsts)
    assert len(firsts) == len({windows[i]["case"] for i in range(len(windows))})
    loader = data.Loader(windows, 3, again=np.repeat(firsts, 2))
    counts = np.bincount(np.concatenate(loader.indices(1)))
    assert sorted(np.flatnonzero(counts == 3)) == sorted(firsts) and counts.sum() == len(windows) + 2 * len(firsts)
    with pytest.raises(InputError, match="again"):
        data.Loader(windows, 3, again=[len(windows)])


def test_an_epoch_resumes_where_it_stopped(path):
    loader = data.Loader(data.Windows(path), 3)
    whole = list(loader.epoch(2))
    part = loader.epoch(2)
    for expected in whole[:2]:
        same(next(part), expected)
    for a, b in zip(loader.epoch(2, start=2), whole[2:], strict=True):  # the first iterator was left unfinished
        same(a, b)
    assert list(loader.epoch(2, start=len(loader))) == []


def test_last_batches_and_no_shuffle(path):
    windows = data.Windows(path)
    n = len(windows)
    loader = data.Loader(windows, n - 1, shuffle=False)
    assert [len(b["case"]) for b in loader.epoch(0)] == [n - 1, 1]
    assert np.concatenate(loader.indices(0)).tolist() == list(range(n))
    assert [len(b["case"]) for b in data.Loader(windows, n - 1, drop_last=True).epoch(0)] == [n - 1]
    with pytest.raises(InputError, match="batch_size"):
        data.Loader(windows, n + 1, drop_last=True)
    with pytest.raises(InputError, match="start from 0 to"):
        loader.epoch(0, start=3)


def test_the_order_is_fixed_for_good():
    """Resumed runs rely on it across versions of NumPy."""
    assert order(8, 1, 2).tolist() == [7, 1, 3, 0, 4, 2, 6, 5]
