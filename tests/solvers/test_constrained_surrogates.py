"""Answers obey laws exactly, whatever the weights: flows, own data, totals, bounds and boundary values."""

import numpy as np
import pytest
import torch
from _made import QUIET, cube, own, recipe, waves

import sciml
from sciml import data
from sciml.errors import InputError
from sciml.operators import FLARE, FNO, DeepONet
from sciml.problems import Advection, CylinderFlow, DamFlow, LidDrivenCavity, Poisson, TubeFlow
from sciml.solvers import Surrogate
from sciml.support import Grid
from sciml.training import (
    BoundaryValues,
    Bounds,
    ConservedTotal,
    DivergenceFree,
    Mirror,
    Query,
    WithPhysics,
)
from sciml.training.laws.conserved import _Total

N = 20
FLOWS = {
    "cavity": (LidDrivenCavity, ("u", "v"), [{}, {"width": 0.02}]),
    "cylinder": (CylinderFlow, ("u", "v"), [{}, {}]),
    "tube": (TubeFlow, ("u", "v", "alpha"), [{}, {}]),
    "dam": (DamFlow, ("u", "v", "alpha"), [{}, {}]),
}


def noise(problem, fields, seed=0, frames=4, shape=(N, N), **parameters):
    """Frames of chance, which obey nothing."""
    rng, case = np.random.default_rng(seed), problem.case(**parameters)
    grid = Grid.uniform(case.geometry, shape, True)
    grid = grid if grid.mask is not None and not grid.mask.all() else Grid.uniform(case.geometry, shape)
    times = 0.1 * case.scales.time * np.arange(frames)
    sizes = {n: case.scales.fields.get(n, 1.0) for n in fields}
    made = {n: (("time", "y", "x"), size * rng.standard_normal((frames, *shape))) for n, size in sizes.items()}
    return data.solution(case.on(grid), times, made, grid)


def trained(solutions, fields, *constraints, **how):
    model = Surrogate(FNO, fields=fields, width=6, modes=(3, 3), layers=1, constraints=constraints)
    return model.fit(solutions, recipe(2, precision="float64", **how), validation=None, split=None, running=QUIET)


def from_start(model, solution):
    case = data.case(data.pack([solution], dtype=None), 0)[0]
    return model.resume(case, solution.isel(time=0), solution.time.values[1:])


def continuity(answer):
    """Largest defects of all sizes of volumes, over their scale."""
    rows = sciml.audit(answer).select("continuity")
    assert {r.check for r in rows} == {"balance"}
    return max(r.relative for r in rows)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.filterwarnings("ignore:surrogate")
def test_no_volume_of_a_flow_loses_fluid(flow):
    """Of any size, beside bodies too, as the audit measures it; in a rollout over several cases at once."""
    kind, fields, settings = FLOWS[flow]
    solutions = [noise(kind(), fields, seed, **s) for seed, s in enumerate(settings)]
    model = trained(solutions, fields, DivergenceFree())
    for solution in solutions:
        answer = from_start(model, solution)
        assert continuity(answer) < 1e-12
        assert continuity(from_start(model.constrained(), solution)) > 1e-3
    both = [data.case(data.pack([s], dtype=None), 0)[0] for s in solutions]
    together = model.solve_many(both, [s.time.values[1:] for s in solutions])
    for k in range(len(solutions)):
        assert continuity(data.case(together, k)[1]) < 1e-12


def test_what_obeys_is_left_alone_and_a_law_is_a_projection():
    solution = noise(LidDrivenCavity(), ("u", "v"))
    model = trained([solution], ("u", "v"), DivergenceFree())
    e = model.encoding
    case = data.case(data.pack([solution], dtype=None), 0)[0]
    laws = e.given([case], [case.support]).laws
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 2, N, N))).requires_grad_()
    once = laws(x, None)
    assert float((laws(once, None) - once).detach().abs().max()) < 1e-12
    # the change is orthogonal to all that obeys with nothing through the sides: ⟨x − Lx, Lx⟩ = 0 between closed walls
    gap = ((x - once) * laws.multiplier[0]) * (once * laws.multiplier[0] + laws.offset[0])
    assert float(gap.sum().abs()) < 1e-10 * float(gap.abs().sum())
    # and so is the gradient: that of ½‖Lx‖² is L applied to its linear part
    (0.5 * (once * laws.multiplier[0] + laws.offset[0]).square().sum()).backward()
    expected = (once * laws.multiplier[0] + laws.offset[0]) * laws.multiplier[0]
    assert float((x.grad - expected).detach().abs().max()) < 1e-10 * float(expected.detach().abs().max())


