"""UM2N: what no weights can change, what it learns, and its parts against what defines them."""

import itertools

import numpy as np
import pytest
import torch

from sciml.errors import InputError
from sciml.meshing import MongeAmpere, Sample
from sciml.meshing._neighbours import Neighbours, Rest
from sciml.meshing._simplices import contents
from sciml.meshing._sliding import Sliding
from sciml.meshing.mover import Domain
from sciml.meshing.samples import bumps, polygons, rows, squares
from sciml.meshing.um2n import UM2N, Graph, Linear, Pairs
from sciml.training.callbacks import Callback
from sciml.training.optimisers import AdamW
from sciml.training.recipe import Recipe, Running, Steps


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def domain_of(points, cells, monitor=None) -> Domain:
    return Domain(points, cells, Sliding.of(points, cells, None), np.ones(len(points)) if monitor is None else monitor)


def meshes(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [rows(7, other=True), squares(rng, 1, 9, 10)[0], *polygons(rng, 2, 9, 10)]


def wild(seed: int, size: float = 1.0, **settings) -> UM2N:
    """Weights that nobody has trained, larger than those that one begins with."""
    mover = UM2N(**{"width": 8, "heads": 2, "seed": seed, **settings})
    with torch.no_grad():
        for p in mover.network.parameters():
            p.mul_(size).add_(0.3 * size * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)))
    return mover


def sample_on(mesh, seed: int = 0) -> Sample:
    return bumps([mesh], np.random.default_rng(seed))[0]


def quick(steps: int, **settings) -> Recipe:
    return UM2N.recipe().replace(length=Steps(steps), optimiser=AdamW(lr=3e-3), batch=1, **settings)


def test_every_node_is_the_average_of_its_neighbours():
    for points, cells in meshes():
        near = Neighbours(domain_of(points, cells))
        assert (near.weight > 0).all()
        np.testing.assert_allclose(np.bincount(near.to, near.weight), 1, rtol=1e-12)
        off = np.stack([np.bincount(near.to, near.weight * p) for p in points[near.of].T], 1) - points
        sliding = near.sliding
        inner = ~sliding.fixed & ~sliding.slides
        assert sliding.slides.sum() > 4
        np.testing.assert_allclose(off[inner], 0, atol=1e-14)
        np.testing.assert_allclose((off * sliding.tangent).sum(1), 0, atol=1e-14)
        assert near.content.sum() == pytest.approx(contents(points, cells).sum(), rel=1e-12)


