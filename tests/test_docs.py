"""Every block of code in the documents runs, as printed but for numbers of cases, cells and minutes.

The `python` blocks of a page go together, in order, in one scope and one empty folder; lines of other blocks that call
`sciml` are run between them where the page says so below, and held against the command line's own table everywhere.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import sciml
from sciml import registry
from sciml.cli import main
from sciml.cli._app import app
from sciml.derivatives import numpy as provider

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ("README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")))
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """How a page is run.

    Args:
        shorter: (as printed, as run): each must be there.
        given: code for what the page takes as there: a data set, a trained run.
        holds: what must be true of the scope afterwards.
        commands: whether lines that call `sciml` are run as well.
        without: words of blocks that are only compiled, with what they need.
        compiled_quickly: see the marker of that name.
    """

    shorter: tuple[tuple[str, str], ...] = ()
    given: str = ""
    holds: Callable[[dict[str, Any], Path], None] = lambda scope, folder: None
    commands: bool = False
    without: tuple[tuple[str, Callable[[], Any]], ...] = ()
    compiled_quickly: bool = False


def blocks(name: str) -> list[tuple[str, str]]:
    """(language, text) of the blocks of a page, in order."""
    return FENCE.findall((ROOT / name).read_text(encoding="utf-8"))


def run(name: str, page: Page, folder: Path) -> dict[str, Any]:
    """The scope that a page leaves."""
    scope: dict[str, Any] = {"__name__": "page"}
    exec(compile(page.given, f"{name}: given", "exec"), scope)
    for number, (language, text) in enumerate(blocks(name)):
        for long, short in page.shorter:
            text = text.replace(long, short)
        if language == "python":
            code = compile(text, f"{name}: block {number}", "exec")
            if all(there() for word, there in page.without if word in text):
                exec(code, scope)
        elif page.commands:
            for words in commands(text):
                with pytest.raises(SystemExit) as end:
                    main(words)
                assert not end.value.code, words
    return scope


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of every line that calls `sciml`."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("sciml "):
            yield shlex.split(line, comments=True)[1:]


# -- what must be true of each page ---------------------------------------------------------------------------------


def readme(scope: dict[str, Any], folder: Path) -> None:
    assert scope["truth"]["u"].shape == (3, 32, 32)
    assert list(scope["pred"]["time"].values) == [1, 2, 5]
    assert (folder / "report.html").stat().st_size > 100_000


def contributing(scope: dict[str, Any], folder: Path) -> None:
    """The exact solution of the recipe for an equation satisfies its balance."""
    problem = registry.problems.get("drift")()
    case = problem.case(speed=0.7, length=2.0)
    grid = sciml.Grid.uniform(case.geometry, 32)
    step = 1e-4
    before, now, after = problem.exact(case, [0.3 - step, 0.3, 0.3 + step], grid.centres)["u"]
    rates = {"u": (after - before) / (2 * step)}
    residual = provider.strong(
        problem.balances()["mass"], grid, {"u": now}, parameters=case.parameters, rates=rates, method="spectral"
    )
    assert np.abs(residual).max() < 1e-6  # the rate is a difference of second order in `step`


def meshing(scope: dict[str, Any], folder: Path) -> None:
    info = scope["info"]
    assert info.converged and info.inverted == 0
    assert info.equidistribution < 0.5 * info.equidistribution_before
    assert scope["own"].training["steps"] == 3
    assert (folder / "moved.png").exists()
    assert scope["found"].sizes["time"] == 2


def linear(scope: dict[str, Any], folder: Path) -> None:
    assert scope["info"].converged and scope["info"].residual < 1e-6
    assert scope["answer"].attrs["status"] == "ok"


def equation(scope: dict[str, Any], folder: Path) -> None:
    assert abs(scope["order"] - 2) < 0.1
    rows = {row["name"]: row for row in scope["found"].summary["rows"]}
    assert {"persistence", "mean field", "interpolation", "FNO"} <= set(rows)
    assert max(r.relative for r in sciml.audit(scope["truth"]).select("population")) < 1e-10
    assert (folder / "invasion.html").stat().st_size > 100_000


def concepts(scope: dict[str, Any], folder: Path) -> None:
    assert scope["answer"]["T"].shape == (2, 1)


def own_data(scope: dict[str, Any], folder: Path) -> None:
    registry.problems._classes.pop("fading_heat", None)
    assert scope["model"].training["steps"] > 0 and (folder / "plume.html").stat().st_size > 100_000
    assert np.isfinite(scope["answer"]["T"].values).all()
    with sciml.data.open(folder / "heat.h5") as found:  # ∂t ∫T² ≤ 0: heat spreads and fades
        sizes = np.square(found["T"].values).sum(1).reshape(6, 5)
        assert (np.diff(sizes, axis=1) < 0).all()


def physics(scope: dict[str, Any], folder: Path) -> None:
    assert (folder / "reactor.png").stat().st_size > 10_000
    assert abs(scope["gap"]).max() < 0.2  # hardly trained
    assert abs(scope["pinn"].found["viscosity"] - 0.05) < 0.005


def gradients(scope: dict[str, Any], folder: Path) -> None:
    slope, (viscosity, lid) = scope["slope"], scope["truth"]
    assert slope.shape == (6,) and slope.isfinite().all() and (slope != 0).any()
    assert np.isfinite(viscosity) and lid.shape == (5,) and (np.abs(lid) > 0).all()
    np.testing.assert_allclose(scope["drag"], scope["flow"]["force_x"], rtol=0.05)


def implicit(scope: dict[str, Any], folder: Path) -> None:
    """The slope against a central difference of the solver's own answers."""
    model, target = scope["energy"], scope["target"]
    h = 1e-4
    ends = [float(model(scope["torch"].tensor(0.05 + s * h, dtype=scope["torch"].float64))) for s in (1, -1)]
    assert abs(float(scope["slope"]) / ((ends[0] - ends[1]) / (2 * h)) - 1) < 1e-5
    assert abs(float(scope["found"].detach()) - 0.08) < 1e-8
    assert abs(float(scope["change"]) * float(scope["slope_there"]) - 1) < 1e-6 and target.grad is not None


