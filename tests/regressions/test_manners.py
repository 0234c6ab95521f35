"""Programs that once lost what belongs to others: links, modes, settings of the process; or failed in many lines."""

import os
import stat

import numpy as np
import pytest
import torch

import sciml
from sciml.errors import InputError

from .conftest import QUIET, burgers, fit, one_line, python, tiny

BURGERS = sciml.problems.Burgers()


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_writing_goes_through_links_and_keeps_the_mode(inside):
    (s,) = burgers(viscosities=(0.1,))
    sciml.data.write(s.isel(time=[0]), "real.h5")
    os.chmod("real.h5", 0o664)
    os.symlink("real.h5", "link.h5")
    sciml.data.write(s, "link.h5")
    assert os.path.islink("link.h5") and sciml.data.open("real.h5").sizes["frame"] == 3
    sciml.data.write(s, "real.h5")
    assert mode("real.h5") == 0o664


def test_runs_reports_and_exports_go_through_links(inside):
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    sciml.data.write(sciml.data.pack(s, splits=["train", "validation", "test"]), "x.h5")
    os.makedirs("real/run")
    os.symlink("real/run", "run")
    m = fit("x.h5", running=sciml.Running(out="run", progress=False))
    assert os.path.islink("run") and os.path.exists("real/run/config.json")
    m.save("run")
    assert os.path.islink("run") and sciml.load("real/run").fitted
    # files of a run that are links themselves, as with large files kept elsewhere
    os.rename("real/run/weights.safetensors", "real/weights")
    os.symlink("../weights", "real/run/weights.safetensors")
    os.chmod("real/weights", 0o640)
    fit("x.h5", 1, m)
    m.save("run")
    assert os.path.islink("real/run/weights.safetensors") and mode("real/weights") == 0o640
    assert sciml.load("run").fitted


def test_reports_go_through_links(inside):
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    sciml.data.write(sciml.data.pack(s, splits=["train", "validation", "test"]), "x.h5")
    fit("x.h5", running=sciml.Running(out="run", progress=False))
    os.mkdir("real")
    open("real/page.html", "w").close()
    os.chmod("real/page.html", 0o604)
    os.symlink("real/page.html", "page.html")
    sciml.report(["run"], data="x.h5", out="page.html")
    assert os.path.islink("page.html") and os.path.getsize("real/page.html") > 10_000
    assert mode("real/page.html") == 0o604


def test_generation_goes_through_links(inside):
    open("real.h5", "w").close()
    os.chmod("real.h5", 0o640)
    os.symlink("real.h5", "link.h5")
    try:
        sciml.solvers.generate("lid_driven_cavity", "link.h5", cases=2, frames=3, resolution=8, progress=False)
    except InputError as error:  # a file that is there already is not replaced unasked
        assert one_line(error)
        sciml.solvers.generate(
            "lid_driven_cavity", "link.h5", cases=2, frames=3, resolution=8, progress=False, overwrite=True
        )
    assert os.path.islink("link.h5") and sciml.data.open("real.h5").sizes["case"] == 2
    assert mode("real.h5") == 0o640


def flushed():
    return float(torch.tensor([1e-40]) * 1.0) == 0.0


def test_random_numbers_and_denormals_are_left_as_they_were(inside):
    s, r = burgers(), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        expected = torch.rand(4)[2:].tolist()
        torch.manual_seed(seed)
        torch.rand(2)
        fit(s, 1)
        r.append(torch.rand(2).tolist())
        assert r[-1] == expected
    assert r[0] != r[1]
    before = flushed()
    try:
        torch.set_flush_denormal(True)
        fit(s, 1)
        assert flushed()
        torch.set_flush_denormal(False)
        fit(s, 1)
        assert not flushed()
    finally:
        torch.set_flush_denormal(before)