def test_single_precision_leaves_its_rounding():
    solution = noise(LidDrivenCavity(), ("u", "v"))
    model = Surrogate(FNO, fields=("u", "v"), width=6, modes=(3, 3), layers=1, constraints=DivergenceFree())
    model.fit([solution], recipe(2), validation=None, split=None, running=QUIET)
    assert continuity(from_start(model, solution)) < 1e-5


def test_cases_of_one_batch_have_laws_of_their_own():
    """Boxes of two sizes, mixed: each as if it were alone."""
    solutions = [noise(LidDrivenCavity(), ("u", "v"), k, width=(0.1, 0.02, 0.1)[k]) for k in range(3)]
    e = trained(solutions, ("u", "v"), DivergenceFree()).encoding
    cases = [data.case(data.pack([s], dtype=None), 0)[0] for s in solutions]
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 2, N, N)))
    laws = e.given(cases, [c.support for c in cases]).laws
    assert len({m[0].kind for m in laws.members}) == 2
    found, order = laws(x, None), torch.tensor([2, 0, 1])
    for k, case in enumerate(cases):
        alone = e.given([case], [case.support]).laws(x[k : k + 1], None)
        assert float((alone[0] - found[k]).abs().max()) < 1e-12
    assert float((laws.rows(order)(x[order], None) - found[order]).abs().max()) < 1e-12
    twice = laws.repeated(2)(x.repeat_interleave(2, 0), None)
    assert float((twice[::2] - found).abs().max()) < 1e-12


def test_own_data_with_a_velocity():
    """Central differences vanish where all neighbours are inside."""
    problem = own(2, velocity=["a", "b"])
    mask = np.ones((12, 12))
    mask[4:6, 5:8] = 0
    solutions = [waves(cube(2, 12, mask=mask), s, problem=problem) for s in (0.2, 0.3)]
    model = Surrogate(FNO, width=6, modes=(3, 3), layers=1, constraints=DivergenceFree())
    model.fit(solutions, recipe(2, precision="float64"), validation=None, split=None, running=QUIET)
    answer = from_start(model, solutions[0])
    a, b = (np.where(mask, answer[n].values, np.nan) for n in ("a", "b"))
    h = 1 / 12
    gap = (a[:, 1:-1, 2:] - a[:, 1:-1, :-2] + b[:, 2:, 1:-1] - b[:, :-2, 1:-1]) / (2 * h)
    whole = np.isfinite(gap) & (mask[1:-1, 1:-1] > 0)
    assert whole.sum() > 100
    assert np.abs(gap[whole]).max() < 1e-11
    assert np.abs(answer["a"].values).max() > 0.05


def advected(seed, frames=5, n=32):
    rng, case = np.random.default_rng(seed), Advection().case()
    grid = Grid.uniform(case.geometry, (n,))
    grid = Grid(grid.faces, (True,))
    u = rng.uniform(0, 1, (frames, n))
    return data.solution(case.on(grid), 0.1 * case.scales.time * np.arange(frames), {"u": (("time", "x"), u)}, grid)


@pytest.mark.parametrize("bounds", [{}, {"low": 0.2}, {"high": 0.7}, {"low": 0.3, "high": 0.65}])
def test_totals_stay_and_bounds_hold(bounds):
    solution = advected(0)
    model = Surrogate(FNO, width=6, modes=(3,), layers=1, constraints=ConservedTotal("u", **bounds))
    model.fit([solution], recipe(2, precision="float64"), validation=None, split=None, running=QUIET)
    answer = from_start(model, solution)["u"].values
    assert np.abs(answer.mean(-1) - solution["u"].values[0].mean()).max() < 1e-14
    assert answer.min() >= bounds.get("low", -np.inf) - 1e-15
    assert answer.max() <= bounds.get("high", np.inf) + 1e-15
    if len(bounds) == 2:
        assert (answer == bounds["low"]).any() and (answer == bounds["high"]).any()