def constraints(scope: dict[str, Any], folder: Path) -> None:
    case, times = sciml.problems.LidDrivenCavity().case(lid_velocity=1.0), [0.5, 1.0, 2.0]

    def relative(model: Any) -> float:
        return max(r.relative for r in sciml.audit(model.solve(case, times=times)).select("continuity"))

    assert relative(scope["fno"]) < 1e-5 and relative(scope["afterwards"]) < 1e-5
    assert relative(scope["plain"]) > 1e-2


def index(scope: dict[str, Any], folder: Path) -> None:
    assert max(r.relative for r in sciml.audit(scope["truth"]).select("continuity")) < 1e-4


def stagger(scope: dict[str, Any], folder: Path) -> None:
    assert scope["model"].operator.stagger == (2, 2) and scope["model"].metrics


def sparse(scope: dict[str, Any], folder: Path) -> None:
    assert scope["answer"]["u"].shape == (9, 24, 44) and bool(np.isfinite(scope["answer"]["v"]).all())


def prose(scope: dict[str, Any], folder: Path) -> None:
    """Both problems are answered, and a parameter is among the symbols as it is."""
    assert set(scope["model"].families) == {"reversing_swirl", "taylor_green"} and scope["answer"].sizes["time"] == 2
    case = scope["swirl"].case(speed=1.75)
    assert 2 * 1.75 in [s.value for s in scope["symbols"](case)]


def refiner(scope: dict[str, Any], folder: Path) -> None:
    told = scope["answer"].attrs
    assert 0 < told["residual"] < told["residual_before"]


def corrected(scope: dict[str, Any], folder: Path) -> None:
    """What is corrected is something else than the coarse solver, and comes back from disk."""
    found, alone = scope["found"], scope["alone"]
    assert found["u"].shape == alone["u"].shape == (4, 16, 16)
    assert found["coarse_u_face"].shape == (4, 8, 9)
    off = abs(found["u"] - alone["u"]).max()
    assert 0 < off < scope["case"].lid_velocity
    assert sciml.load(folder / "runs/corrected").settings == scope["model"].settings


