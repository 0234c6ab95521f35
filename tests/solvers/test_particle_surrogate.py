"""A learned solver of particles: free flight, training, restarts, few particles for many, gradients, files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import sciml
from sciml import data, registry
from sciml.boundary import Series
from sciml.control import CentreOfMass, Task, compare_gradient
from sciml.errors import InputError, SolverError
from sciml.geometry import Box, Disc
from sciml.particle_problem import Body, ParticleProblem, Slip
from sciml.problem import InputSpec, ParameterSpec, Scales
from sciml.solver import Start
from sciml.solvers import ParticleSurrogate
from sciml.support import Points
from sciml.training import Noise, Recipe, Rollout, Running, Steps
from sciml.training.particles import Bodies, Nodes, ParticleBatches, ParticleEncoding
from sciml.training.particles.model import Validation
from sciml.training.samples import table
from sciml.training.stepping import Autoregressive

DT = 0.02
QUIET = Running(progress=False, device="cpu")
SMALL = {
    "gns": {"width": 12, "layers": 2},
    "giorom": {"width": 12, "interactions": 1, "latent_width": 8, "latent_layers": 1, "cells": 8, "modes": 3},
    "grid_particle": {"width": 8, "multipliers": (1, 2), "cells": 8},
}


@registry.problems.register("test_thrown")
class Thrown(ParticleProblem):
    """Particles that fly at a velocity of their own, and fall where there is gravity; optionally beside a disc."""

    name, title = "test_thrown", "thrown"
    parameters = (
        ParameterSpec("speed", "m s-1", 1.0),
        ParameterSpec("pull", "m s-2", 0.0),
        ParameterSpec("disc", "m", 0.0),
    )
    inputs = (InputSpec("push", "m s-1", "boundary", ("time",)),)

    def geometry(self, case):
        return Box((0.0, 0.0), (2.0, 1.0))

    def scales(self, case):
        return Scales(1.0, 1.0, {f.name: 1.0 for f in self.fields})

    def gravity(self, case):
        return np.array([0.0, -case.pull])

    def material(self, case):
        raise NotImplementedError

    def matter(self, case):
        return Box((0.3, 0.3), (0.7, 0.7))

    def walls(self, case):
        return {side: Slip() for side in ("x_min", "x_max", "y_min", "y_max")}

    def first_velocity(self, case, points):
        return np.tile([case.speed, 0.3], (len(points), 1))

    def bodies(self, case):
        if not case.disc:
            return ()
        motion = ()
        if "push" in case.inputs:
            motion = (case.push, Series(case.push.times, np.zeros(len(case.push.times))))
        return (Body(Disc((1.2, 0.5), case.disc), Slip(), motion),)


def flown(case, frames=12, spacing=0.05):
    """The exact flight, as a solution."""
    some, t = case.problem.particles(case, spacing), DT * np.arange(frames)
    pull = case.problem.gravity(case)
    moved = t[:, None, None] * some.velocity + t[:, None, None] ** 2 / 2 * pull
    speed = some.velocity + t[:, None, None] * pull
    fields = {}
    for k, a in enumerate("xy"):
        fields[f"displacement_{a}"] = (("time", "node"), moved[..., k])
        fields[f"velocity_{a}"] = (("time", "node"), speed[..., k])
    places = {a: some.position[:, k] + moved[..., k] for k, a in enumerate("xy")}
    return data.solution(case, t, fields, places)


def made(path=None, pulls=(0.0, 2.0, 4.0, 6.0), **parameters):
    problem = Thrown()
    solutions = [flown(problem.case(**{"pull": p, "speed": 0.5 + 0.1 * k} | parameters)) for k, p in enumerate(pulls)]
    split = ["train"] * (len(pulls) - 2) + ["validation", "test"]
    packed = data.pack(solutions, split, dtype=None)
    if path is not None:
        data.write(packed, path)
    return packed


@pytest.fixture(scope="module")
def falling():
    return made()


@pytest.fixture(scope="module")
def surrogates(falling):
    """One of each, hardly trained."""
    recipe = Recipe(length=Steps(3), batch=2)
    return {
        name: ParticleSurrogate(name, **options).fit(falling, recipe, running=QUIET) for name, options in SMALL.items()
    }


def silenced(surrogate):
    """The same with an operator that answers 0."""
    found = ParticleSurrogate(surrogate.operator_class, surrogate.stepping, **surrogate.options)
    found.nodes, found.fitted_as = surrogate.nodes, replace(surrogate.fitted_as, operator=Nothing())
    return found


class Nothing(torch.nn.Module):
    def forward(self, nodes, points, **rest):
        return torch.zeros_like(points)


# -- mechanics -------------------------------------------------------------------------------------------------------


def test_an_answer_of_zero_is_free_flight_and_keeps_momentum(surrogates):
    case = Thrown().case(speed=0.8, pull=2.0)
    for surrogate in surrogates.values():
        t = DT * np.array([0, 1, 5, 40])
        found = silenced(surrogate).solve(case, t)
        start = case.problem.particles(case, surrogate.encoding.spacing)
        for k, a in enumerate("xy"):
            exact = start.velocity[:, k] * t[:, None]
            assert np.abs(found[f"displacement_{a}"].values - exact).max() < 1e-13
            assert np.abs(found[a].values - start.position[:, k] - exact).max() < 1e-13
            assert np.ptp(found[f"velocity_{a}"].values.sum(1)) < 1e-11


def test_particles_stop_at_the_sides_of_the_box(surrogates):
    case = Thrown().case(speed=5.0)
    found = silenced(surrogates["gns"]).solve(case, [0.2, 0.4])
    assert found.x.values.max() == 2.0 and found.y.values.max() <= 1.0
    assert np.abs(found.velocity_x.values[-1]).max() < 1e-12


def test_the_known_past_goes_in_and_what_was_before_flew_evenly(falling):
    train = table(falling, "train")
    e = ParticleEncoding.fit(train, Autoregressive(history=6), Nodes())
    batches = ParticleBatches(train, e, horizon=2, batch_size=1, shuffle=False)
    for batch, (i, frame) in zip(batches.epoch(0), batches.items, strict=True):
        pull, v = train.cases[i].pull, np.array([train.cases[i].speed, 0.3])
        t = DT * (frame + np.arange(-5, 3))
        exact = v * t[:, None] + np.stack([0 * t, -pull * np.maximum(t, 0) ** 2 / 2], 1)
        moved = np.diff(exact, axis=0)
        assert np.abs(batch.state.moved[0].numpy() - moved[:5]).max() < 1e-12
        assert np.abs(batch.target[0, :, :, 0].numpy() - moved[5:]).max() < 1e-12
    assert e.lead == pytest.approx(0.5, abs=1e-6)  # velocities are those of the instant
    assert e.velocity == pytest.approx(np.sqrt(np.mean([
        np.mean(np.diff(flown(c)[f"displacement_{a}"].values, axis=0) ** 2) for c in train.cases for a in "xy"
    ])), rel=1e-9)  # fmt: skip


def test_noise_is_a_walk_that_the_target_takes_back(falling):
    train = table(falling, "train")
    e = ParticleEncoding.fit(train, Autoregressive(history=6), Nodes())
    batch = next(iter(ParticleBatches(train, e, horizon=1, batch_size=4).epoch(0)))
    noisy = Noise(0.1)(batch, np.random.default_rng(0))
    walk = noisy.state.moved - batch.state.moved
    assert float(walk[:, -1].std()) == pytest.approx(0.1 * e.velocity, rel=0.1)
    assert float(walk[:, 0].std()) == pytest.approx(0.1 * e.velocity / 5**0.5, rel=0.1)
    assert torch.allclose(noisy.state.place - batch.state.place, walk.sum(1))
    assert torch.equal(noisy.target, batch.target)


def test_velocities_before_a_restart_count(falling, surrogates):
    """From the middle of a solution on, the answer is that of the same rollout that began before."""
    surrogate = surrogates["gns"]
    case = Thrown().case(speed=0.6, pull=2.0)
    whole = surrogate.solve(case, DT * np.arange(11))
    again = surrogate.resume(case, whole.isel(time=slice(0, 7)), DT * np.arange(6, 11))
    for name in surrogate.encoding.fields:
        scale = np.abs(whole[name].values).max()
        assert np.abs(again[name].values - whole[name].values[6:]).max() < 2e-5 * scale, name


def test_starts_of_one_call_are_those_of_several(surrogates):
    case, other = Thrown().case(speed=0.6, pull=2.0), Thrown().case(speed=0.9)
    times = DT * np.array([[0, 1, 3], [1, 2, 4]])
    for surrogate in surrogates.values():
        starts = [surrogate._begin(c) for c in (case, other)]
        both = list(surrogate.rollout(starts, times))
        for i in range(2):
            alone = list(surrogate.rollout(starts[i : i + 1], times[i : i + 1]))
            for a, b in zip(both, alone, strict=True):
                assert np.allclose(a[i], b[0], rtol=0, atol=1e-6)


# -- few particles for many ------------------------------------------------------------------------------------------


def test_a_step_costs_the_same_at_any_number_of_points(surrogates):
    """Counted, not timed: the particles and edges that the operator sees."""
    surrogate, seen = surrogates["giorom"], []
    hook = surrogate.operator.register_forward_pre_hook(
        lambda module, args, given: seen.append((len(given["nodes"]), given["edges"].shape[1])), with_kwargs=True
    )
    case, rng, work = Thrown().case(speed=0.6), np.random.default_rng(0), []
    for count in (10, 1000, 100_000):
        seen.clear()
        found = surrogate.solve(case, DT * np.arange(4), points=rng.uniform(0.3, 0.7, (count, 2)))
        assert found.sizes["node"] == count
        work.append(list(seen))
    hook.remove()
    assert len(work[0]) == 3 and work[0] == work[1] == work[2]
    assert work[0][0][0] == surrogate.nodes.count(64)


def test_denser_particles_do_not_make_more_nodes(surrogates):
    surrogate, e = surrogates["giorom"], surrogates["giorom"].encoding
    case = Thrown().case()
    for spacing in (0.05, 0.02, 0.01):
        first = case.problem.particles(case, spacing).position
        assert e.amount(first) == pytest.approx(surrogate.nodes.count(64), rel=0.3)


def test_points_move_with_the_matter_around_them(surrogates):
    """Particles that turn as a whole: points in between turn with them."""
    surrogate = silenced(surrogates["giorom"])
    case, e = Thrown().case(), surrogates["giorom"].encoding
    first = case.problem.particles(case, 0.02).position
    turn = np.stack([-(first[:, 1] - 0.5), first[:, 0] - 0.5])
    frame = np.concatenate([np.zeros((2, len(first))), turn])[None]
    (found,) = surrogate.rollout([Start(case, Points(first), frame, 0.0)], np.array([[10 * DT]]))
    assert len(e.nodes.chosen(first, e.amount(first))) < 30
    assert np.abs(found[0][:2] - 10 * DT * turn).max() < 1e-10
    assert np.abs(found[0][2:] - turn).max() < 1e-10


def test_choices_differ_in_training_and_are_the_same_again():
    points = np.random.default_rng(0).random((100, 2))
    for choice in ("farthest", "random"):
        nodes = Nodes(0.25, choice)
        some = [nodes.chosen(points, 25, k) for k in range(3)]
        assert all(np.array_equal(a, nodes.chosen(points, 25, k)) for k, a in enumerate(some))
        assert not np.array_equal(some[0], some[1]) and len(set(some[2].tolist())) == 25
    lattice = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2) * 0.05
    assert np.array_equal(Nodes(50).chosen(lattice, 50), Nodes(50).chosen(lattice + 0.1, 50))


# -- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SMALL))
def test_gravity_is_learned(name):
    """It is among the parameters alone: a case between those of training falls as it should."""
    surrogate = ParticleSurrogate(name, nodes=0.5, **SMALL[name])
    recipe = Recipe(length=Steps(200), batch=4)
    surrogate.fit(made(pulls=(0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 2.5, 4.0), speed=1.0), recipe, running=QUIET)
    assert surrogate.metrics[-1]["validation"] < 0.05
    truth = flown(Thrown().case(pull=4.0))
    case = data.case(data.pack([truth], dtype=None), 0)[0]
    found = surrogate.solve(case, truth.time.values[1:])
    fall = np.abs(truth.displacement_y.values[-1] - 0.3 * truth.time.values[-1]).max()
    assert np.abs(found.displacement_y.values[-1] - truth.displacement_y.values[-1][:1]).max() < 0.3 * fall


def test_a_run_resumes_to_the_same_bits(tmp_path, falling):
    path = tmp_path / "d.h5"
    made(path)
    recipe = Recipe(
        length=Steps(8),
        batch=2,
        objective=Rollout(steps=2, after=0.3, gradient="last"),
        augmentations=(Noise(0.05),),
        validate_every=4,
    )

    class Stop(sciml.training.Callback):
        def on_checkpoint(self, trainer, where):
            if trainer.step == 4:
                raise KeyboardInterrupt

    def run(out, **more):
        running = Running(out=tmp_path / out, progress=False, device="cpu", checkpoint_every=4, **more)
        return ParticleSurrogate("giorom", **SMALL["giorom"]).fit(path, recipe, running=running)

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("cut", callbacks=(Stop(),))
    again = run("cut", resume=True)
    mine, other = whole.operator.state_dict(), again.operator.state_dict()
    assert all(torch.equal(mine[k], other[k]) for k in mine)
    assert whole.identity == again.identity


@pytest.mark.parametrize("steps", [1, 3])
def test_validation_judges_rollouts_against_free_flight(falling, steps):
    held = table(falling, "validation")
    e = ParticleEncoding.fit(table(falling, "train"), Autoregressive(history=3), Nodes())
    judge = Validation(e, ParticleBatches(held, e, horizon=steps, batch_size=3, shuffle=False))
    found = judge(Nothing())
    assert found["validation"] == pytest.approx(1.0) and found["validation_gain"] == pytest.approx(1.0)
    assert found.get("validation_one_step", 1.0) == pytest.approx(1.0)
    assert ("validation_one_step" in found) == (steps > 1)
    assert judge(Falling(4.0 * DT**2 / e.acceleration))["validation"] < 0.1  # but for the first step, which is half
    assert judge(Falling(float("nan")))["validation"] == float("inf")


class Falling(torch.nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, nodes, points, **rest):
        return torch.stack([torch.zeros(len(points)), torch.full((len(points),), -self.rate)], 1).double()


def test_whole_rollouts_are_differentiated(falling):
    recipe = Recipe(length=Steps(2), batch=2, objective=Rollout(steps=3, after=0.0))
    assert ParticleSurrogate("gns", **SMALL["gns"]).fit(falling, recipe, running=QUIET).fitted


def test_float64_and_a_coarser_step(falling):
    stepping = Autoregressive(step=2, history=3)
    surrogate = ParticleSurrogate("gns", stepping, **SMALL["gns"])
    surrogate.fit(falling, Recipe(length=Steps(2), precision="float64"), running=QUIET)
    assert next(surrogate.operator.parameters()).dtype == torch.float64 and surrogate.every == 2
    case = Thrown().case(speed=0.6)
    assert surrogate.solve(case, [0.0, 2 * DT, 4 * DT]).sizes["time"] == 3
    with pytest.raises(InputError, match=r"times: 0\.02 s cannot be reached with the step of 0\.04 s"):
        surrogate.solve(case, [DT])


def test_saved_and_loaded_it_answers_the_same(tmp_path, surrogates, falling):
    case = Thrown().case(speed=0.6, pull=2.0)
    for name, surrogate in surrogates.items():
        surrogate.save(tmp_path / name)
        again = sciml.load(tmp_path / name)
        assert isinstance(again, ParticleSurrogate) and again.settings == surrogate.settings
        mine, other = (s.solve(case, [0.0, 0.1]) for s in (surrogate, again))
        assert mine.equals(other) and json.loads(mine.attrs["settings"])["operator"] == name


def test_rows_of_an_evaluation(surrogates, falling):
    found = sciml.evaluate(list(surrogates.values()), falling, steps=4, starts=("0", "1/2"))
    for title in ("GNS", "GIOROM", "grid particle model", "persistence"):
        assert np.isfinite(found.row(title)["one_step"]["all"]["joint"]["nmse"]["mean"])


# -- bodies and gradients --------------------------------------------------------------------------------------------


def test_bodies_are_seen_by_distance_direction_and_movement():
    case = Thrown().case(disc=0.2, push=Series([0.0, 1.0], [0.5, 0.5]))
    bodies = Bodies.of(case, DT * np.arange(4))
    place = torch.tensor([[0.8, 0.5], [1.2, 0.9], [1.3, 0.5]], dtype=torch.float64)
    distance, normal, move = bodies.seen(place, 2, 0.1)
    shift = 0.5 * 2 * DT
    away = place - torch.tensor([1.2 + shift, 0.5])
    length = away.norm(dim=1)
    assert torch.allclose(distance, length - 0.2, atol=1e-9)
    assert torch.allclose(normal, away / length[:, None], atol=1e-6)
    assert torch.allclose(move, torch.tensor([0.5 * DT, 0.0]).double().expand(3, 2))
    place.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: bodies.seen(x, 1, 0.1)[:2], (place,), eps=1e-5, atol=1e-4)


def test_gradients_by_first_velocities_and_the_movement_of_bodies():
    """Against differences, on a smooth network in float64 whose graph does not change."""
    solutions = [
        flown(Thrown().case(speed=s, disc=0.2, push=Series([0.0, 1.0], [-s, -s])), spacing=0.1) for s in (1.0, 1.5, 2.0)
    ]
    surrogate = ParticleSurrogate("gns", radius=0.25, activation="gelu", **SMALL["gns"])
    recipe = Recipe(length=Steps(2), precision="float64")
    surrogate.fit(data.pack(solutions, dtype=None), recipe, validation=None, running=QUIET)
    surrogate.fitted_as = replace(surrogate.fitted_as, encoding=replace(surrogate.encoding, acceleration=2e-3))

    def case(u):
        return Thrown().case(speed=float(u[0]), disc=0.2, push=Series([0.0, 1.0], [float(u[1]), float(u[2])]))

    task = Task(case, DT * np.arange(1, 5), CentreOfMass((1.0, None)), [1.5, -1.2, -1.6], -3.0, 3.0)
    compared = compare_gradient(task, surrogate, step=1e-5)
    assert np.abs(compared.gradient).min() > 0
    assert compared.relative_error < 1e-5
    alone = np.abs(compared.gradient[1:] - compared.differences[1:]) / np.abs(compared.differences[1:])
    assert alone.max() < 1e-3


def test_a_plate_that_pushes_is_told_by_its_velocity():
    """A problem of the package: matter that goes with the plate; goals have slopes by the plate's velocities."""
    problem, solutions, t = sciml.problems.PushedMaterial(), [], DT * np.arange(10)
    for speed in (0.2, 0.5, 0.8):
        case = problem.case(plate_velocity_x=Series([0.0, 1.0], [speed, speed]))
        some = problem.particles(case, 0.03)
        moved = {"x": np.outer(speed * t, np.ones(len(some))), "y": np.zeros((10, len(some)))}
        fields = {f"displacement_{a}": (("time", "node"), m) for a, m in moved.items()}
        fields |= {f"velocity_{a}": (("time", "node"), np.full_like(m, speed * (a == "x"))) for a, m in moved.items()}
        places = {a: some.position[:, k] + moved[a] for k, a in enumerate("xy")}
        solutions.append(data.solution(case, t, fields, places))
    surrogate = ParticleSurrogate("giorom", Autoregressive(history=2), nodes=0.5, **SMALL["giorom"])
    surrogate.fit(data.pack(solutions, dtype=None), Recipe(length=Steps(2)), validation=None, running=QUIET)
    assert surrogate.encoding.bodies and surrogate.encoding.signature().channels_in == 2 + 4 + 5

    def case(u):
        return problem.case(plate_velocity_x=Series([0.0, 0.1], u[:2]), plate_velocity_y=Series([0.0, 0.1], u[2:]))

    task = Task(case, [4 * DT], CentreOfMass((0.6, None)), [0.4, 0.5, 0.0, 0.1], -1.0, 1.0)
    found = case(task.start)
    value, slopes = surrogate.value_and_gradient(found, task.times, task.goal, surrogate.setup(found))
    assert value == pytest.approx(surrogate.value(found, task.times, task.goal, surrogate.setup(found)), rel=1e-6)
    assert np.abs(slopes["body_0_velocity_x"]).min() > 0 and np.abs(slopes["body_0_velocity_y"]).min() > 0
    assert np.abs(slopes["position"]).max() > 0 and slopes["body_0_place"].shape == (2,)


