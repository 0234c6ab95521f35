"""A coarse solver with a learned correction: its gradients, what it is without one, what it learns, and its files."""

import warnings

import numpy as np
import pytest
import torch

from sciml import data
from sciml.errors import InputError, TrainingError
from sciml.operators import DeepONet, UNet
from sciml.problems import Burgers, CylinderFlow
from sciml.solver import Start
from sciml.solvers import CorrectedFlow, IncompressibleFlow, load
from sciml.solvers import _corrected_training as training
from sciml.solvers._corrected_model import CorrectedModel, _folded, _of_cells, _of_faces, _unfolded
from sciml.solvers._two_grids import TwoGrids, shares
from sciml.support import Grid
from sciml.training import (
    AdamW,
    Callback,
    Growing,
    Mirror,
    Nmse,
    On,
    Recipe,
    Rollout,
    Running,
    Steps,
    Supervised,
    WithPhysics,
)
from sciml.training.samples import open_data, table

pytestmark = [pytest.mark.compiled_quickly, pytest.mark.usefixtures("one_thread")]

COARSE, FINE, FRAMES = 8, 20, 6  # the fine cells are no whole number of coarse ones
QUIET = Running(progress=False)
WIDTH = {"width": 8, "multipliers": (1, 2), "patch": 1}
RECIPE = Recipe(
    length=Steps(60), batch=4, objective=Growing(Nmse(), steps=2, until=0.5), optimiser=AdamW(lr=4e-3),
    precision="float64", seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def flows():
    """Six flows past a wide cylinder, at Reynolds numbers from 40 to 200."""
    cases = [CylinderFlow().case(radius=0.025, viscosity=10 * 0.05 * 1.0 / re) for re in (40, 200, 60, 140, 80, 110)]
    times = [np.arange(FRAMES) * 0.2 * c.scales.time for c in cases]
    found = IncompressibleFlow(FINE, dtype="float64", tendencies=False)
    solved = [s for _, s in sorted(found.stream(cases, times), key=lambda pair: pair[0])]
    keep = [s.drop_vars(["u_face", "v_face"]) for s in solved]
    splits = ["train", "train", "train", "train", "validation", "test"]
    return data.pack(keep, splits=splits, dtype=None)


@pytest.fixture(scope="module")
def trained(flows, tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "corrected"
    model = CorrectedFlow(COARSE, **WIDTH)
    return model.fit(flows, RECIPE, running=Running(out=out, progress=False)), out


def held(flows, split="test"):
    """(case, start, frames, times) of the one case of a split."""
    some = table(open_data(flows)[0], split, ("u", "v"))
    frames = some.frames(0) * some.scales(0).reshape(1, -1, 1, 1)
    start = Start(some.cases[0], some.support(0), frames[:1], float(some.times[0][0]), fields=("u", "v"))
    return some.cases[0], start, frames, some.times[0]


def test_gradients_through_solver_and_network_are_those_of_differences(trained, flows):
    """The loss of a rollout of two steps against the weights, central differences along one direction, float64."""
    model, _ = trained
    train, f = table(open_data(flows)[0], "train", ("u", "v")), model.fitted_as
    bridges = training.bridges_of(model.flow, training._restarts.ends_of(train.cases), RECIPE.batch)
    batches = training.CoarseBatches(train, model.encoding, model.flow, bridges, f.coarse, horizon=2, batch_size=4)
    batch, net = batches.batch(np.array([0, 5, 9, 13])), UNet(**f.operator.config()).double()
    loop = CorrectedModel(net, f.coarse, bridges.advance, bridges.project)
    loss, weights = Rollout(Nmse(), steps=2, after=0.0), list(net.parameters())
    generator = torch.Generator().manual_seed(3)
    way = [torch.randn(w.shape, generator=generator, dtype=w.dtype) * w.detach().std() for w in weights]
    slopes = torch.autograd.grad(loss(loop, batch, 1.0), weights)
    told = float(sum((g * d).sum() for g, d in zip(slopes, way, strict=True)))

    def moved(h):
        with torch.no_grad():
            for w, d in zip(weights, way, strict=True):
                w.add_(d, alpha=h)
            found = float(loss(loop, batch, 1.0))
            for w, d in zip(weights, way, strict=True):
                w.sub_(d, alpha=h)
        return found

    h = 1e-3
    found = (8 * (moved(h) - moved(-h)) - moved(2 * h) + moved(-2 * h)) / (12 * h)
    assert abs(told - found) < 1e-6 * abs(found)
    # a part of it, a hundredth at least, has come through the solver: the second step is made from the first one's
    alone = Rollout(Nmse(), steps=2, after=0.0, gradient="last")
    cut = torch.autograd.grad(alone(loop, batch, 1.0), weights)
    assert abs(float(sum((g * d).sum() for g, d in zip(cut, way, strict=True))) - told) > 1e-2 * abs(told)


def test_without_a_correction_it_is_the_coarse_solver(trained, flows):
    """A march over all frames in one go, from the same velocities through faces."""
    model, _ = trained
    case, start, frames, times = held(flows)
    found = model.plain().resume(case, data.case(flows, 5)[1].isel(time=[0]), times[1:])
    faces = model.fitted_as.coarse.grids.down(case, *frames[0], start.support, float(times[0]))
    wide = IncompressibleFlow(COARSE, dtype="float64", tendencies=False)
    from sciml.solvers._numerical import Begin

    alone = wide.run([case], [times[1:]], [Begin({"u_face": faces[0], "v_face": faces[1]}, float(times[0]))])[0]
    for name in ("u_face", "v_face"):
        assert np.abs(found[f"coarse_{name}"].values - alone[name]).max() < 1e-9
    zero = CorrectedFlow(COARSE, **WIDTH)
    zero.fitted_as = training.FittedCoarse(
        model.encoding, UNet(**model.operator.config()).double(), RECIPE, {}, [], coarse=model.fitted_as.coarse
    )
    with torch.no_grad():
        for p in zero.operator.head.parameters():
            p.zero_()
    pairs = zip(zero.rollout([start], times[None, 1:]), model.plain().rollout([start], times[None, 1:]), strict=True)
    assert max(np.abs(a[0] - b[0]).max() for a, b in pairs) < 1e-12


def test_training_lowers_the_error_of_rollouts_that_it_never_saw(trained, flows):
    model, _ = trained
    _, start, frames, times = held(flows)
    error = {}
    for name, one in (("corrected", model), ("plain", model.plain())):
        found = np.stack([f[0] for f in one.rollout([start], times[None, 1:])])
        error[name] = np.square(found - frames[1:]).sum() / np.square(frames[1:]).sum()
    assert error["corrected"] < 0.5 * error["plain"]
    figures = [r["validation"] for r in model.metrics if "validation" in r]
    assert figures[-1] < 0.5 * figures[0]
    assert model.training["in_the_loop"] and model.training["left_out"] == []


def test_answers_are_free_of_divergence_and_meet_the_walls(trained, flows):
    model, _ = trained
    case, _, _, times = held(flows)
    found = model.solve(case, times[1:4])
    u, v = found["coarse_u_face"].values, found["coarse_v_face"].values
    x, y = shares(case, (COARSE, COARSE))
    (x0, x1), (y0, y1) = case.geometry.extents
    lost = np.diff(u * x, axis=2) * (y1 - y0) + np.diff(v * y, axis=1) * (x1 - x0)
    assert np.abs(lost).max() < 1e-9
    assert np.abs(u[:, :, 0] - case.inlet_velocity).max() < 1e-12 and np.abs(v[:, [0, -1]]).max() == 0
    assert (found["u"].values[:, ~found["mask"].values.astype(bool)] == 0).all()


def test_it_comes_back_from_disk_and_goes_on_where_it_was(trained, flows):
    model, out = trained
    case, start, _, times = held(flows)
    again = load(out)
    assert isinstance(again, CorrectedFlow) and again.settings == model.settings
    pairs = zip(again.rollout([start], times[None, 1:]), model.rollout([start], times[None, 1:]), strict=True)
    assert all((a[0] == b[0]).all() for a, b in pairs)
    whole = model.resume(case, data.case(flows, 5)[1].isel(time=[0]), times[1:])
    rest = again.resume(case, whole.isel(time=[1]), times[3:])
    for name in ("u", "v", "coarse_u_face"):
        assert np.abs(rest[name].values - whole[name].values[2:]).max() < 1e-11
    bare = again.resume(case, whole.isel(time=[1])[["u", "v", "mask"]].assign_attrs(whole.attrs), times[3:])
    off = bare["u"].values - whole["u"].values[2:]  # restarted from the frame alone
    assert 1e-9 < np.sqrt(np.mean(off**2)) < 0.05 * case.inlet_velocity
    assert again.solve_many([case, case], times[1:3], progress=False).sizes["case"] == 2


class Stopped(Callback):
    def on_step(self, trainer, record):
        if record["step"] == 7:
            raise KeyboardInterrupt


def test_training_that_is_interrupted_goes_on(flows, tmp_path):
    recipe = RECIPE.replace(length=Steps(12))
    weights = []
    for name in ("whole", "parts"):
        how = Running(out=tmp_path / name, progress=False, checkpoint_every=5)
        model = CorrectedFlow(COARSE, **WIDTH)
        if name == "parts":
            with pytest.raises(KeyboardInterrupt):
                model.fit(flows, recipe, running=how.replace(callbacks=(Stopped(),)))
        model.fit(flows, recipe, running=how.replace(resume=True))
        weights.append(model.operator.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), weights[1].values(), strict=True))
    assert model.training["steps"] == 12
    with pytest.raises(InputError, match="resume: in_the_loop is False, but"):
        CorrectedFlow(COARSE, in_the_loop=False, **WIDTH).fit(
            flows, recipe.replace(objective=Supervised(Nmse())), running=how.replace(resume=True)
        )


