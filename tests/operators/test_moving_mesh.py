"""The operator on moving meshes: what goes between meshes, where nodes go, and all that operators promise."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial import Delaunay
from torch import Tensor

from sciml.contracts import CellGraphBatch, Signature, build
from sciml.errors import InputError
from sciml.operators import MeshGraphNet, MovingMeshOperator
from sciml.operators._moved import LEAST, Between, Cells, Rows, beside, monitor, safe_share
from sciml.operators.layers.least_squares import LeastSquares, nearest
from sciml.support import Grid, Mesh, Points
from sciml.training.encoding.cells import freedom, simplices
from sciml.training.encoding.graph import edges as edges_of

SIGNATURE = Signature(2, 2, 2, n_params=1)
SMALL = {"width": 12, "layers": 2, "kernel_width": 6, "map_width": 4, "map_modes": 6, "map_layers": 1}
MOVERS = ("potential", "random", "still", "none")
MOVING = MOVERS[:3]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def square(sides: int = 7, seed: int = 0) -> Mesh:
    x = np.linspace(0, 1, sides + 1)
    points = np.stack(np.meshgrid(x, x, indexing="xy"), -1).reshape(-1, 2)
    inner = ((points > 0) & (points < 1)).all(1)
    points[inner] += np.random.default_rng(seed).uniform(-0.3, 0.3, (int(inner.sum()), 2)) / sides
    return Mesh(points, {"triangle": Delaunay(points).simplices})


def batch_of(mesh: Mesh, values: np.ndarray, params: int = 1) -> CellGraphBatch:
    """One sample, in float64."""
    joined, cells = torch.from_numpy(edges_of(mesh)), simplices(mesh)
    points = torch.from_numpy(mesh.unit())
    return CellGraphBatch(
        torch.from_numpy(values), points, joined, points[joined[1]] - points[joined[0]],
        torch.zeros(mesh.size, dtype=torch.int64), torch.full((1, params), 0.3).double() if params else None,
        cells=torch.from_numpy(cells.T.copy()), free=torch.from_numpy(freedom(mesh, cells)),
        lengths=torch.ones(1, 2, dtype=torch.float64),
    )  # fmt: skip


def sample(sides: int = 7, seed: int = 0) -> CellGraphBatch:
    mesh = square(sides, seed)
    return batch_of(mesh, np.random.default_rng(seed).normal(size=(mesh.size, 2)))


def together(*samples: CellGraphBatch) -> CellGraphBatch:
    start, edges, cells, graph = 0, [], [], []
    for k, s in enumerate(samples):
        edges.append(s.edges + start)
        cells.append(s.cells + start)
        graph.append(torch.full_like(s.graph, k))
        start += len(s.nodes)
    rest = {n: torch.cat([getattr(s, n) for s in samples]) for n in ("nodes", "points", "offsets", "params", "free")}
    return CellGraphBatch(
        edges=torch.cat(edges, 1), cells=torch.cat(cells, 1), graph=torch.cat(graph),
        lengths=torch.ones(len(samples), 2, dtype=torch.float64), **rest,
    )  # fmt: skip


def make(mover: str = "potential", **options) -> Any:
    torch.manual_seed(1)
    net: Any = build(MovingMeshOperator, SIGNATURE, SMALL | {"mover": mover} | options).double()
    if mover == "potential":
        with torch.no_grad():
            net.mover.map.source.weight.mul_(30)  # as large steps as the safeguard has to look after
    return net


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-9, atol=1e-9)


def areas(points: Tensor, cells: Tensor) -> Tensor:
    a, b, c = (points[k] for k in cells)
    u, v = b - a, c - a
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]


# -- between meshes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 2])
def test_constants_and_linear_functions_are_reproduced_whatever_is_learned(dimensions):
    torch.manual_seed(0)
    fit = LeastSquares(dimensions).double()
    with torch.no_grad():
        for p in fit.parameters():
            p.normal_()
    ways = torch.rand(50, 8, dimensions, dtype=torch.float64) - 0.5
    near = torch.ones(50, 8)
    near[:, 6:] = 0
    weights = fit(ways, near)
    assert torch.allclose(weights.sum(1), torch.ones(50).double(), atol=1e-12)
    assert (weights[:, 6:] == 0).all() and weights.std() > 0.1
    assert (weights[..., None] * ways).sum(1).abs().max() < 1e-3  # but for the ridge
    plain = LeastSquares(dimensions, 0)(ways, near)
    assert (plain[..., None] * ways).sum(1).abs().max() < 1e-4


def test_a_node_keeps_its_value_and_quadratics_fall_with_the_square():
    fit, errors = LeastSquares(2, 0), []
    for sides in (8, 16, 32):
        mesh = square(sides)
        old = torch.from_numpy(mesh.points())
        rows = Rows(torch.zeros(mesh.size, dtype=torch.int64), None)
        same = Between.of(old, old, rows, None, 8)
        values = torch.stack((old[:, 0] ** 2, old[:, 0] * old[:, 1]), 1)
        assert (same(values, fit) - values).abs().max() < 2e-3 / sides
        new = 0.5 + (old - 0.5) * (1 - 0.8 / sides)
        there = torch.stack((new[:, 0] ** 2, new[:, 0] * new[:, 1]), 1)
        errors.append(float((Between.of(old, new, rows, None, 8)(values, fit) - there).square().mean().sqrt()))
    assert errors[2] < 0.15 * errors[0]


def test_neighbours_are_those_of_the_own_sample_and_the_short_way_round():
    points = torch.rand(2, 9, 2).double()
    present = torch.ones(2, 9)
    present[1, 5:] = 0
    index, near = nearest(points, points, present, 6)
    assert (near[0] == 1).all() and (near[1].sum(1) == 5).all() and (index[1][near[1] > 0] < 5).all()
    line = torch.tensor([[[0.05], [0.5], [0.9]]])
    index, _ = nearest(line, line, torch.ones(1, 3), 2, torch.tensor([[1.0]]))
    assert index[0, 0].tolist() == [0, 2]


# -- cells and where nodes may go ------------------------------------------------------------------------------------


def test_cells_of_meshes_and_grids_are_positive_and_fill_the_domain():
    mesh = square()
    turned = Mesh(mesh.points(), {"triangle": np.array(mesh.cells["triangle"])[:, ::-1]})
    grid = Grid((np.linspace(0, 1, 6), np.linspace(0, 2, 5)))
    quads = np.array([[0, 1, 4, 3], [1, 2, 5, 4]])
    mixed = Mesh(np.array([[0.0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]), {"quadrilateral": quads})
    for support, share in ((mesh, 1.0), (turned, 1.0), (grid, 0.8 * 0.75), (mixed, 1.0)):
        points = torch.from_numpy(support.unit().reshape(-1, 2))
        found = areas(points, torch.from_numpy(simplices(support).T.copy()))
        assert (found > 0).all() and abs(float(found.sum()) / 2 - share) < 1e-12
    around = Grid((np.linspace(0, 1, 6), np.linspace(0, 2, 5)), (True, True))
    assert len(simplices(around)) == 2 * 5 * 4 and freedom(around, simplices(around)).min() == 1
    assert simplices(Grid((np.linspace(0, 1, 6),))).tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    for wrong in (Points(mesh.points()), Grid((np.linspace(0, 1, 3),) * 3)):
        with pytest.raises(InputError, match="expected"):
            simplices(wrong)


def test_nodes_slide_along_the_box_and_stay_on_other_boundaries():
    mesh = square(8)
    points = mesh.points()
    free = freedom(mesh, simplices(mesh))
    for axis in (0, 1):
        on = np.isin(points[:, axis], (0.0, 1.0))
        assert (free[on, axis] == 0).all() and (free[~on, axis] == 1).all()
    hole = np.abs(points[mesh.cells["triangle"]].mean(1) - 0.5).max(1) > 0.2
    kept = mesh.cells["triangle"][hole]
    numbers, cells = np.unique(kept, return_inverse=True)
    holed = Mesh(points[numbers], {"triangle": cells.reshape(kept.shape)})
    free = freedom(holed, simplices(holed))
    from sciml.training.encoding.cells import _outer

    rim = np.unique(_outer(simplices(holed)))
    inner = rim[(np.abs(holed.points()[rim] - 0.5) < 0.4).all(1)]
    assert len(inner) >= 6 and (free[inner] == 0).all()
    assert free.max() <= 1 and ((free > 0) & (free < 1)).any()


@pytest.mark.parametrize("mover", ["potential", "random"])
@pytest.mark.parametrize("wild", [1.0, 1e3])
def test_no_cell_is_turned_over_whatever_the_weights(mover, wild):
    """Nor does any node leave the box."""
    torch.manual_seed(3)
    net = make(mover, size=0.03 * wild)
    batch = together(sample(9), sample(6, 1), sample(7, 2))
    with torch.no_grad():
        for p in net.parameters():
            p.normal_().mul_(wild)
    before, after = (areas(p, batch.cells) for p in (batch.points, net.moved(**batch.arguments())))
    assert (after >= 0.999 * LEAST * before).all()
    assert abs(float(after.sum() - before.sum())) < 1e-9
    assert torch.isfinite(net(**batch.arguments())).all()


def test_each_sample_has_a_safeguard_of_its_own():
    batch = together(sample(), sample(6, 1))
    rows = Rows(batch.graph, None)
    cells = Cells.of(batch.cells, batch.points, rows, None)
    steps = torch.zeros_like(batch.points)
    middle = int(((batch.points - 0.5).abs().sum(1) + 10 * (batch.graph != 1)).argmin())
    steps[middle, 0] = 0.3
    share = safe_share(steps, cells, 2)
    assert share[0] == 1 and 0 < share[1] < 1
    assert (cells.growth(cells.places + share[rows.graph][:, None] * steps) >= LEAST).all()
    assert (cells.growth(cells.places + 2 * share[rows.graph][:, None] * steps) < LEAST).any()
    assert safe_share(torch.full_like(steps, math.nan), cells, 2).tolist() == [0, 0]


def test_a_bump_off_the_diagonal_is_where_nodes_gather():
    """And not where it would be with the axes swapped; the monitor of a bump is largest at its flanks."""
    mesh = square(14)
    points = mesh.points()
    bump = np.exp(-((points - (0.75, 0.3)) ** 2).sum(1) / (2 * 0.08**2))[:, None]
    batch = batch_of(mesh, bump, 0)
    torch.manual_seed(0)
    net = MovingMeshOperator(1, 1, width=8, layers=1, map_width=6, map_modes=8, map_layers=1).double()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    given = batch.arguments()
    before = net.unevenness(**given)
    assert before[1] < 0.8 * before[0]  # having learned nothing
    for _ in range(60):
        optimiser.zero_grad()
        (0 * net(**given).sum()).backward()  # no labels
        optimiser.step()
    after = net.unevenness(**given)
    assert after[1] < 0.4 * before[0] and after[2] == 1
    with torch.no_grad():
        moved = net.moved(**given).numpy()

    def near(places: np.ndarray, centre: tuple[float, float]) -> int:
        return int((((places - centre) ** 2).sum(1) < 0.15**2).sum())

    assert near(moved, (0.75, 0.3)) >= 1.5 * near(points, (0.75, 0.3))
    assert near(moved, (0.3, 0.75)) <= near(points, (0.3, 0.75))
    cells, rows = Cells.of(batch.cells, batch.points, Rows(batch.graph, None), None), Rows(batch.graph, None)
    m = monitor(batch.nodes, cells, rows, batch.edges, batch.edges[1])
    assert abs(float((m * cells.weights).sum()) - 2) < 1e-9
    assert np.linalg.norm(points[int(m.argmax())] - (0.75, 0.3)) < 0.16


def test_swapping_the_axes_swaps_the_moved_mesh():
    batch = sample(9)
    net = make()
    moved = net.moved(**batch.arguments())
    flipped = batch.cells[[0, 2, 1]]
    other = batch.arguments() | {n: getattr(batch, n).flip(1) for n in ("points", "offsets", "free")}
    assert not close(moved, batch.points)
    assert torch.allclose(net.moved(**other | {"cells": flipped}).flip(1), moved, atol=1e-6)


def test_true_to_scale_on_a_long_domain():
    """Nodes move on shares of the extents; offsets of the moved edges are those of the nodes."""
    seen = {}
    batch, lengths = sample(), torch.tensor([[1.0, 0.4]], dtype=torch.float64)
    stretched = batch.arguments() | {"offsets": batch.offsets * lengths, "lengths": lengths}
    net = make("random", size=0.02)
    net.second.network = lambda *a: seen.update(points=a[1], offsets=a[3]) or torch.zeros(len(a[0]), 2).double()
    net(**stretched)
    sender, receiver = batch.edges
    assert close(seen["offsets"], (seen["points"][receiver] - seen["points"][sender]) * lengths)
    assert close(seen["points"], net.moved(**stretched)) and not close(seen["points"], batch.points)


# -- branches --------------------------------------------------------------------------------------------------------


def test_without_a_second_branch_it_is_meshgraphnet_and_a_linear_part():
    batch, net = sample(), make("none")
    plain = build(MeshGraphNet, SIGNATURE, {"width": 12, "layers": 2, "aggregation": "mean"}).double()
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("cut.")})
    given = {n: v for n, v in batch.arguments().items() if n not in ("cells", "free", "lengths")}
    y = net(**given)
    mean = torch.stack([batch.nodes[batch.edges[0, batch.edges[1] == i]].mean(0) for i in range(len(batch.nodes))])
    linear = net.cut(torch.cat((batch.nodes, mean - batch.nodes), 1))
    assert close(y, plain(**given) + linear)


def test_controls_differ_in_nothing_but_the_mesh():
    batch, nets = sample(), {m: make(m) for m in MOVING}
    weights = {k: v for k, v in nets["still"].state_dict().items() if not k.startswith("mover.")}
    for net in nets.values():
        net.load_state_dict(weights, strict=False)
    moved = {m: net.moved(**batch.arguments()) for m, net in nets.items()}
    assert torch.equal(moved["still"], batch.points)
    assert not close(moved["random"], batch.points) and not close(moved["potential"], moved["random"])
    other = CellGraphBatch(**batch.arguments() | {"nodes": batch.nodes.flip(0)})
    assert torch.equal(nets["random"].moved(**other.arguments()), moved["random"])
    assert not close(nets["potential"].moved(**other.arguments()), moved["potential"])
    assert not torch.equal(make("random", seed=1).moved(**batch.arguments()), moved["random"])
    answers = [net(**batch.arguments()) for net in nets.values()]
    assert not close(answers[0], answers[1]) and not close(answers[1], answers[2])
    still, again = nets["still"], make("none")
    again.load_state_dict({k: v for k, v in weights.items() if k in again.state_dict()})
    second = make("none")
    state = {k.removeprefix("second."): v for k, v in weights.items() if k.startswith("second.")}
    second.load_state_dict(state, strict=False)
    second.cut = None
    expected = again(**batch.arguments()) + second(**batch.arguments())
    assert torch.allclose(still(**batch.arguments()), expected, atol=0.05 * float(expected.detach().std()))


def test_random_steps_are_as_large_as_asked():
    mesh = square(24)
    batch = batch_of(mesh, np.zeros((mesh.size, 2)))
    steps = make("random", size=0.02).moved(**batch.arguments()) - batch.points
    assert float(steps.square().sum(1).mean().sqrt()) == pytest.approx(0.02, rel=0.1)


def test_the_mover_learns_by_its_own_residual_alone():
    batch, net = sample(), make()
    y = net(**batch.arguments())
    y.square().sum().backward()
    first = {n: p.grad.clone() for n, p in net.named_parameters()}
    net.zero_grad()
    (100 * net(**batch.arguments()).square().sum()).backward()
    for n, p in net.named_parameters():
        if n.startswith("mover."):
            assert close(p.grad, first[n]), n
        else:
            assert close(p.grad, 100 * first[n]), n
    x: Any = torch.ones(3, requires_grad=True)
    loss: Any = torch.tensor(2.0, requires_grad=True)
    answer = beside(x, loss)
    assert torch.equal(answer, x)
    (5 * answer.sum()).backward()
    assert x.grad.tolist() == [5, 5, 5] and loss.grad == 1
    net.eval()
    assert torch.equal(net(**batch.arguments()), y)


# -- what operators promise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mover", MOVERS)
def test_numbers_of_nodes_edges_and_cells_are_names(mover):
    net, batch = make(mover), sample()
    y = net(**batch.arguments())
    n = len(batch.nodes)
    order, shuffle = torch.randperm(n), torch.randperm(batch.edges.shape[1])
    place = torch.argsort(order)
    moved = {k: getattr(batch, k)[order] for k in ("nodes", "points", "graph", "free")}
    moved |= {"edges": place[batch.edges][:, shuffle], "offsets": batch.offsets[shuffle]}
    moved["cells"] = place[batch.cells][:, torch.randperm(batch.cells.shape[1])]
    assert torch.allclose(net(**batch.arguments() | moved), y[order], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mover", MOVERS)
def test_a_batch_of_two_is_two_singles(mover):
    net, parts = make(mover), (sample(), sample(5, 3))
    both = net(**together(*parts).arguments())
    alone = torch.cat([net(**p.arguments()) for p in parts])
    assert torch.allclose(both, alone, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mover", MOVERS)
def test_nodes_that_fill_up_a_batch_never_matter(mover):
    """Not even with NaN in them, edges to them and cells of them, in values and in gradients."""
    net, batch = make(mover), sample()
    y, n = net(**batch.arguments()), len(batch.nodes)
    nan = torch.full((3, 2), math.nan, dtype=torch.float64)
    more = {
        "nodes": torch.cat((batch.nodes, nan)).requires_grad_(),
        "points": torch.cat((batch.points, nan)),
        "free": torch.cat((batch.free, nan)),
        "edges": torch.cat((batch.edges, torch.tensor([[n, 2, n + 1], [1, n, n + 2]])), 1),
        "cells": torch.cat((batch.cells, torch.tensor([[n], [2], [1]])), 1),
        "offsets": torch.cat((batch.offsets, nan)),
        "graph": torch.cat((batch.graph, batch.graph[:3])),
        "mask": torch.cat((torch.ones(n), torch.zeros(3))),
    }
    padded = net(**batch.arguments() | more)
    assert torch.allclose(padded[:n], y, rtol=1e-6, atol=1e-6) and (padded[n:] == 0).all()
    padded.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    grad = more["nodes"].grad
    assert grad is not None and torch.isfinite(grad).all() and (grad[n:] == 0).all()


@pytest.mark.parametrize("mover", MOVERS)
def test_gradients_types_and_storage(mover, tmp_path):
    net, batch = make(mover), sample()
    y = net(**batch.arguments())
    assert y.dtype == torch.float64
    y.square().sum().backward()
    for label, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    again = MovingMeshOperator(**json.loads(json.dumps(net.config()))).double()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert again.config() == net.config()
    assert torch.equal(again(**batch.arguments()), y)
    single = net.float()(**batch.arguments())
    assert single.dtype == torch.float32 and (single - y).norm() <= 1e-2 * y.norm()


def test_export_for_any_number_of_nodes_and_edges():
    net, batch = make("none").eval(), sample()
    node, edge = torch.export.Dim("node", min=2, max=1 << 20), torch.export.Dim("edge", min=2, max=1 << 22)
    given = {k: v for k, v in batch.arguments().items() if k not in ("cells", "free", "lengths")}
    given["mask"] = torch.ones(len(batch.nodes))
    axes = {"nodes": {0: node}, "points": {0: node}, "edges": {1: edge}, "offsets": {0: edge}, "graph": {0: node}}
    axes |= {"params": None, "mask": {0: node}}
    again = torch.export.export(net, (), given, dynamic_shapes=axes).module()
    other = sample(5, 4)
    found = {k: v for k, v in other.arguments().items() if k in given} | {"mask": torch.ones(len(other.nodes))}
    assert close(again(**found), net(**found))


def test_overfits_one_batch():
    net, batch = make(width=16).float(), together(sample(4), sample(3, 3)).to(dtype=torch.float32)
    target = torch.randn(len(batch.nodes), 2)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    loss = torch.tensor(math.inf)
    for _ in range(120):
        optimiser.zero_grad()
        loss = (net(**batch.arguments()) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1 * target.square().mean().item()


@pytest.mark.parametrize("dimensions", [1, 2])
def test_from_a_signature_without_fields(dimensions):
    net = build(MovingMeshOperator, Signature(0, 2, dimensions), {"width": 8, "layers": 1, "mover": "still"})
    support = Grid((np.linspace(0, 1, 5),) * dimensions)
    points, edges = torch.from_numpy(support.unit().reshape(-1, dimensions)).float(), edges_of(support)
    joined, n = torch.from_numpy(edges), len(points)
    cells = torch.from_numpy(simplices(support).T.copy())
    y = net(
        torch.zeros(n, 0), points, joined, points[joined[1]] - points[joined[0]], torch.zeros(n).long(), cells=cells
    )
    assert y.shape == (n, 2) and torch.isfinite(y).all()


def test_wrong_arguments_are_named():
    batch, net = sample(), make()
    given = batch.arguments()
    for call, message in (
        (lambda: MovingMeshOperator(1, 1, mover="randm"), "did you mean 'random'"),
        (lambda: MovingMeshOperator(1, 1, 3), "expected data on 1 or 2 axes, got 3"),
        (lambda: MovingMeshOperator(0, 1), "needs fields at the nodes"),
        (lambda: MovingMeshOperator(2, 1, watched=[2]), r"watched: expected numbers from 0 to 1, got \[2\]"),
        (lambda: MovingMeshOperator(2, 1, size=-1), "size: expected a number ≥ 0, got -1"),
        (lambda: MovingMeshOperator(2, 1, neighbours=2), "neighbours: expected a whole number ≥ 3"),
        (lambda: MovingMeshOperator(2, 1, periodic=(True,)), "periodic: expected 2 values"),
        (lambda: net(**given | {"cells": None}), r"cells: expected int64 \(3, cell\), got None"),
        (lambda: net(**given | {"cells": batch.cells[:2]}), r"cells: expected int64 \(3, cell\), got torch.int64 \(2"),
        (lambda: net(**given | {"cells": batch.cells + 1}), r"cells: expected numbers from 0 to 63, got 1 to 64"),
        (lambda: net(**given | {"free": batch.free[1:]}), r"free: expected \(64, 2\), got \(63, 2\)"),
        (lambda: net(**given | {"lengths": torch.ones(2)}), r"lengths: expected \(graph or 1, 2\), got \(2,\)"),
    ):
        with pytest.raises(InputError, match=message):
            call()
