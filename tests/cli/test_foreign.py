"""`sciml import` and `sciml info` of anybody's data."""

from __future__ import annotations

import json
import tarfile
import tomllib
import zipfile

import numpy as np

import sciml
from sciml.data.importers import Plan


def flow(path, n=6, **other):
    rng = np.random.default_rng(0)
    np.savez(path, u=rng.normal(size=(n, 5, 6)), x=np.linspace(0, 1, 6), y=np.linspace(0, 1, 5), **other)
    return path


def test_a_file_that_tells_everything_is_read_at_once(cli, tmp_path):
    source = flow(tmp_path / "flow.npz", params=np.ones((6, 1)), mystery=np.zeros((7, 7, 7)))
    done = cli("import", source, "--out", tmp_path / "flow.h5")
    assert done.code == 0, done.err
    assert "6 cases, 6 frames" in done.err and "mystery, 7×7×7" in done.err and done.out == ""
    again = json.loads(cli("import", "arrays", source, "--out", tmp_path / "flow.h5", "--overwrite", "--json").out)
    assert (again["cases"], again["layout"]) == (6, "arrays") and any("mystery" in n for n in again["notes"])
    with sciml.data.open(tmp_path / "flow.h5") as found:
        assert found.attrs["problem"] == "flow" and found.sizes["case"] == 6


def test_what_is_missing_is_drafted_told_and_read(cli, tmp_path):
    source = flow(tmp_path / "runs.npz")
    cli("import", source, "--out", tmp_path / "o.h5").refused("(case, y, x) or (time, y, x)", "--explain")
    drafted = cli("import", "--explain", source)
    assert drafted.code == 0 and drafted.err == ""
    plan = tomllib.loads(drafted.out)
    assert Plan.from_json(plan).fields["u"].axes == ("case", "y", "x") and "# to be told:" in drafted.out
    (tmp_path / "map.toml").write_text(drafted.out.replace('["case"', '["time"'))
    done = cli("import", source, "--out", tmp_path / "o.h5", "--map", tmp_path / "map.toml", "--time-step", 0.5,
               "--problem", "duct")  # fmt: skip
    assert done.code == 0, done.err
    with sciml.data.open(tmp_path / "o.h5") as found:
        assert found["time"].values.tolist() == [0, 0.5, 1, 1.5, 2, 2.5] and found.attrs["problem"] == "duct"
    told = json.loads(cli("import", "--explain", source, "--json").out)
    assert told["layout"] == "arrays" and tomllib.loads(told["toml"]) == plan


def test_import_refuses(cli, tmp_path):
    source = flow(tmp_path / "a.npz")
    (tmp_path / "bad.toml").write_text("[feilds]\n")
    (tmp_path / "worse.toml").write_text("a = \n")
    cli("import", source).refused("--out", "--explain")
    cli("import", "arrays").refused("SOURCE", "behind arrays")
    cli("import", "arrays", source, "more", "--out", tmp_path / "o.h5").refused("SOURCE", "3 words")
    cli("import", source, "--explain", "--out", tmp_path / "o.h5").refused("--explain", "no --out")
    cli("import", source, "--out", tmp_path / "o.h5", "--map", tmp_path / "no.toml").refused("--map", "does not exist")
    cli("import", source, "--out", tmp_path / "o.h5", "--map", tmp_path / "bad.toml").refused("bad.toml", "'feilds'")
    cli("import", source, "--out", tmp_path / "o.h5", "--map", tmp_path / "worse.toml").refused("not TOML")
    cli("import", source, "--out", tmp_path / "o.h5", "--time-step", -1).refused("--time-step", "> 0")
    cli("import", "cfdbench", source, "--out", tmp_path / "o.h5").refused("a.npz", "not a folder")
    assert not list(tmp_path.glob("o.h5*"))


def test_info_says_what_foreign_files_are_and_what_reads_them(cli, tmp_path):
    ready = flow(tmp_path / "ready.npz", t=np.arange(6.0))
    shown = cli("info", ready)
    assert shown.code == 0 and "arrays of numbers" in shown.out and f"sciml import {ready} --out ready.h5" in shown.out
    facts = json.loads(cli("info", flow(tmp_path / "open.npz"), "--json").out)
    assert facts["kind"] == "foreign" and "may run along" in facts["needs"]
    assert facts["commands"][0].endswith("> map.toml") and facts["commands"][1].endswith("--map map.toml")
    (tmp_path / "t.csv").write_text("x [m];T [K]\n0,5;1\n1,5;2\n2,5;3\n")
    assert "T [K]" in cli("info", tmp_path / "t.csv").out
    (tmp_path / "what.bin").write_bytes(b"\x00\x01\x02" * 100)
    cli("info", tmp_path / "what.bin").refused("no known layout")


def test_info_lists_archives_without_unpacking(cli, tmp_path):
    flow(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as file:
        file.write(tmp_path / "a.npz", "runs/a.npz")
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as file:
        file.add(tmp_path / "a.npz", "runs/b.npz")
    shown = cli("info", tmp_path / "all.zip")
    assert shown.code == 0 and "runs/a.npz" in shown.out and "unpack it" in shown.out
    assert json.loads(cli("info", tmp_path / "all.tar.gz", "--json").out)["names"] == ["runs/b.npz"]
    content = (tmp_path / "all.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    cli("info", tmp_path / "cut.zip").refused("cut.zip", "damaged")
    assert not (tmp_path / "runs").exists()


def test_cases_in_the_folder_of_the_problem_itself(cli, tmp_path):
    """CFDBench's layout without folders of subsets, as its dam is published."""
    for k in range(3):
        place = tmp_path / "data" / "dam" / f"case{k:04d}"
        place.mkdir(parents=True)
        for name in "uv":
            np.save(place / f"{name}.npy", np.full((3, 8, 8), k, np.float32))
        about = {"velocity": 1.0, "density": 1.0 + k, "viscosity": 0.1, "barrier_height": 0.1, "barrier_width": 0.1,
                 "height": 0.4, "width": 1.5}  # fmt: skip
        (place / "case.json").write_text(json.dumps(about))
    for source in ("data", "data/dam"):
        assert "CFDBench" in cli("info", tmp_path / source).out
        done = cli(
            "import", tmp_path / source, "--out", tmp_path / "dam.h5", "--overwrite", "--time-step", 0.2, "--json"
        )
        assert done.code == 0 and json.loads(done.out)["cases"] == 3, done.err
        with sciml.data.open(tmp_path / "dam.h5") as found:
            assert np.allclose(found["time"].values[:3], [0.2, 0.4, 0.6])


def test_foreign_zarr_and_archives_that_are_documents_are_told_as_what_they_are(cli, tmp_path):
    import xarray as xr

    made = xr.Dataset({"T": (("time", "y", "x"), np.zeros((3, 4, 5)))}, {"time": [0.0, 1, 2], "x": np.arange(5.0)})
    made.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    told = cli("info", tmp_path / "a.zarr")
    assert told.code == 0 and "Zarr" in told.out and "sciml import" in told.out
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as file:
        file.writestr("[Content_Types].xml", "<x/>")
    cli("info", tmp_path / "a.xlsx").refused("save its sheets as CSV")