def test_without_the_solver_in_the_loop_the_network_learns_what_the_solver_lacks(flows, monkeypatch):
    calls = []
    advance = training.Bridges.advance

    def watched(self, *given):
        calls.append(torch.is_grad_enabled())
        return advance(self, *given)

    monkeypatch.setattr(training.Bridges, "advance", watched)
    recipe = RECIPE.replace(length=Steps(100), objective=Supervised(Nmse()))
    model = CorrectedFlow(COARSE, in_the_loop=False, **WIDTH).fit(flows, recipe, running=QUIET)
    assert calls and not any(calls)  # of true frames, once, before training
    _, start, frames, times = held(flows)
    one = np.square(next(model.rollout([start], times[None, 1:2]))[0] - frames[1]).sum()
    plain = np.square(next(model.plain().rollout([start], times[None, 1:2]))[0] - frames[1]).sum()
    assert one < 0.7 * plain
    with pytest.raises(InputError, match="without the solver in the loop expected one step"):
        CorrectedFlow(COARSE, in_the_loop=False, **WIDTH).fit(flows, RECIPE, running=QUIET)


def test_a_loss_that_is_not_finite_is_told_with_its_step(flows):
    wild = RECIPE.replace(length=Steps(9), optimiser=AdamW(lr=1e30, clip=0.0))
    with pytest.raises(TrainingError, match=r"stopped at step [2-9]"):
        CorrectedFlow(COARSE, **WIDTH).fit(flows, wild, running=QUIET)