@pytest.mark.parametrize("operator", ["fno", "unet", "deeponet"])
def test_nothing_else_touches_the_state_of_the_process(inside, operator):
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    packed = sciml.data.pack(s, splits=["train", "validation", "test"])
    case = BURGERS.case(viscosity=0.1)
    np.random.seed(3)
    torch.manual_seed(3)

    def state():
        return (
            torch.get_rng_state().tolist(), str(np.random.get_state()), flushed(), torch.get_num_threads(),
            torch.is_grad_enabled(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(),
        )  # fmt: skip

    before = state()
    m = fit(packed, model=tiny(operator, **({} if operator == "fno" else {"width": 4})))
    assert state() == before
    m.save("m")
    m = sciml.load("m")
    m.solve(case, [0.1, 0.2])
    m.solve_many([case], [0.1, 0.2], progress=False)
    assert state() == before
    m.resume(case, s[0].isel(time=[0]), [0.1])
    m.fit(packed, sciml.Recipe(length=sciml.Steps(1)), running=QUIET)
    assert state() == before
    if operator == "fno":
        sciml.evaluate([m], packed, steps=1)
        assert state() == before


def test_jax_strict_modes():
    script = """
import sciml
burgers, cavity, darcy = sciml.problems.Burgers(), sciml.problems.LidDrivenCavity(), sciml.problems.Darcy()
print(float(sciml.solvers.PseudoSpectral(16).solve(burgers.case(viscosity=.1), [0, .1]).u.max()))
print(float(sciml.solvers.IncompressibleFlow(16).solve(cavity.case(), [0, .1]).u.max()))
print(float(sciml.solvers.FiniteVolume(8).solve(darcy.case()).p.max()))
print(float(sciml.solvers.FiniteVolume(8).solve(sciml.problems.HeatEquation().case(), [0, .1])["T"].max()))
"""
    done = python(script, JAX_NUMPY_DTYPE_PROMOTION="strict", JAX_NUMPY_RANK_PROMOTION="raise")
    assert done.returncode == 0 and len(done.stdout.split()) == 4, done.stderr


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("operator", ["fno", "unet", "deeponet"])
def test_training_without_gradients_around_it(inside, context, operator):
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    packed = sciml.data.pack(s, splits=["train", "validation", "test"])
    case = BURGERS.case(viscosity=0.1)
    model = lambda: tiny(operator, **({} if operator == "fno" else {"width": 4}))  # noqa: E731
    expected = fit(packed, model=model()).solve(case, [0.1, 0.2]).u.values
    with context():
        m = fit(packed, model=model())
        assert m.fitted and not torch.is_grad_enabled()
        np.testing.assert_array_equal(m.solve(case, [0.1, 0.2]).u.values, expected)
        m.save("m")
        loaded = sciml.load("m")
        again = fit(packed, 1, sciml.load("m"))
    for former in (m, loaded, again):  # and on outside
        fit(packed, 1, former)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_evaluation_without_gradients_around_it(inside, context):
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    packed = sciml.data.pack(s, splits=["train", "validation", "test"])
    m = fit(packed)
    expected = sciml.evaluate([m], packed, steps=1).summary["rows"]
    with context():
        found = sciml.evaluate([m], packed, steps=1).summary["rows"]
    timeless = lambda rows: [{k: v for k, v in r.items() if "second" not in k and "time" not in k} for r in rows]  # noqa: E731
    assert timeless(found) == timeless(expected)


def test_values_beyond_the_range_of_a_file_are_refused(inside):
    x = (np.arange(8) + 0.5) / 8
    fields = {"u": (("time", "x"), np.full((1, 8), 1e39))}
    s = sciml.data.solution(BURGERS.case(), [0.0], fields, {"x": x})
    uses = (
        lambda: sciml.data.pack([s]),
        lambda: sciml.data.write(sciml.data.pack([s]), "o.h5"),
        lambda: sciml.data.pack([s], dtype="float16"),
        lambda: sciml.data.ShardWriter("o.h5", dtype="float32").write(0, s),
    )
    for use in uses:
        with pytest.raises(InputError, match="range of float") as caught:
            use()
        assert one_line(caught.value)
    assert not os.path.exists("o.h5")
    for name in ("o.h5", "o.zarr"):
        sciml.data.write(sciml.data.pack([s], dtype=None), name)  # in the solution's own type, which holds them
        assert sciml.data.open(name).u.values.max() == 1e39


def test_training_on_values_beyond_float32(inside):
    """Single precision cannot hold them before they are divided by their scale, or refuses them in one line."""
    t, x = np.array([0.0, 0.1, 0.2]), (np.arange(8) + 0.5) / 8
    fields = {"u": (("time", "x"), 1e39 * np.exp(-t)[:, None] * np.sin(2 * np.pi * x))}
    s = [sciml.data.solution(BURGERS.case(viscosity=v), t, fields, {"x": x}) for v in (0.1, 0.2)]
    with pytest.raises(InputError) as caught:
        fit(s)
    assert one_line(caught.value)


def test_names_as_long_as_the_system_takes(inside):
    (s,) = burgers([0, 0.1], [0.1])
    n = "b" * 237 + ".h5"
    open(n, "w").close()
    sciml.data.write(s, n)
    assert sciml.data.open(n).sizes["frame"] == 2


def test_names_that_are_too_long_are_refused_in_one_line(inside):
    s = burgers()
    m, long = fit(s), "b" * 300
    sciml.data.write(sciml.data.pack(s, splits=["train", "test"]), "x.h5")
    m.save("run")
    m.save("r" * 250)
    assert sciml.load("r" * 250).fitted
    uses = (
        lambda: m.save(long),
        lambda: sciml.load(long),
        lambda: fit(s, running=sciml.Running(out=long, progress=False)),
        lambda: sciml.data.write(s[0], long + ".h5"),
        lambda: sciml.data.write(s[0], long + ".zarr"),
        lambda: sciml.data.open(long),
        lambda: sciml.solvers.generate("lid_driven_cavity", long + ".h5", cases=2, frames=3, resolution=8),
    )
    for use in uses:
        with pytest.raises(InputError) as caught:
            use()
        assert one_line(caught.value)


def test_a_run_cannot_be_saved_onto_a_file(inside):
    s = burgers()
    open("afile", "w").close()
    m = fit(s, 1)
    sciml.data.write(sciml.data.pack(s, splits=["train", "test"]), "x.h5")
    m.save("run")
    os.mkdir("folder")
    uses = (
        lambda: m.save("afile"),
        lambda: m.save("afile/run"),
        lambda: sciml.load("afile"),
        lambda: fit(s, running=sciml.Running(out="afile", progress=False)),
        lambda: sciml.data.write(s[0], "folder"),
        lambda: sciml.data.write(s[0], "afile/x.h5"),
        lambda: sciml.data.open("folder"),
        lambda: sciml.Recipe.from_toml("folder.toml"),
    )
    os.mkdir("folder.toml")
    for use in uses:
        with pytest.raises(InputError) as caught:
            use()
        assert one_line(caught.value)


def test_home_is_expanded(inside, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    os.mkdir("elsewhere")
    monkeypatch.chdir("elsewhere")
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    sciml.data.write(sciml.data.pack(s, splits=["train", "validation", "test"]), "~/x.h5")
    m = fit("~/x.h5", running=sciml.Running(out="~/run", progress=False))
    m.save("~/again")
    assert sciml.load("~/run").fitted and sciml.load("~/again").fitted
    (tmp_path / "r.toml").write_text(sciml.Recipe().to_toml())
    assert sciml.Recipe.from_toml("~/r.toml") == sciml.Recipe()
    assert sorted(os.listdir(tmp_path)) == ["again", "elsewhere", "r.toml", "run", "x.h5", "x.h5.json"]
    assert not os.listdir()


def test_places_of_reports(inside, tmp_path, monkeypatch):
    s = burgers(viscosities=(0.1, 0.2, 0.3))
    sciml.data.write(sciml.data.pack(s, splits=["train", "validation", "test"]), "x.h5")
    fit("x.h5", running=sciml.Running(out="run", progress=False))
    os.mkdir("folder")
    open("afile", "w").close()
    uses = (
        lambda: sciml.report(["run"], data="x.h5", out="b" * 300 + ".html"),
        lambda: sciml.report(["run"], data="x.h5", out="folder"),
        lambda: sciml.report(["afile"], data="x.h5", out="x.html"),
    )
    for use in uses:
        with pytest.raises(InputError) as caught:
            use()
        assert one_line(caught.value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("folder")
    sciml.evaluate(["~/run"], "~/x.h5", steps=1).save("~/e.json")
    sciml.report(["~/run"], data="~/x.h5", out="~/x.html")
    assert (tmp_path / "e.json").exists() and (tmp_path / "x.html").exists() and not os.listdir()
