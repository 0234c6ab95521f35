"""The reader refuses whatever is wrong with a file: one line that names file and variable, and no other file opened."""

import os
import sys
import time

import h5py
import numpy as np
import pytest
from _make import cavities

from benchmarks._fuzz import Watch, _replace
from sciml import data
from sciml.data import _process, probe
from sciml.errors import FileFormatError, InputError


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    place = tmp_path_factory.mktemp("reader") / "a.h5"
    data.write(data.pack(cavities(3), splits=["train", "validation", "test"]), place)
    return place.read_bytes()


@pytest.fixture
def path(tmp_path, original):
    place = tmp_path / "a.h5"
    place.write_bytes(original)
    return place


@pytest.fixture
def secret(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "secret.bin").write_bytes(b"secret! " * 1000)
    with h5py.File(folder / "secret.h5", "w") as file:
        file["x"] = np.arange(1000.0)
    return folder


def refuse(path, message, deep=False):
    with pytest.raises(FileFormatError, match=message) as caught:
        data.validate(path) if deep else data.open(path)
    text = str(caught.value)
    assert text.startswith(str(path)) and "\n" not in text
    return text


def edit(path, deed):
    with h5py.File(path, "r+") as file:
        deed(file)


def replace(name, **how):
    return lambda file: _replace(file, name, **how)


def put(name, at, value):
    def deed(file):
        file[name][at] = value

    return deed


def attribute(name, key, value):
    def deed(file):
        (file[name] if name else file).attrs[key] = value

    return deed


def remove(name):
    def deed(file):
        del file[name]

    return deed


def swap(a, b):
    def deed(file):
        file.move(a, "t")
        file.move(b, a)
        file.move("t", b)

    return deed


def link(name, target):
    def deed(file):
        if name in file:
            del file[name]
        file[name] = target(file) if callable(target) else target

    return deed


HUGE = (10**12, 6, 6)


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (link("u", h5py.ExternalLink("/etc/hostname", "/x")), "'u' is an external link"),
        (link("more", h5py.ExternalLink("a.h5", "/u")), "'more' is an external link"),
        (link("u", h5py.SoftLink("/v")), "'u' is a soft link"),
        (link("u", lambda file: file["v"]), "'v' and 'u' are the same object|'u' and 'v' are the same object"),
        (lambda file: file.create_group("g"), "'g' is not a variable"),
        (link("t", np.dtype("f4")), "'t' is not a variable"),
        (replace("u", external=[("/etc/passwd", 0, 1 << 20)]), "variable 'u': external storage"),
        (
            replace("u", shape=HUGE, chunks=(1, 6, 6)),
            r"variable 'u': declares 144000000000000 bytes .* but the file has",
        ),
        (replace("time", shape=(10**9,), chunks=(1024,), compression="gzip"), "variable 'time': declares 8000000000"),
        (replace("u", chunks=(1, 6, 6)), "variable 'u': has 0 stored chunks, expected 12"),
        (replace("u", dtype=h5py.string_dtype()), "'u': type variable-length text is refused"),
        (replace("u", dtype=h5py.vlen_dtype("f4")), "'u': type variable-length is refused"),
        (replace("u", dtype=np.dtype([("a", "f4")])), "'u': type compound is refused"),
        (replace("u", dtype=h5py.ref_dtype), "'u': type reference is refused"),
        (replace("u", dtype=np.dtype("V4")), "'u': type opaque is refused"),
        (replace("u", dtype="f2"), "'u': type floating point of an unknown kind is refused"),
        (replace("u", chunks=(1, 6, 6), compression="lzf"), "'u': filter 32000 is refused"),
        (replace("u", chunks=(1, 6, 6), scaleoffset=2, dtype="i4"), "'u': filter 6 is refused"),
        (remove("u"), "variable 'u' is missing"),
        (remove("viscosity"), "variable 'viscosity' is missing"),
        (remove("row_size"), "variable 'row_size' is missing"),
        (remove("sha256"), "variable 'sha256' is missing"),
        (swap("u", "v"), "'u' is described as 'velocity along y', expected 'velocity along x': swapped"),
        (swap("viscosity", "density"), "'density' has units 'Pa s', expected 'kg m-3'|'viscosity' has units"),
        (swap("width", "height"), "'width' is described as 'height', expected 'width': swapped"),
        (swap("time", "frame_case"), "variable 'time' has type int32|'frame_case' has type"),
        (put("row_size", 0, 4), "'row_size' sums to 13, expected the 12 frames"),
        (put("row_size", 0, -1), "'row_size' has -1 for case 0"),
        (put("frame_case", 0, 1), "'frame_case' does not number the cases"),
        (put("time", 1, 1e9), "'time' does not increase after frame 1"),
        (put("time", 1, np.nan), "'time' is not finite at frame 1"),
        (put("viscosity", 1, np.nan), "'viscosity' is not finite for case 1"),
        (put("viscosity", 1, 2.0), "'viscosity' is 2.0 for case 1, but its case_json says 0.01"),
        (put("x_max", 1, -1.0), "'x_min' and 'x_max' must be finite with min < max"),
        (put("subset", 1, 9), "'subset' has value 9, expected below 2"),
        (put("split", 1, 200), "'split' has value 200"),
        (attribute("u", "units", "km h-1"), "'u' has units 'km h-1', expected 'm s-1'"),
        (attribute("time", "units", "min"), "'time' has units 'min', expected 's'"),
        (attribute("viscosity", "units", "m2 s-1"), "'viscosity' has units 'm2 s-1', expected 'Pa s'"),
        (attribute("", "schema_version", "2.0"), "schema_version is 2.0, this sciml reads 1.x; install a newer"),
        (attribute("", "schema_version", "0.3"), "schema_version is 0.3, this sciml reads 1.x; generate or import"),
        (attribute("", "schema_version", "new"), "schema_version is 'new', expected '1.0'"),
        (attribute("", "fields", "u v p w"), "variable 'w' is missing, although attribute 'fields' names it"),
        (attribute("", "fields", ""), "names no field"),
        (attribute("", "fields", "p"), "'u' is missing, a field of problem"),
        (attribute("", "fields", "../u"), "is not a name"),
        (attribute("", "parameters", 7), "root attribute 'parameters' is missing or not text"),
        (attribute("subset", "flag_meanings", "bc"), "'subset' has value 1, expected below 1"),
        (
            attribute("u", "_FillValue", np.void(b"123")),
            "'_FillValue' of variable 'u' is of a type that cannot be read",
        ),
        (
            attribute("u", "scale_factor", "two"),
            "variable 'u' has the attribute 'scale_factor' 'two', expected a number",
        ),
        (attribute("u", "scale_factor", np.inf), "'u' has the scale inf and the offset 0, expected finite numbers"),
        (attribute("row_size", "_Unsigned", "true"), "'row_size' has the attribute '_Unsigned'"),
        (attribute("row_size", "_FillValue", np.int64(4)), "'row_size' has 1 missing values, expected integers"),
        (attribute("viscosity", "missing_value", 0.01), "'viscosity' is not finite for case 0"),
        (lambda file: file["u"].attrs.__delitem__("DIMENSION_LIST"), "'u': has no dimension scales"),
        (lambda file: file["u"].dims[0].attach_scale(file["case"]), "'u': dimension 0 has 2 scales"),
        (lambda file: file.create_dataset("extra", data=np.zeros(3)), "'extra': has no dimension scales"),
    ],
)
def test_whatever_is_wrong_is_named(path, deed, message):
    edit(path, deed)
    refuse(path, message)