def data(scope: dict[str, Any], folder: Path) -> None:
    assert scope["batch"]["target"].shape[1] == 4 and list((folder / "folder").rglob("*.pvd"))


def density(scope: dict[str, Any], folder: Path) -> None:
    assert (scope["found"].density > 0).all() and scope["mass"] > 0 and scope["paths"].shape == (2, 1, 2)


def neural_ode(scope: dict[str, Any], folder: Path) -> None:
    """Times that no frame has, and a model that comes back from disk."""
    assert scope["found"]["u"].shape == (3, *scope["start"]["u"].shape[1:])
    assert sciml.load(folder / "runs/wake").settings == scope["model"].settings


def flows(scope: dict[str, Any], folder: Path) -> None:
    assert float(scope["wake"].force_x[-1]) > 0
    water = scope["flow"].alpha.sum(("y", "x")).values * 0.01**2
    assert water[1] > water[0] > 0.01


def cfdbench(scope: dict[str, Any], folder: Path) -> None:
    assert 0 <= scope["found"].share <= 1


def operators(scope: dict[str, Any], folder: Path) -> None:
    assert scope["answer"]["T"].shape[-1] == len(scope["places"])


def operator(scope: dict[str, Any], folder: Path) -> None:
    """Three rows of three seeds, beside what needs no training."""
    rows = {row["name"]: row for row in scope["found"].summary["rows"]}
    assert {"persistence", "mean field", "interpolation"} < set(rows)
    for name in ("mixer", "fno", "unet"):
        error = rows[name]["rollout"]["all"]["joint"]["relative_l2"]
        assert rows[name]["runs"] == 3 and np.isfinite(error["mean"]).all() and error["std"][0] > 0


def turbulence(scope: dict[str, Any], folder: Path) -> None:
    assert np.isfinite(scope["modelled"].u).all() and len(scope["profiles"]["place"]) == 17
    assert float(scope["later"].time[0]) == 0.03 and scope["profiles"]["friction_velocity"]["source"] == "the case"


def particles(scope: dict[str, Any], folder: Path) -> None:
    assert len(scope["later"].time) == 1 and scope["traced"].sizes["node"] == 1
    assert float(scope["hit"].velocity_x.mean()) < 4.0 and np.isfinite(scope["hit"].density).all()
    assert scope["answer"].sizes == {"time": 2, "node": len(scope["many"])}
    assert np.isfinite(scope["answer"].displacement_x).all()
    assert len(scope["found"].evaluations) == 2 and np.isfinite(scope["found"].value)


def structure(scope: dict[str, Any], folder: Path) -> None:
    assert np.allclose(scope["found"].okubo_weiss, -4 * scope["found"].q_criterion)
    assert (folder / "vortices.pvd").exists()
    assert float(scope["growth"]) < 0  # these vortices fade everywhere
    assert np.isfinite(scope["exponents"].ftle_mean[3:6]).all() and np.isfinite(scope["own"].ftle).all()
    assert not scope["barriers"].left.any() and len(scope["lines"].node) > 20


def program(scope: dict[str, Any], folder: Path) -> None:
    """The program is the surrogate, its derivative that of differences, and a guard with no tolerance the solver."""
    torch, model, Rod = scope["torch"], scope["model"], scope["Rod"]
    answer = model.solve(Rod().case(power=60.0), [1.0])["T"].values[0]
    assert np.abs(scope["warmer"][0, 0] - answer).max() < 1e-4 * np.abs(answer).max()
    after, power = scope["after_ten_seconds"], torch.tensor([40.0], requires_grad=True)
    (slope,) = torch.autograd.grad(after(power).sum(), power)
    with torch.no_grad():
        ends = after(torch.tensor([39.0, 41.0]))
    assert abs(float(slope) / (float(ends[1] - ends[0]) / 2) - 1) < 0.02
    told, asked = scope["guarded"](0.0)
    assert asked == 3 and np.abs(told - scope["controlled"](scope["solver"])).max() < 1e-6
    assert scope["curve"].shape == (1000,)