def test_trajectories_are_those_of_solve(surrogates):
    case = Thrown().case(speed=0.6, pull=2.0)
    for surrogate in surrogates.values():
        t = DT * np.array([0, 2, 3])
        places, speeds = surrogate.trajectory(case, t)
        found = surrogate.solve(case, t)
        for k, a in enumerate("xy"):
            assert np.allclose(places[..., k].detach().numpy(), found[a].values, rtol=0, atol=1e-6)
            assert np.allclose(speeds[..., k].detach().numpy(), found[f"velocity_{a}"].values, rtol=0, atol=1e-4)


# -- what goes wrong -------------------------------------------------------------------------------------------------


class Exploding(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value, self.calls = value, 0

    def forward(self, nodes, points, **rest):
        self.calls += 1
        return torch.full_like(points, self.value if self.calls == 3 else 0.0)


@pytest.mark.parametrize("value", [float("nan"), 1e12])
def test_a_rollout_that_blows_up_stops_with_the_step(surrogates, value):
    surrogate = silenced(surrogates["gns"])
    case = Thrown().case(speed=0.6)
    surrogate.fitted_as.operator = Exploding(value)
    with pytest.raises(SolverError, match=r"stopped at step 3 \(time 0.06 s\)") as caught:
        surrogate.solve(case, DT * np.arange(6))
    assert "\n" not in str(caught.value)
    surrogate.fitted_as.operator = Exploding(value)
    starts = [surrogate._begin(case)]
    with pytest.warns(UserWarning, match="stopped at step 3"):
        frames = list(surrogate.rollout(starts, DT * np.arange(6)[None]))
    assert [bool(np.isfinite(f[0]).all()) for f in frames] == [True] * 3 + [False] * 3
    surrogate.fitted_as.operator = Exploding(value)
    with pytest.raises(SolverError, match="stopped at step 3"), torch.no_grad():
        surrogate.trajectory(case, [5 * DT])
    surrogate.fitted_as.operator = Exploding(value)
    assert surrogate.value(case, np.array([5 * DT]), CentreOfMass((1.0, None)), surrogate.setup(case)) == float("inf")
    for ask in (surrogate.value, surrogate.value_and_gradient):  # what cannot be asked is no failure to be steered by
        with pytest.raises(InputError, match="cannot be reached with the step"):
            ask(case, np.array([1.5 * DT]), CentreOfMass((1.0, None)), surrogate.setup(case))
    with pytest.raises(InputError, match="cannot solve"):
        surrogate.setup(sciml.problems.DamBreak(3).case())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d: ParticleSurrogate("fno"), "operator: fno takes no particles"),
        (lambda d: ParticleSurrogate("gns", nodes=1.5), "nodes: expected a share"),
        (lambda d: ParticleSurrogate("gns", nodes=0.5, choice="nearest"), "choice: expected"),
        (lambda d: ParticleSurrogate("gns", Autoregressive(history=1)), "history of two frames"),
        (lambda d: ParticleSurrogate("gns", widht=3), "takes no 'widht'"),
        (lambda d: ParticleSurrogate("gns", radius=-1.0).fit(d, running=QUIET), "radius: expected a number > 0"),
        (lambda d: ParticleSurrogate("gns", features=("none",)).fit(d, running=QUIET), "features: test_thrown has no"),
        (lambda d: ParticleSurrogate("gns").solve(Thrown().case(), [0.1]), "has not been trained"),
        (lambda d: sciml.solvers.Surrogate("gns").fit(d, running=QUIET), "trained by ParticleSurrogate"),
        (lambda d: ParticleSurrogate("gns").fit(d.drop_vars("displacement_y").assign_attrs(
            fields="displacement_x velocity_x velocity_y"), running=QUIET), "'displacement_y' is missing"),
        (lambda d: ParticleSurrogate("gns").fit(d.assign_coords(x=d.y.variable, y=d.x.variable), running=QUIET),
         r"coordinates less displacements say that particle .* begins at \(.*\) and at \("),
        (lambda d: ParticleSurrogate("gns").fit(d.assign_coords(x=d.x + 100), running=QUIET),
         r"particles begin outside of the box, the first at \(100"),
    ],
)  # fmt: skip
def test_bad_input_stops_with_one_line(call, words, falling):
    with pytest.raises(InputError, match=words) as caught:
        call(falling)
    assert "\n" not in str(caught.value)