def test_an_older_minor_version_and_unknown_problems_are_read(path):
    edit(path, attribute("", "schema_version", "1.7"))
    data.open(path)
    edit(path, attribute("", "problem", "my_problem"))
    found = data.open(path)
    with pytest.raises(InputError, match="my_problem"):
        data.case(found, 0)


def test_values_are_checked_in_depth(path):
    edit(path, put("u", (3, 1, 1), np.nan))
    data.open(path)
    refuse(path, "variable 'u' is not finite in case 1, frame 0", deep=True)
    edit(path, put("u", (3, 1, 1), 0.0))
    refuse(path, "'sha256' does not agree with the values of case 1", deep=True)
    assert data.validate(path, checksums=False)["checksums"] == 0


def test_damaged_compressed_values_are_noticed(tmp_path):
    place = tmp_path / "a.h5"
    data.write(data.pack(cavities(2)), place, compression=3)
    with h5py.File(place) as file:
        offset = file["u"].id.get_chunk_info(2).byte_offset
    raw = bytearray(place.read_bytes())
    raw[offset + 20] ^= 0xFF
    place.write_bytes(raw)
    refuse(place, "variable 'u': compressed data are damaged|'sha256' does not agree", deep=True)


def test_compressed_bombs_are_refused(path):
    def deed(file):
        new = _replace(file, "u", shape=(4096, 128, 128), chunks=(4096, 128, 128), compression="gzip")
        new[...] = 0

    edit(path, deed)
    refuse(path, "'u': chunks of 268435456 bytes|'u': declares|along 'frame'")


def test_truncated_files_of_every_length(tmp_path, original):
    place = tmp_path / "a.h5"
    for size in np.linspace(0, len(original) - 1, 40).astype(int):
        place.write_bytes(original[:size])
        refuse(place, "not an HDF5 file|the file is damaged")