def test_bounded_totals_are_the_nearest_and_have_exact_gradients():
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(9, dtype=torch.float64, generator=generator) + 0.5
    law = _Total(0, weights, 0.0, 1.0)
    before = torch.rand(2, 1, 9, dtype=torch.float64, generator=generator)
    x = (2 * torch.rand(2, 1, 1, 9, dtype=torch.float64, generator=generator) - 0.5).requires_grad_()
    y = law.apply([law, law], x, before).detach()
    assert torch.allclose((y[:, 0, 0] * weights).sum(-1), (before[:, 0] * weights).sum(-1), rtol=1e-14)
    moved = y - x.detach()
    free = (y > 0) & (y < 1)
    for k in range(2):  # λ of values between bounds is one number, beyond them its sign is that of a multiplier
        shift = moved[k][free[k]]
        assert float(shift.max() - shift.min()) < 1e-14
        assert bool((moved[k][y[k] == 0] >= shift[0] - 1e-14).all())
        assert bool((moved[k][y[k] == 1] <= shift[0] + 1e-14).all())
    assert torch.autograd.gradcheck(lambda v: law.apply([law, law], v, before), (x,))


def test_bounds():
    solution = noise(DamFlow(), ("u", "v", "alpha"))
    model = trained([solution], ("u", "v", "alpha"), DivergenceFree(), Bounds("alpha", 0.0, 1.0))
    answer = from_start(model, solution)
    assert answer["alpha"].values.min() == 0.0
    assert answer["alpha"].values.max() == 1.0
    assert continuity(answer) < 1e-12


@pytest.mark.parametrize("operator", [DeepONet, FLARE])
def test_boundary_values_at_points(operator):
    """A side with a value, one with a function, whatever the network says."""
    problem = Poisson()
    rng, solutions = np.random.default_rng(0), []
    for _ in range(3):
        case = problem.case()
        grid = Grid.uniform(case.geometry, (8, 8))
        f = rng.standard_normal((8, 8))
        inputs = {name: f for name in (i.name for i in problem.inputs)}
        case = problem.case(**inputs).on(grid)
        solutions.append(data.solution(case, None, {"p": (("y", "x"), rng.standard_normal((8, 8)))}, grid))
    model = Surrogate(operator, constraints=BoundaryValues())
    model.fit(solutions, recipe(2, precision="float64"), validation=None, split=None, running=QUIET)
    case = data.case(data.pack(solutions[:1], dtype=None), 0)[0]
    (x0, x1), (y0, y1) = case.geometry.extents
    s = np.linspace(0.0, 1.0, 7)
    sides = {
        "x_min": np.stack([0 * s + x0, y0 + s * (y1 - y0)], 1), "x_max": np.stack([0 * s + x1, y0 + s * (y1 - y0)], 1),
        "y_min": np.stack([x0 + s * (x1 - x0), 0 * s + y0], 1), "y_max": np.stack([x0 + s * (x1 - x0), 0 * s + y1], 1),
    }  # fmt: skip
    for side, points in sides.items():
        condition = case.boundary_conditions[side]["p"]
        assert condition.given
        got = model.solve(case, points=points)["p"].values
        assert np.abs(got - condition.at(0.0, points)).max() < 1e-13
    inner = model.solve(case, points=np.array([[0.5 * (x0 + x1), 0.5 * (y0 + y1)]]))["p"].values
    plain = model.constrained().solve(case, points=sides["x_min"])["p"].values
    assert abs(inner[0]) > 1e-6 and np.abs(plain).max() > 1e-3
    assert np.isfinite(model.solve(case)["p"].values).all()