_FLOWS = """
import sciml
sciml.solvers.generate("cavity", "cavity.h5", cases=8, frames=8, resolution=16, subset="bc", progress=False)
"""
_RUN = (
    _FLOWS
    + """
from sciml.training import Running
model = sciml.solvers.Surrogate("fno", width=4, modes=(2, 2), layers=1)
model.fit("cavity.h5", sciml.Recipe(length=sciml.Steps(2)), running=Running(out="runs/fno", progress=False))
"""
)


def has_openfoam() -> bool:
    from sciml.solvers._foam_run import environment

    return environment() is not None


PAGES: dict[str, Page] = {
    "README.md": Page(
        (
            ("cases=40", 'cases=8, resolution=16, frames=5, subset="bc", progress=False'),
            ("resolution=64", "resolution=32"),
            ("modes=(12, 12)", "modes=(6, 6)"),
            ("sciml.Minutes(2)", "sciml.Steps(10)"),
        ),
        holds=readme,
    ),
    "CONTRIBUTING.md": Page(holds=contributing),
    "docs/cfdbench.md": Page(given=_RUN, holds=cfdbench),
    "docs/concepts.md": Page(holds=concepts),
    "docs/constraints.md": Page(
        (
            ("cases=40, frames=11", "cases=6, frames=5, resolution=24, progress=False"),
            ("Minutes(2)", "Steps(5)"),
            ("Minutes, Recipe", "Recipe, Steps"),
        ),
        holds=constraints,
    ),
    "docs/corrected.md": Page(
        (
            ("cases=40, frames=21, resolution=64", 'cases=6, frames=5, resolution=16, subset="bc", progress=False'),
            ("CorrectedFlow(16)", "CorrectedFlow(8)"),
            ("sciml.Minutes(2)", "sciml.Steps(2)"),
            ("steps=4", "steps=2"),
            ('out="runs/corrected"', 'out="runs/corrected", progress=False'),
        ),
        holds=corrected,
        compiled_quickly=True,
    ),
    "docs/data.md": Page(
        (
            ("cases=40", 'cases=8, resolution=16, frames=8, subset="bc", progress=False'),
            ("num_workers=2", "num_workers=0"),  # JAX, which other tests have started, does not like to be forked
        ),
        holds=data,
        commands=True,
    ),
    "docs/density.md": Page(
        (("LevenbergMarquardt(40)", "LevenbergMarquardt(1)"), ("rounds=2, bends=3", "rounds=1, bends=2")),
        holds=density,
        compiled_quickly=True,
    ),
    "docs/equation.md": Page(
        (
            ("range(60)", "range(10)"),
            ("Steps(600)", "Steps(20)"),
        ),
        holds=equation,
    ),
    "docs/neural_ode.md": Page(
        (
            ("(48, 88)", "(24, 44)"),
            ("np.arange(10, 70, 0.5)", "np.arange(1, 6, 0.5)"),
            ("(80, 110, 140, 170, 200)", "(80, 200)"),
            ("Steps(1500)", "Steps(3)"),
        ),
        holds=neural_ode,
        compiled_quickly=True,
    ),
    "docs/flows.md": Page(
        (
            ("(192, 352)", "(48, 88)"),
            ("[0.1, 0.2, 0.5]", "[0.02, 0.04]"),
            ("[0.2, 0.4]", "[0.05, 0.1]"),
            ("times=[0.02, 0.04]", "times=[0.005, 0.01]"),
            ("times=[0.06]", "times=[0.015]"),
        ),
        holds=flows,
        without=(("OpenFOAM", has_openfoam),),
    ),
    "docs/gradients.md": Page(
        (
            ("cases = np.random.default_rng(0), 48", "cases = np.random.default_rng(0), 4"),
            ("IncompressibleFlow(32", "IncompressibleFlow(16"),
            ("23:25, 15:17", "11:13, 7:9"),
            ("modes=(8, 8)", "modes=(4, 4)"),
            ("Steps(800)", "Steps(3)"),
            ("times=[0.1, 0.2]", "times=[0.02, 0.04]"),
        ),
        holds=gradients,
    ),
    "docs/implicit.md": Page(holds=implicit),
    "docs/index.md": Page((("resolution=64", "resolution=32"),), holds=index),
    "docs/linear.md": Page(holds=linear),
    "docs/meshing.md": Page((("Steps(600)", "Steps(3)"),), holds=meshing),
    "docs/operator.md": Page(
        (
            ("cases=60, frames=11", "cases=12, frames=6, progress=False"),
            ("length=ProcessorMinutes(0.1)", "length=sciml.Steps(3)"),
        ),
        holds=operator,
    ),
    "docs/operators.md": Page(
        (
            ("cases=60, resolution=16", "cases=6, resolution=8, progress=False"),
            ("sciml.Minutes(2)", "sciml.Steps(5)"),
            ("(5000, 2)", "(50, 2)"),
        ),
        holds=operators,
    ),
    "docs/own_data.md": Page(holds=own_data),
    "docs/program.md": Page(
        (
            ("range(48)", "range(34)"),
            ("Steps(800)", "Steps(100)"),
            ("seconds=10", "seconds=3"),
            ("(0.01, 1.0, 100.0)", "(1.0,)"),
        ),
        holds=program,
    ),
    "docs/physics.md": Page(
        (
            ("Adam(500), LevenbergMarquardt(60)", "Adam(60), LevenbergMarquardt(12)"),
            ("points=2000", "points=600"),
            ("resolution=48", "resolution=24"),
            ("Adam(200), LevenbergMarquardt(30)", "Adam(60), LevenbergMarquardt(15)"),
        ),
        holds=physics,
    ),
    "docs/particles.md": Page(
        (
            ("resolution=32", "resolution=12"),
            ("cases=30, frames=201, resolution=(48, 48)", "cases=6, frames=13, resolution=(12, 12)"),
            ("nodes=256", "nodes=12"),
            ("sciml.Minutes(5)", "sciml.Steps(2)"),
            ("resolution=128", "resolution=24"),
            ("evaluations=20", "evaluations=2"),
            ("linspace(0.0, 0.5, 6)", "linspace(0.0, 0.1, 6)"),
            ("times=[0.5]", "times=[0.1]"),
        ),
        holds=particles,
    ),
    "docs/turbulence.md": Page(holds=turbulence),
    "docs/prose.md": Page(holds=prose, compiled_quickly=True),
    "docs/stagger.md": Page(
        (
            ("cases=8, frames=11, resolution=64", "cases=6, frames=4, resolution=16, progress=False"),
            ("(12, 12)", "(3, 3)"),
            ("sciml.Minutes(2)", "sciml.Steps(2)"),
        ),
        holds=stagger,
        compiled_quickly=True,
    ),
    "docs/sparse.md": Page(
        (
            ("cases=8, frames=21, resolution=(24, 44)", "cases=6, frames=13, resolution=(24, 44), progress=False"),
            ("instants=6", "instants=4"),
            ("sciml.Minutes(2)", "sciml.Steps(2)"),
        ),
        holds=sparse,
        compiled_quickly=True,
    ),
    "docs/refiner.md": Page(
        (
            ("cases=8, frames=40, resolution=64", "cases=6, frames=14, resolution=16, progress=False"),
            ("n_out=20", "n_out=4"),
            ("width=20, modes=(8, 8)", "width=4, modes=(3, 3)"),
            ("sciml.Minutes(5)", "sciml.Steps(2)"),
            ("window=20", "window=4"),
            ("[4:24]", "[4:8]"),
        ),
        holds=refiner,
        compiled_quickly=True,
    ),
    "docs/structure.md": Page(
        (("resolution=64", "resolution=32"), ("case.geometry, 96", "case.geometry, 48")), holds=structure
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.compiled_quickly if p.compiled_quickly else ()) for n, p in PAGES.items()],
)
def test_page_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    try:
        PAGES[name].holds(run(name, PAGES[name], tmp_path), tmp_path)
    finally:
        for table in (registry.problems, registry.operators, registry.solvers):
            for key, cls in list(table._classes.items()):
                if cls.__module__ == "page":
                    del table._classes[key]