def test_other_files_are_refused_in_one_line(tmp_path):
    for name, raw in (("text", b"hello"), ("empty", b""), ("npy", b"\x93NUMPY"), ("zeros", bytes(5000))):
        (tmp_path / name).write_bytes(raw)
        refuse(tmp_path / name, "not an HDF5 file")
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["x"] = 1.0
    refuse(tmp_path / "plain.h5", "sciml data set")
    h5py.File(tmp_path / "none.h5", "w").close()
    refuse(tmp_path / "none.h5", "sciml data set")
    with pytest.raises(InputError, match="cannot open: No such file or directory"):
        data.open(tmp_path / "missing.h5")
    with pytest.raises(InputError, match="zarr"):
        data.open(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a file"):
        data.open(tmp_path / "pipe")


# ---- other files ----------------------------------------------------------------------------------------------------


def test_the_watch_notices_what_plain_h5py_would_do(path, secret):
    """The control: without the reader's checks another file's bytes are read, and the watch sees it."""
    edit(path, replace("u", external=[(str(secret / "secret.bin"), 0, 4096)]))
    watch = Watch(secret)
    with h5py.File(path) as file:
        assert b"secret" in file["u"][...].tobytes()
    assert watch.seen()


def test_no_other_file_is_opened(path, secret, original):
    virtual = h5py.VirtualLayout(shape=(12, 6, 6), dtype="f4")
    virtual[...] = h5py.VirtualSource(str(secret / "secret.h5"), "x", shape=(12, 6, 6))

    def make_virtual(file):
        del file["u"]
        file.create_virtual_dataset("u", virtual)

    deeds = [
        replace("u", external=[(str(secret / "secret.bin"), 0, 4096)]),
        link("u", h5py.ExternalLink(str(secret / "secret.h5"), "/x")),
        make_virtual,
    ]
    watch = Watch(secret)
    for deed in deeds:
        path.write_bytes(original)
        edit(path, deed)
        watch.seen()  # what h5py did while it made the file
        refuse(path, "'u'")
        assert not watch.seen()


# ---- the separate process -------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_helper():
    probe.stop()
    yield
    probe.stop()


def test_a_crash_of_hdf5_is_one_clear_line_and_the_next_file_opens(path, monkeypatch, fresh_helper):
    with monkeypatch.context() as patch:
        patch.setattr(_process, "_START", "import os; input(); os.kill(os.getpid(), 11)")
        refuse(path, r"the file is damaged: HDF5 crashed \(in a separate process\)")
    assert data.open(path).sizes["case"] == 3


def test_a_hang_of_hdf5_is_ended(path, monkeypatch, fresh_helper):
    with monkeypatch.context() as patch:
        patch.setattr(_process, "_START", "import time; time.sleep(1000)")
        patch.setattr(probe, "SECONDS", 0.5)
        begin = time.monotonic()
        refuse(path, "HDF5 gave no answer in 0 s|in 1 s")
        assert time.monotonic() - begin < 5
    assert data.open(path).sizes["case"] == 3


def test_hdf5_is_not_even_loaded_in_the_reading_process(path):
    import subprocess

    script = (
        f"import sys; from sciml import data; d = data.open({str(path)!r}); data.validate(d); "
        f"data.Windows({str(path)!r})[0]; assert 'libhdf5' not in open('/proc/self/maps').read(); "
        "assert 'torch' not in sys.modules and 'jax' not in sys.modules"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=env)
    assert run.returncode == 0, run.stderr


def test_reading_survives_a_file_cut_short_after_opening(path):
    windows, dataset = data.Windows(path, split=None), data.open(path)
    os.truncate(path, 20_000)
    for read in (lambda: dataset["v"].values, lambda: [windows[k] for k in range(len(windows))]):
        with pytest.raises(InputError, match=r"ends at byte|has changed"):
            read()


def test_an_interrupted_question_does_not_shift_the_answers(path, tmp_path, monkeypatch, original):
    """Ctrl-C while the separate process is at work: the next file must not get this file's answer."""
    other = tmp_path / "b.h5"
    data.write(data.pack(cavities(2)), other)
    receive = probe.Helper.receive

    def interrupted(self, count, deadline):
        receive(self, count, deadline)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(probe.Helper, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.open(path)
    assert data.open(other).sizes["case"] == 2
    assert data.open(path).sizes["case"] == 3


def test_more_files_than_descriptors_from_many_threads(tmp_path):
    """Lazy values of 70 files, read by threads: every value comes from its own file."""
    from concurrent.futures import ThreadPoolExecutor

    made = []
    for k in range(70):
        place = tmp_path / f"{k}.h5"
        sample = data.pack(cavities(1))
        sample["u"] = sample["u"] * 0 + k
        data.write(sample, place)
        made.append(data.open(place))

    def read(n):
        return float(made[n % 70]["u"].data[n % 3].compute(scheduler="synchronous").mean())

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(280)))
    assert found == [float(n % 70) for n in range(280)]


def test_an_open_data_set_can_be_pickled(path):
    import pickle

    found = data.open(path)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again["u"].values, found["u"].values)


def test_a_helper_that_something_else_ended_is_replaced(path):
    data.open(path)
    assert probe._helper is not None
    helper = probe._helper
    helper.process.kill()  # between two files, without anyone noticing yet
    assert data.open(path).sizes["case"] == 3
    assert probe._helper is not helper