def test_it_is_kept_and_told(tmp_path):
    solution = noise(LidDrivenCavity(), ("u", "v"))
    model = trained([solution], ("u", "v"), DivergenceFree())
    model.save(tmp_path / "run")
    again = sciml.load(tmp_path / "run")
    assert again.constraints == (DivergenceFree(),)
    assert again.settings == model.settings
    assert "DivergenceFree" in str(model.settings["constraints"])
    assert np.array_equal(values_of(from_start(again, solution)), values_of(from_start(model, solution)))
    plain = model.constrained()
    assert "constraints" not in plain.settings and plain.identity != model.identity
    assert model.encoding.constraints == (DivergenceFree(),)  # the copy alone has lost it
    afterwards = trained([solution], ("u", "v")).constrained(DivergenceFree())
    assert continuity(from_start(afterwards, solution)) < 1e-12


def values_of(solution):
    return np.stack([solution["u"].values, solution["v"].values])


def test_equations_of_an_objective_see_what_obeys():
    """The residual of the same balance in training is rounding."""
    solution = noise(LidDrivenCavity(), ("u", "v"))
    model = trained([solution], ("u", "v"), DivergenceFree(), objective=WithPhysics(None, balances=("continuity",)))
    assert model.metrics[-1]["loss"] < 1e-20


def bad_cases():
    def cavity(*constraints, fields=("u", "v"), **how):
        return lambda: trained([noise(LidDrivenCavity(), ("u", "v"))], fields, *constraints, **how)

    line = waves(cube(1))
    return {
        "a component is missing": (cavity(DivergenceFree(), fields=("u",)), "needs v, but the operator answers u"),
        "no such balance": (cavity(DivergenceFree("continuty")), "no balance 'continuty'; did you mean 'continuity'"),
        "a balance that stores": (cavity(DivergenceFree("momentum")), "flux is a velocity"),
        "one undoes the other": (cavity(DivergenceFree(), Bounds("u", 0.0)), "both change u"),
        "no such field": (cavity(Bounds("uu", 0.0)), "'uu' is no answered field"),
        "mirrored": (cavity(DivergenceFree(), augmentations=(Mirror(),)), "expected no constraints"),
        "no bound": (lambda: Bounds("u"), "low: expected a number, or one for high"),
        "crossed bounds": (lambda: Bounds("u", 1.0, 0.0), "low: expected at most high, 0, got 1"),
        "no constraint": (lambda: Surrogate(FNO, constraints=("DivergenceFree",)), "expected some of BoundaryValues, "),
        "neither equations nor velocity": (
            lambda: Surrogate(FNO, width=6, modes=(3,), layers=1, constraints=DivergenceFree()).fit(
                [line], recipe(1), validation=None, split=None, running=QUIET), "neither equations nor fields"),
        "no invariant": (cavity(ConservedTotal("u")), "no invariant of"),
        "no frame to keep a total of": (
            lambda: Surrogate(FNO, Query(), width=6, modes=(3,), layers=1, constraints=ConservedTotal("u")).fit(
                [advected(0)], recipe(1), validation=None, split=None, running=QUIET), "given a frame"),
    }  # fmt: skip


@pytest.mark.parametrize("name", bad_cases())
@pytest.mark.filterwarnings("ignore")
def test_bad_requests_get_one_line(name):
    make, message = bad_cases()[name]
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_totals_that_no_bounds_allow():
    solution = advected(0)
    model = Surrogate(FNO, width=6, modes=(3,), layers=1)
    model.fit([solution], recipe(1, precision="float64"), validation=None, split=None, running=QUIET)
    held = model.constrained(ConservedTotal("u", 0.8, 1.0))
    with pytest.raises(InputError, match=r"a mean of 0.* which no values within 0\.8 and 1 have"):
        from_start(held, solution)


def test_laws_of_whole_fields_have_no_points_and_no_files(tmp_path):
    solution = noise(LidDrivenCavity(), ("u", "v"))
    model = trained([solution], ("u", "v"), DivergenceFree())
    with pytest.raises(InputError, match=r"has no form for DivergenceFree; export surrogate.constrained\(\)"):
        model.export(tmp_path / "model.pt2")
    points = np.array([[0.3, 0.4]]) * np.array([e[1] for e in model.encoding.template.extents])
    case = data.case(data.pack([solution], dtype=None), 0)[0]
    assert np.isfinite(model.solve(case, times=solution.time.values[:2], points=points)["u"].values).all()
