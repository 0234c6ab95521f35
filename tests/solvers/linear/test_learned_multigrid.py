"""The learned multigrid: safe with any weights, the classical one with none, fewer iterations with its own."""

from typing import Any

import jax
import numpy as np
import pytest
import torch
from _grid_systems import AROUND, OPEN, OUT, SYSTEMS, WALLS, check_cycle, of_cells, random

import sciml
from sciml.errors import FileFormatError, InputError
from sciml.solvers.linear import ConjugateGradient, LearnedMultigrid, Multigrid, MultigridCG, SparseDirect, families
from sciml.solvers.linear._arrays import NUMPY
from sciml.solvers.linear._coarse_grids import halved
from sciml.solvers.linear._local_rules import Learned, drawn

SMALL = ((families.Jumps(1e4), (10, 8)), (families.LogNormal(3.0), (10, 8)))
SHORT = {"families": SMALL, "systems": 12, "batch": 12, "iterations": 4, "lr": 0.03}


def wild(seed: int, size: float = 1.0) -> dict[str, np.ndarray]:
    """Weights that nothing was learned with."""
    rng = np.random.default_rng(seed)
    return {name: size * rng.standard_normal(value.shape) for name, value in drawn(0).items()}


def rough(shape, seed=0) -> np.ndarray:
    return np.exp(2 * np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("name", SYSTEMS)
def test_any_weights_give_a_linear_symmetric_and_positive_cycle(name):
    system = SYSTEMS[name]
    for seed in range(2):
        check_cycle(Multigrid(1, (3, 0) if name == "long" else (), Learned(wild(seed))).operator(system), system)


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("weights", [{}, drawn(3)], ids=["no weights", "untrained"])
def test_untrained_it_is_the_classical_cycle(name, weights):
    system = SYSTEMS[name]
    r = random(system).ravel()
    classical: Any = Multigrid().operator(system)
    untrained: Any = Multigrid(rules=Learned(weights)).operator(system)
    assert np.abs(untrained @ r - classical @ r).max() < 1e-12 * np.abs(classical @ r).max()


def flipped(conductances, axis):
    return [np.flip(c, axis) for c in conductances]


@pytest.mark.parametrize(("shape", "ends"), [((8, 6), (OPEN, WALLS)), ((6, 4, 8), (AROUND, OPEN, WALLS))])
def test_rules_know_neither_units_nor_directions(shape, ends):
    fixed = of_cells(rough(shape), ends).conductances(np)
    learned = Learned(wild(1))
    for axis in range(len(shape)):
        found = learned.halved(NUMPY, fixed, axis, ends)
        for a, b in zip(found, learned.halved(NUMPY, [1e-7 * c for c in fixed], axis, ends), strict=True):
            np.testing.assert_allclose(1e-7 * a, b, rtol=1e-12)
        for other in range(len(shape)):
            mirrored = learned.halved(NUMPY, flipped(fixed, other), axis, ends)
            for a, b in zip(flipped(found, other), mirrored, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12)
    turned = learned.halved(NUMPY, [c.T for c in fixed[::-1]], 0, ends[::-1])
    for a, b in zip(learned.halved(NUMPY, fixed, len(shape) - 1, ends), turned[::-1], strict=True):
        np.testing.assert_allclose(a, b.T, rtol=1e-12)


def test_closed_faces_stay_closed_and_open_ones_open():
    system = SYSTEMS["gaps, open"]
    fixed = system.conductances(np)
    for a, b in zip(Learned(wild(2, 3.0)).halved(NUMPY, fixed, 1, system.ends), halved(NUMPY, fixed, 1), strict=True):
        np.testing.assert_array_equal(a > 0, b > 0)
        assert np.isfinite(a).all()


def test_the_same_in_numpy_and_jax_and_slow_weights_are_never_wrong():
    system = of_cells(rough((24, 20)), (OUT, WALLS))
    b = random(system)
    exact, _ = SparseDirect().prepare(system)(b)
    with jax.enable_x64(True):
        solver = LearnedMultigrid(wild(5, 0.3), 1e-9, 400, record=True, single=False)
        x, info = jax.block_until_ready(solver.prepare(system)(b))
        _, plain = ConjugateGradient(
            Multigrid(rules=solver.rules), tolerance=1e-9, max_iterations=400
        ).prepare(system)(b)  # fmt: skip
    assert info.converged
    assert float(info.residual) <= 1e-9
    assert np.abs(np.asarray(x) - exact).max() < 1e-7 * np.abs(exact).max()
    few = min(8, int(info.iterations))
    np.testing.assert_allclose(info.history[:few], plain.history[:few], rtol=1e-6)


@pytest.mark.parametrize("single", [False, True])
def test_the_same_on_tensors(single):
    system = SYSTEMS["odd"]
    preconditioner, r = Multigrid(rules=LearnedMultigrid(wild(2), single=single).rules), random(system)
    whole: Any = preconditioner.operator(system)
    found = preconditioner.on_tensors(system, torch.as_tensor(r))(torch.as_tensor(r))
    assert np.abs(found.numpy().ravel() - whole @ r.ravel()).max() < 1e-10 * np.abs(found.numpy()).max()


def test_the_error_falls_in_the_norm_of_the_matrix_whatever_the_weights():
    system = of_cells(rough((16, 16), 2), (OPEN, OPEN))
    b = random(system)
    exact, _ = SparseDirect().prepare(system)(b)
    matrix, errors = system.matrix(), []
    for count in range(1, 12):
        method = ConjugateGradient(Multigrid(rules=Learned(wild(7, 2.0))), tolerance=1e-12, max_iterations=count)
        e = (np.asarray(method.prepare(system)(b)[0]) - exact).ravel()
        errors.append(e @ matrix @ e)
    assert (np.diff(errors) < 0).all()


@pytest.mark.parametrize(("shape", "share"), [((64, 64), 0.9), ((16, 16, 16), 0.97)])
def test_the_weights_of_the_package_save_iterations_on_draws_never_seen(shape, share):
    learned, counts = LearnedMultigrid(single=False), {"plain": 0, "learned": 0}
    for family in (families.Jumps(1e4), families.LogNormal(), families.Obstacles()):
        for seed in (2000, 2001, 2002):
            system = family.draw(seed, shape)
            for name, rules in (("plain", None), ("learned", learned.rules)):
                method = ConjugateGradient(Multigrid(rules=rules), tolerance=1e-6)
                counts[name] += method.prepare(system)(random(system))[1].iterations
    assert counts["learned"] < share * counts["plain"], counts


def test_training_lowers_its_loss_and_goes_on_where_it_was_stopped(tmp_path):
    whole = LearnedMultigrid.untrained().fit(**SHORT, steps=40, every=20)
    losses = [row["loss"] for row in whole.training["losses"]]
    assert losses[-1] < losses[0] - 0.05
    told = []

    def stop(row):
        told.append(row)
        if row["step"] == 20:
            raise KeyboardInterrupt

    again = {**SHORT, "steps": 40, "every": 20, "checkpoint": tmp_path / "checkpoint"}
    with pytest.raises(KeyboardInterrupt):
        LearnedMultigrid.untrained().fit(**again, tell=stop)
    resumed = LearnedMultigrid.untrained().fit(**again, tell=told.append)
    assert [row["step"] for row in told] == [20, 40]
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value)
    with pytest.raises(InputError, match="other systems or settings"):
        LearnedMultigrid.untrained().fit(**{**again, "seed": 1})