def test_the_command_line_trains_goes_on_and_evaluates(tmp_path, capfd, monkeypatch):
    from sciml.cli import main

    def run(*words, code=0):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(w) for w in words])
        out, err = capfd.readouterr()
        assert (ended.value.code or 0) == code, err
        return out + err

    monkeypatch.setenv("NO_COLOR", "1")
    made(tmp_path / "d.h5")
    out = tmp_path / "run"
    few = ("--set", "operator.width=12", "--set", "operator.latent_width=8", "--device", "cpu")
    run("train", tmp_path / "d.h5", "--operator", "giorom", "--out", out, "--steps", 1, "--set", "nodes=0.5",
        "--set", "stepping=Autoregressive(history=3)", *few)  # fmt: skip
    run("train", tmp_path / "d.h5", "--out", out, "--steps", 2, "--resume", "--device", "cpu")
    found = sciml.load(out)
    assert found.training["steps"] == 2 and found.nodes.amount == 0.5 and found.history == 3
    run("train", tmp_path / "d.h5", "--from", out, "--out", tmp_path / "on", "--steps", 1, "--device", "cpu")
    assert sciml.load(tmp_path / "on").nodes.amount == 0.5
    shown = run("evaluate", out, "--data", tmp_path / "d.h5", "--steps", 2, "--device", "cpu")
    assert "GIOROM" in shown and "persistence" in shown
    assert "giorom" in run("info", out)
    wrong = ("train", tmp_path / "d.h5", "--operator", "gns", "--out", tmp_path / "no", "--set", "fields=velocity_x")
    assert "fields: gns has no such setting" in run(*wrong, code=2)
    assert "takes fields on a grid" in run("train", tmp_path / "d.h5", "--operator", "fno", "--out", out / "no", code=2)