def test_what_cannot_be_meant_is_refused(trained, flows, tmp_path):
    model, _ = trained
    case, start, frames, times = held(flows)
    with pytest.raises(InputError, match="live on 20 cells along y, expected at least the 24 of the solver"):
        CorrectedFlow(24).fit(flows, RECIPE, running=QUIET)
    with pytest.raises(InputError, match="no field 'v'"):
        half = [data.case(flows, i)[1].drop_vars("v") for i in range(2)]
        CorrectedFlow(COARSE).fit(data.pack(half, dtype=None), RECIPE, validation=None, running=QUIET)
    burgers = Burgers().case()
    x = (np.arange(16) + 0.5) / 16 * (burgers.geometry.extents[0][1] - burgers.geometry.extents[0][0])
    moment = np.arange(3) * 0.01
    other = data.solution(burgers, moment, {"u": (("time", "x"), burgers.exact(moment, (x,))["u"])}, {"x": x})
    with pytest.raises(InputError, match="burgers is no flow"):
        CorrectedFlow(COARSE).fit(other, RECIPE, validation=None, running=QUIET)
    for changes, words in (
        ({"augmentations": (Mirror(),)}, "augmentations"),
        ({"objective": WithPhysics(Supervised())}, "expected Growing, Rollout or Supervised"),
        ({"objective": Rollout(steps=9)}, "no case of the split has the frames"),
    ):
        with pytest.raises(InputError, match=words):
            CorrectedFlow(COARSE, **WIDTH).fit(flows, RECIPE.replace(**changes), running=QUIET)
    with pytest.raises(InputError, match="expected one on grids"):
        CorrectedFlow(COARSE, DeepONet).fit(flows, RECIPE, running=QUIET)
    with pytest.raises(InputError, match="no field 'v'"):
        model.resume(case, data.case(flows, 5)[1].drop_vars("v"), times[-1:])
    with pytest.raises(InputError, match="'v' is missing"):
        list(model.rollout([Start(case, start.support, frames[:1, :1], 0.0, fields=("u",))], times[None, 1:2]))
    with pytest.raises(InputError, match="expected equal cells"):
        small = Grid.uniform(case.geometry, (10, 10), masked=True)
        list(model.rollout([Start(case, small, np.zeros((1, 2, 10, 10)), 0.0)], times[None, 1:2]))
    with pytest.raises(InputError, match="cannot be reached with the step"):
        model.solve(case, [0.3 * times[1]])
    with pytest.raises(InputError, match="has not been trained"):
        CorrectedFlow(COARSE).solve(case, times[1:])
    for given, words in (({"step": 0}, "step"), ({"details": 1}, "details"), ({"device": "meta"}, "device"),
                         ({"operator": "none"}, "no operator"), ({"width2": 3}, "takes no 'width2'")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            CorrectedFlow(**({"resolution": COARSE} | given))
    plain = model.plain()
    with pytest.raises(InputError, match=r"save: plain.* corrects nothing"):
        plain.save(tmp_path / "plain")
    with pytest.raises(InputError, match=r"fit: plain.* corrects nothing"):
        plain.fit(flows, RECIPE, running=QUIET)
    wide = [s.isel(time=slice(None, None, 2)) for s in (data.case(flows, i)[1] for i in range(6))]
    with pytest.raises(InputError, match=r"data: a step is .*the model was trained on"):
        model.fit(data.pack(wide, ["train"] * 5 + ["validation"], dtype=None), RECIPE, running=QUIET)
    answer = model.solve(case, times[1:2])
    answer["coarse_u_face"][...] = np.nan
    with pytest.raises(InputError, match="expected finite values, got others in coarse_u_face"):
        model.resume(case, answer, times[2:3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="beyond the training data's"):
            model.solve(CylinderFlow().case(radius=0.025, viscosity=1e-3), times[1:2])


def test_frames_go_down_without_loss_and_come_up_to_fourth_order(flows):
    case, start, frames, times = held(flows)
    grids = TwoGrids((FINE, FINE), (COARSE, COARSE), (False, False))
    u, v = grids.down(case, *frames[2], start.support, float(times[2]))
    x, y = shares(case, (COARSE, COARSE))
    assert u.shape == (COARSE, COARSE + 1) and (u[x == 0] == 0).all() and (v[y == 0] == 0).all()
    through = (u * x)[:, 0].mean()
    assert abs(through / case.inlet_velocity - 1) < 1e-12
    for periodic in (False, True):
        errors = []
        for n in (12, 24):
            some = TwoGrids((50, 50), (n, n), (periodic, periodic))
            faces, middles, fine = np.arange(n + 1) / n, (np.arange(n) + 0.5) / n, (np.arange(50) + 0.5) / 50
            values = np.sin(2 * np.pi * middles)[:, None] * np.cos(2 * np.pi * faces)
            off = some.u[0] @ values @ some.u[1].T - np.sin(2 * np.pi * fine)[:, None] * np.cos(2 * np.pi * fine)
            errors.append(np.abs(off if periodic else off[10:-10, 10:-10]).max())
        assert np.log2(errors[0] / errors[1]) > 3.5
    ramp = TwoGrids((50, 40), (7, 9), (False, False))
    line = ramp.v[0] @ (np.arange(8) / 7)
    assert np.allclose(line, (np.arange(50) + 0.5) / 50)


def test_channels_of_cells_and_faces_are_the_same_values():
    fine = torch.randn(2, 2, 6, 8)
    assert torch.equal(_unfolded(_folded(fine, (3, 2)), (3, 2)), fine)
    u, v = torch.randn(2, 3, 5), torch.randn(2, 4, 4)
    back = _of_faces(_of_cells(u, v), (False, False))
    assert torch.equal(back[0], u) and torch.equal(back[1], v)
    u[..., -1] = u[..., 0]
    assert torch.allclose(_of_faces(_of_cells(u, v), (True, False))[0], u)


class Counted:
    """A predictor of nothing, which counts."""

    default_loss = Nmse()

    def start(self, batch):
        return 0

    def __call__(self, state, batch, k):
        return torch.zeros(1, 1), state + 1

    def compare(self, prediction, state, target, loss, on):
        return torch.tensor(float(state))

    def feed(self, state, target):
        return state


def test_rollouts_grow_with_training():
    class Batch:
        target, on = torch.zeros(1, 4, 1), On()

    grown = Growing(steps=4, until=0.8)
    # the mean of the numbers of its steps, 0, 1, ..., tells how many there were
    lengths = [1 + 2 * float(grown(Counted(), Batch(), share)) for share in (0.0, 0.19, 0.21, 0.5, 0.61, 0.8, 0.99)]
    assert lengths == [1, 1, 2, 3, 4, 4, 4] and grown.horizon == 4
    assert float(Growing(steps=3, until=0.0)(Counted(), Batch(), 0.0)) == 1.0
    assert Growing.from_json(grown.to_json()) == grown
    with pytest.raises(InputError, match="until"):
        Growing(until=2.0)