def test_save_and_load(tmp_path):
    solver = LearnedMultigrid(wild(3), 1e-7)
    solver.save(tmp_path)
    found = LearnedMultigrid.load(tmp_path, tolerance=1e-7)
    assert found == solver
    assert hash(found) == hash(solver)
    assert LearnedMultigrid.load(tmp_path) != solver
    assert sciml.load(tmp_path) == LearnedMultigrid.load(tmp_path)
    assert LearnedMultigrid(wild(4), 1e-7) != solver
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileFormatError):
        LearnedMultigrid.load(tmp_path)


def test_what_it_cannot_take_is_said():
    for weights, words in (
        ({"sideways": np.zeros((4, 8))}, "expected some of across, beside"),
        ({"beside": np.zeros((4, 3))}, r"expected the shape \(hidden, 5\), got \(4, 3\)"),
        ({"beside": np.full((4, 5), np.nan)}, "expected finite numbers up to"),
    ):
        with pytest.raises(InputError, match=words):
            LearnedMultigrid(weights)
    fresh = LearnedMultigrid.untrained()
    for settings, words in (
        ({"families": [families.Constant()]}, r"expected \(family, shape\)"),
        ({"families": []}, r"expected \(family, shape\)"),
        ({"lr": -1.0}, "lr is -1.0, expected a positive number"),
        ({"iterations": 1}, "iterations is 1, expected a whole number from 2 on"),
        ({"seed": -1}, "seed is -1"),
        ({"batch": 50}, "of none of 1 kinds of shapes and ends as many as batch, 50"),
    ):
        with pytest.raises(InputError, match=words):
            fresh.fit(**{**SHORT, "steps": 2, **settings})
    with pytest.raises(InputError, match="there are no weights to learn"):
        LearnedMultigrid({}).fit(**SHORT)


def test_it_is_a_pressure_solver():
    case = sciml.problems.LidDrivenCavity().case()
    answers = [
        sciml.solvers.IncompressibleFlow(12, dtype="float64", pressure_solver=s).solve(case, times=[0.05])
        for s in (MultigridCG(1e-10), LearnedMultigrid(tolerance=1e-10))
    ]
    assert np.abs(answers[0].u - answers[1].u).max() < 1e-8 * np.abs(answers[0].u).max()
