"""Foreign files are read in a process that can reach nothing else."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import sciml
from sciml.data import importers
from sciml.data.importers import _guarded
from sciml.data.importers._source import Source, natural
from sciml.errors import FileFormatError, InputError


def case(folder, seed=0):
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for name in "uv":
        np.save(folder / f"{name}.npy", random.standard_normal((3, 4, 4)))
    about = {"vel_top": 1.0 + seed, "density": 1.0, "viscosity": 0.01, "height": 1.0, "width": 1.0}
    (folder / "case.json").write_text(json.dumps(about))


def test_a_folder_becomes_a_data_set(tmp_path):
    for k in range(4):
        case(tmp_path / "cavity" / "bc" / f"case{k:04d}", k)
    found = importers.recognise(tmp_path / "cavity")
    assert found is not None and (found.layout, found.facts["cases"]) == ("cfdbench", 4)
    seen = []
    made = importers.import_data(tmp_path / "cavity", tmp_path / "d.h5", tell=lambda a, b: seen.append((a, b)))
    assert (made.layout, made.cases) == ("cfdbench", 4)
    with sciml.data.open(made.path) as data:
        assert data.sizes["case"] == 4
    assert not _guarded.folder_of(made.path).exists()
    with pytest.raises(InputError, match=r"out: .*d\.h5 exists"):
        importers.import_data(tmp_path / "cavity", tmp_path / "d.h5")


def test_what_is_no_layout_is_named_for_what_it_holds(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    (tmp_path / "b.txt").write_text("nothing")
    assert importers.recognise(tmp_path) is None
    with pytest.raises(FileFormatError, match=r"no known layout: it holds 1 PDF, 1 \*\.txt; known are"):
        importers.import_data(tmp_path, tmp_path / "d.h5")
    with pytest.raises(InputError, match="no such file or folder"):
        importers.import_data(tmp_path / "none", tmp_path / "d.h5")
    assert not list(tmp_path.glob("d.h5*"))


def test_archives_are_named_with_what_unpacks_them(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("case0000/u.npy", b"")
    with pytest.raises(FileFormatError, match=r"a\.zip is a zip archive; unpack it \(unzip .*a\.zip\)"):
        importers.import_data(tmp_path / "a.zip", tmp_path / "d.h5")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"vel_top": 1}')
    case(tmp_path / "data" / "bc" / "case0000")
    (tmp_path / "data" / "bc" / "case0000" / "case.json").unlink()
    (tmp_path / "data" / "bc" / "case0000" / "case.json").symlink_to(secret)
    with pytest.raises(FileFormatError, match=r"refused: it leads to reading .*secret\.json"):
        importers.import_data(tmp_path / "data", tmp_path / "d.h5", layout="cfdbench")
    with pytest.raises(InputError, match="leads out of the folder"):
        Source(tmp_path / "data").path("bc/case0000/case.json")


FENCE = """
import os, socket, subprocess, sys, json
sys.dont_write_bytecode = True
from sciml.data.importers import _guarded
fence = _guarded._Fence()
fence.source, fence.folder = os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2])
sys.addaudithook(fence)
fence.closed = True
outside = os.path.join(os.path.dirname(fence.source), "outside")
def attempt(what):
    try:
        what()
        return "done"
    except _guarded.Refused:
        return "refused"
    except OSError as error:
        return f"failed: {error}"
found = {
    "read inside": attempt(lambda: open(os.path.join(fence.source, "a")).close()),
    "read outside": attempt(lambda: open(outside).close()),
    "read by descriptor": attempt(lambda: os.open(outside, os.O_RDONLY)),
    "read passwords": attempt(lambda: open("/etc/passwd").close()),
    "write in the folder": attempt(lambda: open(os.path.join(fence.folder, "b"), "w").close()),
    "write in the source": attempt(lambda: open(os.path.join(fence.source, "b"), "w").close()),
    "write by descriptor": attempt(lambda: os.open(outside, os.O_WRONLY)),
    "remove": attempt(lambda: os.remove(outside)),
    "rename": attempt(lambda: os.rename(os.path.join(fence.folder, "b"), outside)),
    "program": attempt(lambda: subprocess.run(["true"])),
    "shell": attempt(lambda: os.system("true")),
    "fork": attempt(lambda: os.fork() or os._exit(0)),
    "network": attempt(lambda: socket.create_connection(("127.0.0.1", 9))),
}
fence.closed = False
print(json.dumps(found))
"""


def test_the_fence(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "folder"
    source.mkdir()
    folder.mkdir()
    (source / "a").write_text("")
    (tmp_path / "outside").write_text("")
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FENCE), str(source), str(folder)], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    found = json.loads(run.stdout)
    allowed = {"read inside", "write in the folder"}
    assert {k for k, v in found.items() if v == "done"} == allowed
    assert {v for k, v in found.items() if k not in allowed} == {"refused"}
    assert (tmp_path / "outside").exists()


def test_a_reader_that_crashes_or_hangs_costs_its_source_alone(tmp_path, monkeypatch):
    case(tmp_path / "bc" / "case0000")
    crashed = _guarded.crashes
    assert importers.recognise(tmp_path) is not None
    assert _guarded._helper is not None
    os.kill(_guarded._helper.process.pid, 19)  # SIGSTOP: no sign of life
    with pytest.raises(FileFormatError, match="gave no sign of life for 1 s"):
        importers.recognise(tmp_path, seconds=0.5)
    assert importers.recognise(tmp_path) is not None
    assert _guarded._helper is not None

    def killed(self, request, send=_guarded.Helper.send):
        send(self, {"do": "nothing", "source": 1})
        self.process.kill()

    monkeypatch.setattr(_guarded.Helper, "send", killed)
    with pytest.raises(FileFormatError, match="the reader crashed"):
        importers.recognise(tmp_path)
    monkeypatch.undo()
    assert importers.recognise(tmp_path) is not None
    assert _guarded.crashes == crashed + 2


def test_numbers_in_names_are_sorted_as_numbers():
    names = ["b_10.vtk", "b_9.vtk", "a/2", "a/10", "b_9.5.vtk"]
    assert sorted(names, key=natural) == ["a/2", "a/10", "b_9.5.vtk", "b_9.vtk", "b_10.vtk"]