@pytest.mark.parametrize("name", PAGES)
def test_what_is_shortened_is_there(name: str) -> None:
    code = "".join(text for _, text in blocks(name))
    assert [long for long, _ in PAGES[name].shorter if long not in code] == []


def test_no_page_with_code_is_left_out() -> None:
    assert set(PAGES) == {name for name in TEXTS if any(language == "python" for language, _ in blocks(name))}


# -- commands -------------------------------------------------------------------------------------------------------


def called(name: str) -> list[list[str]]:
    """Every call of `sciml` in a page: lines of blocks that are no Python, and code within sentences."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found = [words for language, block in blocks(name) if language != "python" for words in commands(block)]
    for code in re.findall(r"(?<!`)`(sciml [^`]+)`(?!`)", FENCE.sub("", text)):
        if "|" not in code:
            found.append(shlex.split(" ".join(code.split()))[1:])
    return found


CALLS = [(name, words) for name in TEXTS for words in called(name)]


@pytest.mark.parametrize(("name", "words"), CALLS, ids=[f"{n}: {' '.join(w)}"[:70] for n, w in CALLS])
def test_commands_and_options_exist(name: str, words: list[str]) -> None:
    table: Any = typer.main.get_command(app)
    while words and words[0] == "--import":
        words = words[2:]
    if words[:1] == ["COMMAND"]:  # any of them
        return
    assert words and words[0] in table.commands, f"{name}: sciml has no command {words[:1]}"
    command = table.commands[words[0]]
    if isinstance(command, typer.core.TyperGroup) and len(words) > 1:  # data select, data merge, ...
        assert words[1] in command.commands, f"{name}: sciml {words[0]} has no command {words[1]}"
        command, words = command.commands[words[1]], words[1:]
    known = {option for parameter in command.params for option in (*parameter.opts, "--help", "-h")}
    for word in words[1:]:
        if word.startswith("-") and not re.fullmatch(r"-\d.*", word):
            assert word.partition("=")[0] in known, f"{name}: sciml {words[0]} has no option {word}"


def test_programs_and_targets_exist() -> None:
    """`make NAME` and `python -m MODULE` in the documents."""
    makefile = (ROOT / "Makefile").read_text()
    for name in TEXTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{name}: make {target}"
        for module in re.findall(r"python -m (benchmarks\.[a-z_]+)", text):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists(), f"{name}: {module}"


def test_pictures_and_pages_that_are_named_exist() -> None:
    for name in TEXTS:
        place = (ROOT / name).parent
        for target in re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (place / target).exists() or name == "CONTRIBUTING.md", f"{name}: {target}"


def test_minutes_on_the_first_page_are_measured() -> None:
    """What README and start page say of the demo is what the ledger says."""
    checks = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())["checks"]
    minutes = next(c["value"] for c in checks if c["id"] == "minutes_after_install")
    for name in ("README.md", "docs/index.md"):
        told = re.findall(r"([0-9.]+) minutes", (ROOT / name).read_text(encoding="utf-8").partition("## Measured")[0])
        assert told == [f"{minutes:.1f}"], name


# -- the reference --------------------------------------------------------------------------------------------------


def directives() -> dict[str, str]:
    """What the reference documents: object -> its options."""
    found: dict[str, str] = {}
    for path in (ROOT / "docs" / "api").glob("*.md"):
        for name, options in re.findall(r"^::: (\S+)\n((?:    .*\n)*)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert name not in found, f"{name} is documented twice"
            found[name] = options
    return found


def public_packages() -> list[str]:
    """Sub-packages with a list of public names."""
    found = [m.name for m in pkgutil.walk_packages(sciml.__path__, "sciml.") if m.ispkg and "._" not in m.name]
    return [n for n in found if getattr(importlib.import_module(n), "__all__", ())]


def test_reference_has_every_public_package() -> None:
    assert set(public_packages()) <= {*directives(), "sciml.cli"}


def test_reference_names_everything_at_the_top() -> None:
    """Names of `sciml` with a link, whose target the strict build checks, and its sub-packages."""
    text = (ROOT / "docs" / "api" / "index.md").read_text(encoding="utf-8")
    for name in sciml.__all__:
        assert (f"`{name}`" if name in sciml._SUBPACKAGES else f"[`{name}`][") in text, name


def test_reference_names_every_command() -> None:
    table: Any = typer.main.get_command(app)
    text = (ROOT / "docs" / "api" / "cli.md").read_text(encoding="utf-8")
    for name in table.commands:
        assert f"| `sciml {name}" in text, name
