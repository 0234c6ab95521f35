"""The mover that is learned without labels."""

import numpy as np
import pytest
import torch

import sciml
from sciml.errors import FileFormatError, InputError
from sciml.meshing import Elastic, LocalMover, Sample
from sciml.meshing._patches import Lesson, moved
from sciml.meshing._simplices import contents
from sciml.meshing._sliding import Sliding
from sciml.meshing.mover import LEAST, Domain
from sciml.meshing.samples import bumps, polygons, rows
from sciml.training.objectives import Supervised
from sciml.training.recipe import Recipe, Running, Steps

QUIET = Running(progress=False)


def bump(x: np.ndarray) -> np.ndarray:
    return 1 + 5 * np.exp(-((x - [0.3, 0.7]) ** 2).sum(1) / 0.02)


def domain(sample: Sample) -> Domain:
    return Domain(sample.points, sample.cells, Sliding.of(sample.points, sample.cells, None), sample.monitor)


def shaken(mover: LocalMover, size: float, seed: int = 0) -> LocalMover:
    """With other weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in mover.network.parameters():
            p += size * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return mover


@pytest.mark.parametrize("alone", [False, True])
def test_an_even_monitor_moves_nothing_whatever_the_weights(alone):
    for points, cells in (rows(6), polygons(np.random.default_rng(0), 1)[0]):
        mover = shaken(LocalMover(rounds=3, alone=alone), 1.0)
        found, _ = mover.move(points, cells, monitor=np.full(len(points), 2.5))
        np.testing.assert_allclose(found, points, atol=1e-12)


def test_untrained_it_is_rounds_of_the_elastic_mover():
    points, cells = rows(10)
    mover = LocalMover(rounds=3)
    with torch.no_grad():
        for perceptron in mover.network.rounds:
            perceptron[-1].weight.zero_()
    found, _ = mover.move(points, cells, monitor=bump)
    expected, _ = Elastic(1e-12, 3, step=0.6, stall=0).move(points, cells, monitor=bump)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("alone", [False, True])
def test_no_weights_turn_a_cell_over(alone):
    rng = np.random.default_rng(1)
    for seed, (points, cells) in enumerate([rows(7), *polygons(rng, 4)]):
        mover = shaken(LocalMover(rounds=3, alone=alone), 10.0 ** (seed - 1), seed)
        m = np.exp(3 * rng.standard_normal(len(points)))
        found, info = mover.move(points, cells, monitor=m)
        assert (contents(found, cells) >= LEAST * contents(points, cells) * (1 - 1e-12)).all()
        assert info.least_ratio > 0
        assert np.isfinite(found).all()


@pytest.mark.parametrize("alone", [False, True])
def test_turned_swapped_and_renumbered_meshes_move_alike(alone):
    points, cells = rows(8)
    mover = shaken(LocalMover(rounds=3, alone=alone), 0.3)
    expected, _ = mover.move(points, cells, monitor=bump)
    assert np.abs(expected - points).max() > 0.01
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    found, _ = mover.move(points @ turn.T + [3, -2], cells, monitor=lambda x: bump((x - [3, -2]) @ turn))
    np.testing.assert_allclose((found - [3, -2]) @ turn, expected, atol=1e-10)
    found, _ = mover.move(points[:, ::-1], cells[:, ::-1], monitor=lambda x: bump(x[:, ::-1]))
    np.testing.assert_allclose(found[:, ::-1], expected, atol=1e-10)
    found, _ = mover.move(7 * points, cells, monitor=lambda x: 3 * bump(x / 7))  # other units of length and of m
    np.testing.assert_allclose(found / 7, expected, atol=1e-10)
    order = np.random.default_rng(0).permutation(len(points))
    found, _ = mover.move(points[order], np.argsort(order)[cells[::-1]], monitor=bump)
    np.testing.assert_allclose(found, expected[order], atol=1e-10)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("error", [0.0, 1.0])
def test_slopes_of_the_loss_are_those_of_differences(alone, error):
    sample = bumps([rows(5)], np.random.default_rng(0))[0]
    mover = shaken(LocalMover(rounds=2, width=4, alone=alone, error=error), 0.05)
    lesson = mover.lesson(
        Domain(sample.points, sample.cells, Sliding.of(sample.points, sample.cells, None), sample.monitor), sample
    )
    mover.loss(mover.network, lesson, 1.0).backward()
    weights = list(mover.network.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)
    rng, h = np.random.default_rng(1), 1e-6
    for p in weights:
        k = tuple(int(rng.integers(n)) for n in p.shape)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                p[k] += sign * h
                values.append(float(mover.loss(mover.network, lesson, 1.0)))
                p[k] -= sign * h
        assert float(p.grad[k]) == pytest.approx((values[0] - values[1]) / (2 * h), rel=2e-4, abs=1e-7)


def test_the_error_of_the_loss_is_that_of_interpolation():
    from sciml.meshing.linear_elements import LinearElements

    sample = bumps([rows(9)], np.random.default_rng(5))[0]
    found = float(Lesson.of(domain(sample), False, sample.field).error(torch.from_numpy(sample.points)))
    exact = LinearElements(sample.field).interpolation_error(sample.points, sample.cells).l2
    assert np.sqrt(found) == pytest.approx(exact, rel=1e-12)


def test_it_learns_to_even_out_in_fewer_rounds(tmp_path):
    rng = np.random.default_rng(2)
    samples = bumps([rows(10), rows(9, True), *polygons(rng, 2, 9, 12)], rng)
    mover = LocalMover(rounds=2, width=8)

    def left(mover):
        return np.mean([mover.move(s.points, s.cells, monitor=s.monitor)[1].equidistribution for s in samples])

    before, least = left(mover), left(Elastic())
    recipe = LocalMover.recipe().replace(length=Steps(60))
    mover.fit(samples, recipe, validation=samples[:1], running=QUIET)
    assert left(mover) - least < 0.7 * (before - least)
    assert mover.training["steps"] == 60
    assert mover.training["losses"][-1]["loss"] < mover.training["losses"][0]["loss"]
    mover.save(tmp_path / "run")
    again = sciml.load(tmp_path / "run")
    assert isinstance(again, LocalMover)
    assert again.training == mover.training
    s = samples[0]
    np.testing.assert_array_equal(
        again.move(s.points, s.cells, monitor=s.monitor)[0], mover.move(s.points, s.cells, monitor=s.monitor)[0]
    )
    with pytest.raises(FileFormatError, match="holds 'local', expected"):
        sciml.solvers.linear.LearnedMultigrid.load(tmp_path / "run")


def test_training_goes_on_where_it_stopped(tmp_path):
    samples = bumps([rows(6), rows(7)], np.random.default_rng(2))
    recipe = LocalMover.recipe().replace(length=Steps(12))

    class Enough(sciml.training.Callback):
        def on_step(self, trainer, record):
            if trainer.step == 5:
                raise KeyboardInterrupt

    whole = LocalMover(rounds=2, width=4).fit(samples, recipe, running=QUIET)
    running = QUIET.replace(out=tmp_path / "run", checkpoint_every=1)
    with pytest.raises(KeyboardInterrupt):
        LocalMover(rounds=2, width=4).fit(samples, recipe, running=running.replace(callbacks=(Enough(),)))
    other = LocalMover(rounds=2, width=4).fit(samples, recipe, running=running.replace(resume=True))
    for a, b in zip(whole.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_on_a_line():
    n = 30
    points, cells = np.linspace(0, 1, n + 1)[:, None], np.stack([np.arange(n), np.arange(1, n + 1)], 1)
    _, info = LocalMover(rounds=8).move(points, cells, monitor=lambda x: 1 + 5 * np.exp(-50 * (x[:, 0] - 0.4) ** 2))
    assert info.equidistribution < 0.05 * info.equidistribution_before


def test_what_it_cannot_learn_from_is_said():
    sample = bumps([rows(5)], np.random.default_rng(0))[0]
    mover = LocalMover(rounds=1)
    for samples, recipe, words in (
        ([], None, "samples: expected at least one"),
        ([rows(3)], None, "(?s)number 0 is .* expected a Sample"),
        ([sample], Recipe(objective=Supervised()), "movers bring their own"),
    ):
        with pytest.raises(InputError, match=words):
            mover.fit(samples, recipe, running=QUIET)
    with pytest.raises(InputError, match="rounds is 0"):
        LocalMover(rounds=0)
    with pytest.raises(InputError, match="error is -1"):
        LocalMover(error=-1.0)
    with pytest.raises(InputError, match="a field"):
        LocalMover(error=1.0).fit([Sample(sample.points, sample.cells, sample.monitor)], running=QUIET)
    points, cells = rows(4)
    lesson = Lesson.of(domain(Sample(points, cells, bump)), False)
    assert moved(mover.network, lesson, 0, torch.from_numpy(points))[0].shape == (25, 2)


def test_the_weights_of_the_package_even_out_and_lessen_the_error():
    from sciml.meshing import LinearElements, hessian

    mover, gains = LocalMover.pretrained(), []
    assert mover.training["steps"] > 0
    for sample in bumps([rows(20), *polygons(np.random.default_rng(8), 3)], np.random.default_rng(9)):
        elements = LinearElements(sample.field)
        u = elements.solve(sample.points, sample.cells)
        found, info = mover.move(sample.points, sample.cells, monitor=hessian(sample.points, sample.cells, u))
        assert info.equidistribution < 0.6 * info.equidistribution_before
        gains.append(1 - elements.error(found, sample.cells).l2 / elements.errors(sample.points, sample.cells, u).l2)
    assert min(gains) > 0
    assert np.mean(gains) > 0.2
