"""What is asked of solvers, audits and files in the wrong way is refused in one line, before anything is computed."""

import numpy as np
import pytest

import sciml
from sciml import Series
from sciml.errors import InputError
from sciml.operators import FNO
from sciml.problems import Burgers, HeatEquation, LidDrivenCavity
from sciml.solvers import FiniteVolume, IncompressibleFlow, PseudoSpectral, Surrogate, generate
from sciml.training import AdamW, Autoregressive, Minutes, Recipe, Running, Steps

CASE = LidDrivenCavity().case(viscosity=0.01)


@pytest.fixture(scope="module")
def solution():
    return IncompressibleFlow(8).solve(CASE, [0.1, 0.2])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda flow: flow.solve(CASE, [0.1], points="abc"), "points"),
        (lambda flow: flow.solve(CASE, [0.1], points=[[1.0], [1.0, 2.0]]), "points"),
        (lambda flow: flow.solve(CASE, [0.1 + 1j]), "times"),
        (lambda flow: flow.solve(CASE, np.array(["2020-01-01"], "M8[D]")), "times"),
        (lambda flow: flow.solve_many(None, [0.1]), "cases: expected a sequence"),
        (lambda flow: flow.solve_many(5, [0.1]), "cases: expected a sequence"),
        (lambda flow: flow.solve_many(CASE, [0.1]), "cases: expected a sequence"),
        (lambda flow: flow.solve_many([CASE, None], [0.1]), "expected .*[Cc]ase"),
        (lambda flow: FiniteVolume(stretching="a"), "stretching"),
        (lambda flow: FiniteVolume(courant=None), "courant"),
        (lambda flow: FiniteVolume(time_step="a"), "time_step"),
        (lambda flow: FiniteVolume(courant=True), "courant"),
        (lambda flow: FiniteVolume(time_step=np.inf), "time_step"),
        (lambda flow: IncompressibleFlow(8, cfl=True), "cfl"),
        (lambda flow: IncompressibleFlow(8, max_substeps=True), "max_substeps"),
        (lambda flow: IncompressibleFlow((8, True)), "resolution"),
        (lambda flow: PseudoSpectral(cfl="a"), "cfl"),
        (lambda flow: PseudoSpectral(cfl=True), "cfl"),
        (lambda flow: PseudoSpectral(max_substeps=2.5), "max_substeps"),
        (lambda flow: FNO(1, 1, modes=(4,), width=True), "width"),
        (lambda flow: FNO(1, 1, modes=(4,), padding=True), "padding"),
        (lambda flow: FNO(1, 1, modes=(4,), lift=True), "lift"),
        (lambda flow: FNO(1, 1, modes=(4,), padding=None), "padding"),
        (lambda flow: FNO(1, 1, modes=(2.5,)), "modes"),
        (lambda flow: Minutes(10**400), "value"),
        (lambda flow: Burgers().exact(Burgers().case(), [-0.1], (np.zeros(2),)), "from time 0 on"),
        (lambda flow: Series("a", "b"), "series"),
        (lambda flow: Series([[0], [0, 1]], [1]), "series"),
        (lambda flow: LidDrivenCavity().case(initial_streamfunction=np.ones((4, 4)) * 1j), "initial_streamfunction"),
        (lambda flow: sciml.audit(None), "expected a solution"),
        (lambda flow: sciml.audit(CASE), "expected a solution"),
        (lambda flow: sciml.load(5), "expected the path"),
        (lambda flow: sciml.data.open(5), "expected a path"),
        (lambda flow: generate("cavity", None), "out"),
    ],
)
def test_refused(ask, message):
    with pytest.raises(InputError, match=message):
        ask(IncompressibleFlow(8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset": 5}, "subset"),
        ({"fields": []}, "fields"),
        ({"fields": ["u", "u"]}, "fields"),
        ({"fields": "u"}, "fields"),
        ({"seed": 10**20}, "seed"),
        ({"scheduler": "tcp://127.0.0.1:1"}, "scheduler"),
    ],
)
def test_generation_refuses_before_it_leaves_anything(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        generate("cavity", tmp_path / "a.h5", **({"cases": 1, "resolution": 8, "frames": 2} | options))
    assert list(tmp_path.iterdir()) == []


def test_audit_refuses_what_it_cannot_judge(solution):
    with pytest.raises(InputError, match="cut along x"):
        sciml.audit(solution.isel(x=slice(0, 5)))
    broken = solution.copy(deep=True)
    broken["u"].values[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="u holds values that are not finite"):
        sciml.audit(broken)


def test_times_in_other_forms():
    """One time, an iterator, and rows of an array, for several cases."""
    case = HeatEquation().case()
    solver = FiniteVolume(8)
    for times in (0.1, iter([0.1, 0.2]), np.array([[0.1, 0.2], [0.1, 0.3]]), [[0.1], [0.1, 0.2]]):
        found = solver.solve_many([case, case], times, progress=False)
        assert (found["status"].values == 0).all()


def test_numbers_of_numpy_are_numbers(tmp_path):
    """They are taken, and what they determine goes into JSON."""
    solver = FiniteVolume(np.int64(16), time_step=np.float32(0.01))
    cases = [HeatEquation().case(diffusivity=v) for v in (0.01, 0.02, 0.03)]
    solved = [solver.solve(c, [0.0, 0.05, 0.1]) for c in cases]
    made = Surrogate(FNO, Autoregressive(history=np.int64(1)), width=np.int64(8), modes=(np.int64(4),))
    recipe = Recipe(length=Steps(np.int64(2)), optimiser=AdamW(lr=np.float32(1e-3)), batch=np.int32(2))
    made.fit(solved, recipe, validation=None, running=Running(progress=False))
    made.save(tmp_path / "run")
    assert sciml.load(tmp_path / "run").settings["options"] == {"width": 8, "modes": [4]}
