"""MeshGraphNets' layout as arrays: one trajectory and several, moving meshes, and files that are wrong."""

import numpy as np
import pytest
from _imported import layout_of, read

from sciml.data.importers._serving import recognised
from sciml.data.importers._source import Source
from sciml.errors import FileFormatError
from sciml.support import Mesh

RNG = np.random.default_rng(0)
POINTS = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]], "f4")
CELLS = np.array([[0, 1, 2], [1, 3, 2]], "i4")
TYPES = np.array([[0], [4], [5], [6]])


def trajectory(path, frames=3, **other):
    made = {"mesh_pos": POINTS, "cells": CELLS, "node_type": TYPES, "velocity": RNG.normal(size=(frames, 4, 2)),
            "pressure": RNG.normal(size=(frames, 4, 1))} | other  # fmt: skip
    np.savez(path, **{k: v for k, v in made.items() if v is not None})
    return made


def test_a_folder_of_trajectories(tmp_path):
    """Kinds of nodes become inputs and an attribute; times come from meta.json; splits from folders."""
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
    made = [trajectory(tmp_path / s / f"{k}.npz", 3 + k) for k, s in enumerate(("train", "train", "valid"))]
    (tmp_path / "meta.json").write_text('{"dt": 0.02, "trajectory_length": 600}')
    assert layout_of(tmp_path) == "meshgraphnets"
    solutions, raws, notes = read(tmp_path)
    assert [r.split for r in raws] == ["train", "train", "validation"]
    for s, raw, m in zip(solutions, raws, made, strict=True):
        assert isinstance(raw.support, Mesh) and np.allclose(s["u"].values, m["velocity"][..., 0])
        assert np.allclose(s["v"].values, m["velocity"][..., 1]) and np.allclose(s["pressure"], m["pressure"][..., 0])
        assert np.allclose(s["time"].values, 0.02 * np.arange(len(m["velocity"])))
        assert s["node_type"].values.tolist() == [0, 4, 5, 6] and s["input_wall"].values.tolist() == [0, 0, 0, 1]
    assert set(raws[0].inputs) == {"inflow", "outflow", "wall"} and any("inflow (4)" in n for n in notes)


def test_frames_of_what_is_fixed_and_nodes_that_move(tmp_path):
    """Leading axes as some publish them; one kind in columns; positions of each frame; no times."""
    one_hot = np.eye(9)[TYPES[:, 0]]
    made = trajectory(
        tmp_path / "a.npz", mesh_pos=POINTS[None], cells=np.broadcast_to(CELLS, (3, 2, 3)), node_type=one_hot[None]
    )
    (s,), (raw,), notes = read(tmp_path / "a.npz")
    assert np.allclose(s["u"].values, made["velocity"][..., 0]) and raw.times.tolist() == [0, 1, 2]
    assert any("no times are told" in n for n in notes) and raw.inputs["wall"].tolist() == [0, 0, 0, 1]
    moved = POINTS + 0.1 * np.arange(3)[:, None, None].astype("f4")
    trajectory(tmp_path / "b.npz", mesh_pos=moved, node_type=None, pressure=None)
    (s,), _, _ = read(tmp_path / "b.npz", {"time": {"step": 0.5, "unit": "s"}})
    assert np.allclose(s["x"].values, moved[..., 0]) and s["connectivity_triangle"].shape == (2, 3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cells": CELLS + 2}, "names node 5"),
        ({"velocity": np.zeros((3, 5, 2))}, r"velocity has shape \(3, 5, 2\), expected \(time, 4 nodes, component\)"),
        ({"pressure": np.zeros((4, 4, 1))}, "frames differ"),
        ({"node_type": np.zeros((3, 1))}, r"node_type has shape \(3, 1\)"),
        ({"cells": np.stack([CELLS, CELLS[::-1]])}, "cells change from frame to frame"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, wrong, said):
    trajectory(tmp_path / "a.npz", **wrong)
    with pytest.raises(FileFormatError, match=said) as caught:
        read(tmp_path / "a.npz")
    assert "a.npz" in str(caught.value)


def test_a_trajectory_without_a_field_of_others(tmp_path):
    trajectory(tmp_path / "a.npz")
    trajectory(tmp_path / "b.npz", pressure=None)
    with pytest.raises(FileFormatError, match=r"b\.npz: holds no pressure, which a\.npz has"):
        read(tmp_path)


def test_records_are_named_with_the_way_out(tmp_path):
    (tmp_path / "train.tfrecord").write_bytes(b"\x00" * 100)
    found = recognised(Source(tmp_path))
    assert found.layout == "meshgraphnets" and "TFRecord files are not read; write each trajectory" in found.needs
    with pytest.raises(FileFormatError, match="TFRecord files are not read"):
        read(tmp_path)