def test_places_at_rest_are_averages_and_have_the_right_derivatives():
    rng = np.random.default_rng(0)
    for points, cells in (*meshes()[:3], rows(3)):
        near = Neighbours(domain_of(points, cells))
        shares = near.weight * np.exp(rng.standard_normal(len(near.to)))
        shares /= np.bincount(near.to, shares)[near.to]
        x = Rest.apply(torch.from_numpy(shares), near).numpy()
        off = np.stack([np.bincount(near.to, shares * p) for p in x[near.of].T], 1) - x
        np.testing.assert_allclose(near.sliding.projected(off), 0, atol=1e-13)
        np.testing.assert_array_equal(x[near.sliding.fixed], points[near.sliding.fixed])
    to = torch.from_numpy(near.to)

    def rest(said):
        a = torch.from_numpy(near.weight) * said.exp()
        return Rest.apply(a / a.new_zeros(near.count).index_add(0, to, a)[to], near)

    said = torch.randn(len(to), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(rest, said)


def test_where_nothing_is_free_nothing_moves():
    points, cells = rows(1)
    mover = wild(0)
    moved, _ = mover.move(points, cells, monitor=1 + points[:, 0])
    np.testing.assert_array_equal(moved, points)
    mover.fit([Sample(points, cells, 1 + points[:, 0])], quick(1), running=Running(progress=False))


@pytest.mark.parametrize("settings", [{}, {"places": True}, {"pairs": True}], ids=str)
def test_an_even_monitor_moves_nothing_whatever_the_weights(settings):
    for seed, (points, cells) in enumerate(meshes()):
        moved, _ = wild(seed, **settings).move(points, cells, monitor=np.full(len(points), 3.7))
        np.testing.assert_allclose(moved, points, atol=1e-12)
        moved, _ = wild(seed, **settings).move(points, cells, monitor=1 + 0.3 * points[:, 0])
        assert np.abs(moved - points).max() > 1e-4  # it can move


def test_any_weights_mean_the_same_on_finer_meshes():
    m = sample_on(rows(8), 1).monitor
    moved = []
    for n in (8, 16, 32, 64):
        points, cells = rows(n)
        x, _ = wild(0, 0.5).move(points, cells, monitor=m)
        moved.append((x - points).reshape(n + 1, n + 1, 2)[:: n // 8, :: n // 8])
    off = [np.abs(a - b).max() for a, b in itertools.pairwise(moved)]
    assert off[2] < 0.2 * np.abs(moved[-1]).max()
    assert off[2] < 0.7 * off[1] < 0.7 * off[0]


def test_no_weights_turn_a_cell_of_a_rectangle_over():
    rng = np.random.default_rng(1)
    for seed, (points, cells) in enumerate(squares(rng, 6, 8, 14)):
        s = sample_on((points * [2.0, 1.0], cells), seed)
        _, info = wild(seed, (0.5, 1.0, 3.0)[seed % 3]).move(s.points, cells, monitor=s.monitor)
        assert (info.inverted, info.safeguard) == (0, 1.0)
        assert info.least_ratio < 0.99


def test_no_weights_get_through_the_safeguard():
    """Of regions that are not convex."""
    rng = np.random.default_rng(2)
    for seed, (points, cells) in enumerate(polygons(rng, 6, 8, 12)):
        moved, info = wild(seed, 2.0).move(points, cells, monitor=sample_on((points, cells), seed).monitor)
        now = contents(moved, cells)
        assert (now > 0).all()
        assert now.sum() == pytest.approx(contents(points, cells).sum(), abs=1e-12)
        assert info.least_ratio >= 1e-3 * (1 - 1e-12)


def test_boundaries_keep_their_shape():
    rng = np.random.default_rng(3)
    for points, cells in (squares(rng, 1, 9, 10)[0], polygons(rng, 1, 9, 10, convex=True)[0]):
        s = sample_on((points, cells))
        moved, _ = wild(0).move(points, cells, monitor=s.monitor)
        sliding = Sliding.of(points, cells, None)
        np.testing.assert_array_equal(moved[sliding.fixed], points[sliding.fixed])
        step, tangent = (moved - points)[sliding.slides], sliding.tangent[sliding.slides]
        np.testing.assert_allclose(step[:, 0] * tangent[:, 1] - step[:, 1] * tangent[:, 0], 0, atol=1e-14)
        assert np.abs(step).max() > 1e-3  # they slide


@pytest.mark.parametrize("double", [False, True])
def test_turned_mirrored_larger_and_renumbered_meshes_move_alike(double):
    points, cells = squares(np.random.default_rng(4), 1, 9, 10)[0]
    m = sample_on((points, cells)).monitor
    for settings in ({}, {"pairs": True}):
        mover = wild(0, **settings)
        if double:
            mover.network.double()
        tolerance = 1e-10 if double else 1e-5
        expected, _ = mover.move(points, cells, monitor=m)
        turn, by = np.array([[0.8, -0.6], [0.6, 0.8]]), np.array([3, -2])
        moved, _ = mover.move(2 * points @ turn.T + by, cells, monitor=lambda x, w=(turn, by): m((x - w[1]) @ w[0] / 2))
        np.testing.assert_allclose((moved - by) @ turn / 2, expected, atol=tolerance)
        moved, _ = mover.move(points[:, ::-1], cells[:, ::-1], monitor=lambda x: m(x[:, ::-1]))
        np.testing.assert_allclose(moved[:, ::-1], expected, atol=tolerance)
        moved, _ = mover.move(points, cells, monitor=lambda x: 7 * m(x))
        np.testing.assert_allclose(moved, expected, atol=tolerance)
        order = np.random.default_rng(0).permutation(len(points))
        number = np.argsort(order)
        moved, _ = mover.move(points[order], number[np.random.default_rng(1).permutation(cells)], monitor=m)
        np.testing.assert_allclose(moved, expected[order], atol=tolerance)


def test_with_places_it_matters_which_way_a_mesh_is_turned_but_not_how_it_is_numbered():
    points, cells = squares(np.random.default_rng(4), 1, 9, 10)[0]
    m = sample_on((points, cells)).monitor
    mover = wild(0, places=True)
    mover.network.double()
    expected, _ = mover.move(points, cells, monitor=m)
    moved, _ = mover.move(points[:, ::-1], cells[:, ::-1], monitor=lambda x: m(x[:, ::-1]))
    assert np.abs(moved[:, ::-1] - expected).max() > 1e-3
    order = np.random.default_rng(0).permutation(len(points))
    moved, _ = mover.move(points[order], np.argsort(order)[cells], monitor=m)
    np.testing.assert_allclose(moved, expected[order], atol=1e-10)
    moved, _ = mover.move(5 * points + 1, cells, monitor=lambda x: m((x - 1) / 5))
    np.testing.assert_allclose((moved - 1) / 5, expected, atol=1e-10)


def test_attention_of_pairs_is_its_matrix_and_shares_are_a_quadrature():
    torch.manual_seed(0)
    h, share = torch.randn(1, 7, 8, dtype=torch.float64), torch.rand(1, 7, dtype=torch.float64)
    share = share / share.sum()
    pairs = Pairs(8, 1).double()
    q, k, v = pairs.parts(h[0]).chunk(3, -1)
    weights = share * torch.exp(q @ k.T / 8**0.5)
    expected = pairs.mix(weights / weights.sum(1, keepdim=True) @ v)
    torch.testing.assert_close(pairs(h, share)[0], expected)
    for attention in (pairs, Linear(8, 2).double()):  # a node that is two, with half the share each, changes nothing
        twice = torch.cat([h, h[:, :1]], 1), torch.cat([share, share[:, :1] / 2], 1)
        twice[1][:, 0] /= 2
        torch.testing.assert_close(attention(*twice)[:, :7], attention(h, share))


@pytest.mark.parametrize("settings", [{}, {"places": True, "pairs": True}], ids=str)
def test_all_weights_learn(settings):
    mover = UM2N(**settings)
    s = sample_on(rows(8))
    lesson = mover.lesson(domain_of(s.points, s.cells, s.monitor), s)
    mover.loss(mover.network, lesson, 0.0).backward()
    for name, p in mover.network.named_parameters():
        assert p.grad is not None and (p.grad != 0).any(), name


def test_derivatives_of_the_loss_are_those_of_differences():
    s = sample_on(rows(6), 1)
    mover = UM2N(8, 2)
    mover.network.double()
    lesson = mover.lesson(domain_of(s.points, s.cells, s.monitor), s)
    mover.loss(mover.network, lesson, 0.0).backward()
    for p in (mover.network.layers[0].plain.weight, mover.network.layers[1].ends.weight):
        step = torch.zeros_like(p)
        step[0, 0] = 1e-7
        found = []
        for sign in (1, -1):
            with torch.no_grad():
                p.add_(sign * step)
                found.append(float(mover.loss(mover.network, lesson, 0.0)))
                p.sub_(sign * step)
        assert float(p.grad[0, 0]) == pytest.approx((found[0] - found[1]) / 2e-7, rel=1e-3)


def test_it_learns_a_mesh_and_does_as_well():
    s = sample_on(rows(10), 1)
    mover = UM2N().fit([s], quick(150), running=Running(progress=False))
    _, info = mover.move(s.points, s.cells, monitor=s.monitor)
    moved, taught = MongeAmpere().move(s.points, s.cells, monitor=s.monitor)
    _, before = UM2N().move(s.points, s.cells, monitor=s.monitor)
    assert info.equidistribution - taught.equidistribution < 0.5 * (before.equidistribution - taught.equidistribution)
    lesson = mover.lesson(domain_of(s.points, s.cells, s.monitor), s)
    np.testing.assert_allclose(lesson.points.numpy(), moved, atol=1e-12)
    untrained = float(UM2N().loss(UM2N().network, lesson, 1.0).detach())
    assert float(mover.loss(mover.network, lesson, 1.0).detach()) < 0.5 * untrained


def test_what_is_saved_is_what_is_read(tmp_path):
    s = sample_on(rows(8))
    for double in (False, True):
        mover = wild(0, areas=0.5, coordinates=2.0, places=True)
        if double:
            mover.network.double()
        mover.save(tmp_path / str(double))
        again = UM2N.load(tmp_path / str(double))
        assert again.config() == mover.config()
        moved = [m.move(s.points, s.cells, monitor=s.monitor)[0] for m in (mover, again)]
        np.testing.assert_array_equal(*moved)


class Stop(Callback):
    """Interrupts."""

    def __init__(self, step: int):
        self.step = step

    def on_step(self, trainer, record):
        if trainer.step == self.step:
            raise KeyboardInterrupt


def test_training_that_was_interrupted_ends_alike(tmp_path):
    s = [sample_on(rows(6), i) for i in range(3)]
    whole = UM2N(8, 2).fit(s, quick(6), running=Running(out=tmp_path / "a", progress=False))
    UM2N(8, 2).fit(s, quick(6), running=Running(out=tmp_path / "a", progress=False, resume=True))
    with pytest.raises(KeyboardInterrupt):
        UM2N(8, 2).fit(s, quick(6), running=Running(
            out=tmp_path / "b", progress=False, checkpoint_every=1, callbacks=(Stop(4),)))  # fmt: skip
    later = UM2N(8, 2).fit(s, quick(6), running=Running(out=tmp_path / "b", progress=False, resume=True))
    for a, b in zip(whole.network.parameters(), later.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_monge_ampere_cannot_do_is_not_learned():
    ring = lambda x: 1 + 100 / np.cosh(np.clip(200 * (((x - 0.5) ** 2).sum(1) - 0.16), -99, 99)) ** 2  # noqa: E731
    bad, good = Sample(*rows(8), ring), sample_on(rows(8))
    mover = UM2N(8, 2).fit([bad, good], quick(1), running=Running(progress=False))
    assert mover.training["samples"] == 1
    with pytest.raises(InputError, match="expected at least one"):
        mover.fit([bad], quick(1), running=Running(progress=False))


def test_what_cannot_be_is_said():
    for make, words in (
        (lambda: UM2N(width=0), "width is 0"),
        (lambda: UM2N(seed=-1), "seed is -1, expected a whole number from 0 on"),
        (lambda: UM2N(seed="a"), "seed is 'a', expected a whole number from 0 on"),
        (lambda: UM2N(blocks=-1), "blocks is -1, expected a whole number from 0 on"),
        (lambda: UM2N(width=10, heads=4), "multiple of heads = 4, got 10"),
        (lambda: UM2N(areas=-1), "areas is -1, expected a number from 0 on"),
        (lambda: UM2N(areas=0, coordinates=0), "expected one that is positive"),
        (lambda: UM2N().move([[0.0], [1.0]], [[0, 1]], monitor=np.ones(2)), "got a mesh of intervals"),
    ):
        with pytest.raises(InputError, match=words):
            make()


def test_values_at_nodes_serve_as_monitor():
    for points, cells in meshes()[:2]:
        m = sample_on((points, cells)).monitor
        moved, _ = wild(0, 0.3).move(points, cells, monitor=m(points))
        expected, _ = wild(0, 0.3).move(points, cells, monitor=m)
        assert 0 < np.abs(moved - expected).max() < 0.1
        domain = domain_of(points, cells, m)
        graph = Graph(domain)
        np.testing.assert_allclose(graph.monitor(graph.points), np.log(m(points) / domain.unit))
        assert all(len(a) == len(b) for a, b in itertools.pairwise((graph.to, graph.of, graph.weight)))
