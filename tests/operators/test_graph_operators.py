"""Operators on graphs: messages by hand, what they must not depend on, rewiring, and all that operators promise."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.spatial import Delaunay
from torch import Tensor

from sciml import registry
from sciml.contracts import CurvedGraphBatch, FunctionSignature, GraphBatch, Signature, build
from sciml.errors import InputError
from sciml.operators import PIORF, MeshGraphNet, _rewiring
from sciml.operators._graph import Messages, summed
from sciml.support import Grid, Mesh
from sciml.training.encoding.curvature import node_curvature
from sciml.training.encoding.graph import edges as edges_of

SIGNATURE = Signature(3, 2, 2, n_params=2)
SMALL = {"width": 12, "layers": 3}
NAMES = ("meshgraphnet", "piorf")


def sample(count: int = 30, seed: int = 0, channels: int = 3) -> CurvedGraphBatch:
    """A mesh of triangles between random points, in float64."""
    rng = np.random.default_rng(seed)
    position = rng.random((count, 2))
    edges = edges_of(Mesh(position, {"triangle": Delaunay(position).simplices}))
    points, joined = torch.from_numpy(position), torch.from_numpy(edges)
    return CurvedGraphBatch(
        torch.from_numpy(rng.normal(size=(count, channels))),
        points,
        joined,
        points[joined[1]] - points[joined[0]],
        torch.zeros(count, dtype=torch.int64),
        torch.from_numpy(rng.normal(size=(1, 2))),
        curvature=torch.tensor(node_curvature(edges, count)),
        lengths=torch.ones(1, 2, dtype=torch.float64),
    )


def together(*samples: CurvedGraphBatch) -> CurvedGraphBatch:
    start, edges, graph = 0, [], []
    for k, s in enumerate(samples):
        edges.append(s.edges + start)
        graph.append(torch.full_like(s.graph, k))
        start += len(s.nodes)
    rest = ("nodes", "points", "offsets", "params", "curvature", "lengths")
    return CurvedGraphBatch(
        edges=torch.cat(edges, 1),
        graph=torch.cat(graph),
        **{n: torch.cat([getattr(s, n) for s in samples]) for n in rest},
    )


def arguments(name: str, batch: CurvedGraphBatch, **other) -> dict:
    found = batch.arguments() | other
    if registry.operators.get(name).takes is GraphBatch:
        del found["curvature"], found["lengths"]
    return found


def make(name: str, **options):
    torch.manual_seed(1)
    return build(registry.operators.get(name), SIGNATURE, SMALL | options).double()


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-11, atol=1e-11)


# -- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [False, True])
def test_sums_over_edges_against_loops(mean):
    values, target = torch.randn(40, 3, dtype=torch.float64), torch.randint(9, (40,))
    target[target == 4] = 5  # nothing arrives there
    found = summed(values, target, 9, mean)
    for i in range(9):
        own = values[target == i]
        expected = own.sum(0) / (max(len(own), 1) if mean else 1)
        assert close(found[i], expected)
    assert (found[4] == 0).all()
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: summed(v, target, 9, mean), (values,))


@pytest.mark.parametrize("mean", [False, True])
def test_a_round_of_messages_is_what_the_paper_writes(mean):
    """The first affine map taken apart is the one of all three put together, edge by edge."""
    torch.manual_seed(0)
    block, batch = Messages(6, 3, "gelu", mean).double(), sample()
    nodes = torch.randn(30, 6, dtype=torch.float64)
    links = torch.randn(batch.edges.shape[1], 6, dtype=torch.float64)
    sender, receiver = batch.edges
    message = block.message(block.join(torch.cat((nodes[sender], nodes[receiver], links), 1)))
    arrived = torch.stack(
        [message[receiver == i].mean(0) if mean else message[receiver == i].sum(0) for i in range(30)]
    )
    found = block(nodes, links, batch.edges, receiver)
    assert close(found[0], nodes + block.update(torch.cat((nodes, arrived), 1)))
    assert close(found[1], links + message)


def test_an_answer_depends_on_as_many_edges_as_there_are_rounds():
    n = 9
    line = torch.arange(n - 1)
    edges = torch.stack((torch.cat((line, line + 1)), torch.cat((line + 1, line))))
    points = torch.stack((torch.linspace(0, 1, n), torch.zeros(n)), 1).double()
    nodes = torch.randn(n, 3, dtype=torch.float64).requires_grad_()
    net = make("meshgraphnet", layers=3, activation="gelu")
    graph = torch.zeros(n, dtype=torch.int64)
    y = net(nodes, points, edges, points[edges[1]] - points[edges[0]], graph, torch.zeros(1, 2))
    (g,) = torch.autograd.grad(y[0].sum(), nodes)
    assert [bool(v) for v in g.abs().amax(1) > 0] == [True] * 4 + [False] * 5


# -- what must not matter --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_nodes_and_edges_are_names(name):
    net, batch = make(name), sample()
    y = net(**arguments(name, batch))
    order, shuffle = torch.randperm(30), torch.randperm(batch.edges.shape[1])
    place = torch.argsort(order)
    moved = {n: getattr(batch, n)[order] for n in ("nodes", "points", "graph", "curvature")}
    moved |= {"edges": place[batch.edges][:, shuffle], "offsets": batch.offsets[shuffle]}
    assert close(
        net(**arguments(name, batch) | {k: v for k, v in moved.items() if k in arguments(name, batch)}), y[order]
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rewiring", ["curvature", "random", "two_hubs"])
def test_a_batch_of_two_is_two_singles(name, rewiring):
    net, parts = (
        make(name, **({"rewiring": rewiring, "share": 0.1} if name == "piorf" else {})),
        (sample(), sample(17, 3)),
    )
    both = net(**arguments(name, together(*parts)))
    assert close(both, torch.cat([net(**arguments(name, p)) for p in parts]))


@pytest.mark.parametrize("name", NAMES)
def test_nodes_that_fill_up_a_batch_never_matter(name):
    """Not even with NaN in them and edges to them, in values and in gradients."""
    net, batch = make(name, **({"share": 0.1} if name == "piorf" else {})), sample()
    y = net(**arguments(name, batch))
    nan = torch.full((3, 3), math.nan, dtype=torch.float64)
    more = {
        "nodes": torch.cat((batch.nodes, nan)).requires_grad_(),
        "points": torch.cat((batch.points, nan[:, :2])),
        "edges": torch.cat((batch.edges, torch.tensor([[30, 2, 31], [1, 30, 32]])), 1),
        "offsets": torch.cat((batch.offsets, nan[:, :2])),
        "graph": torch.cat((batch.graph, batch.graph[:3])),
        "mask": torch.cat((torch.ones(30), torch.zeros(3))),
    }
    if name == "piorf":
        more["curvature"] = torch.cat((batch.curvature, nan[:, 0]))
    padded = net(**arguments(name, batch) | more)
    assert close(padded[:30], y) and (padded[30:] == 0).all()
    padded.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    grad = more["nodes"].grad
    assert grad is not None and torch.isfinite(grad).all() and (grad[30:] == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_without_positions_a_shift_changes_nothing(name):
    batch = sample()
    shifted = arguments(name, batch) | {"points": batch.points + 2.0}
    net = make(name, positions=False)
    assert close(net(**shifted), net(**arguments(name, batch)))
    net = make(name)
    assert not close(net(**shifted), net(**arguments(name, batch)))


def test_the_unit_of_offsets_enters_through_their_logarithm_alone():
    """Edge features are relative to the mean spacing; that spacing itself is told to the nodes."""
    net, batch = make("meshgraphnet"), sample()
    given = arguments("meshgraphnet", batch)
    y, larger = net(**given), net(**given | {"offsets": 3 * batch.offsets})
    assert not close(y, larger)
    with torch.no_grad():
        net.node_encoder[0].weight[:, 3] = 0  # what makes of the logarithm
    assert close(net(**given), net(**given | {"offsets": 3 * batch.offsets}))


# -- rewiring --------------------------------------------------------------------------------------------------------


def pairs_of(net: PIORF, b: CurvedGraphBatch) -> set[tuple[int, int]]:
    return set(map(tuple, net.pairs(b.nodes, b.points, b.edges, b.graph, b.mask, b.curvature).T.tolist()))


def test_without_rewiring_it_is_meshgraphnet():
    batch = sample()
    plain, net = make("meshgraphnet"), make("piorf", rewiring="none")
    net.load_state_dict(plain.state_dict())
    assert torch.equal(net(**batch.arguments()), plain(**arguments("meshgraphnet", batch)))
    net = make("piorf")
    net.load_state_dict(plain.state_dict())
    assert not close(net(**batch.arguments()), plain(**arguments("meshgraphnet", batch)))


def test_rewired_by_hand():
    """Every bottleneck with the node, none of its neighbours, whose state is farthest away."""
    net, b = make("piorf", share=0.1), sample()
    low = np.argsort(b.curvature.numpy())[:3]
    joined = set(map(tuple, b.edges.T.tolist()))
    expected = set()
    for i in low.tolist():
        others = [j for j in range(30) if j != i and (i, j) not in joined]
        j = max(others, key=lambda j: float((b.nodes[i] - b.nodes[j]).square().sum()))
        expected.add((min(i, j), max(i, j)))
    assert pairs_of(net, b) == expected


@pytest.mark.parametrize("rewiring", ["curvature", "random", "two_hubs"])
def test_new_edges_are_no_loops_and_none_that_were_there(rewiring):
    net, parts = make("piorf", rewiring=rewiring, share=0.2), (sample(50), sample(40, 5))
    b = together(*parts)
    pairs = net.pairs(b.nodes, b.points, b.edges, b.graph, None, b.curvature)
    assert (pairs[0] < pairs[1]).all() and torch.equal(b.graph[pairs[0]], b.graph[pairs[1]])
    joined = set(map(tuple, b.edges.T.tolist()))
    assert not joined & set(map(tuple, pairs.T.tolist())) and len(pairs_of(net, b)) == pairs.shape[1]
    if rewiring == "random":
        assert pairs.shape[1] == len(pairs_of(make("piorf", share=0.2), b))
        again, other = make("piorf", rewiring=rewiring, share=0.2), make("piorf", rewiring=rewiring, share=0.2, seed=1)
        assert pairs_of(again, b) == pairs_of(net, b) != pairs_of(other, b)


def test_two_hubs_end_at_the_largest_and_the_least():
    net, b = make("piorf", rewiring="two_hubs", share=0.3), sample(60)
    scalar = (b.nodes @ net.projection.double())[:, 0]
    hubs = {int(scalar.argmax()), int(scalar.argmin())}
    near = {int(s) for s, r in b.edges.T.tolist() if r in hubs} | hubs
    for i, j in pairs_of(net, b):
        assert {i, j} & hubs or {i, j} & near
    ends = np.bincount(np.array(list(pairs_of(net, b))).ravel(), minlength=60)
    assert ends[list(hubs)].sum() >= 0.8 * len(pairs_of(net, b))
    many = np.bincount(np.array(list(pairs_of(make("piorf", share=0.3), b))).ravel(), minlength=60)
    assert (many > 0).sum() > (ends > 0).sum()


def test_among_equals_places_decide_not_numbers(monkeypatch):
    """On a grid nearly all curvatures are equal, and here many states are; nor does it matter how many rows of
    distances are worked out at once."""
    edges = edges_of(Grid((np.linspace(0.0, 1.0, 8), np.linspace(0.0, 1.0, 7))))
    rng, curvature = np.random.default_rng(0), node_curvature(edges, 42)
    points = torch.from_numpy(rng.permutation(42)[:, None] + rng.random((42, 2)))
    state = torch.from_numpy(rng.integers(0, 2, (42, 1)).astype(float))
    graph, net = torch.zeros(42, dtype=torch.int64), PIORF(1, 1, share=0.2)
    found = net.pairs(state, points, torch.from_numpy(edges), graph, None, torch.tensor(curvature))
    order = rng.permutation(42)
    place = np.argsort(order)
    moved = torch.from_numpy(place[edges])
    other = net.pairs(state[order], points[order], moved, graph, None, torch.tensor(node_curvature(place[edges], 42)))
    back = order[other.numpy()]
    assert set(map(tuple, np.sort(back, 0).T.tolist())) == set(map(tuple, found.T.tolist())) and found.shape[1] > 3
    monkeypatch.setattr(_rewiring, "AT_ONCE", 1)
    again = net.pairs(state, points, torch.from_numpy(edges), graph, None, torch.tensor(curvature))
    assert torch.equal(again, found)


def test_rewiring_follows_the_state():
    net, b = make("piorf", compared=[1], share=0.1), sample()
    other = CurvedGraphBatch(**b.arguments() | {"nodes": torch.cat((b.nodes[:, :1] + 9, b.nodes[:, 1:]), 1)})
    assert pairs_of(net, other) == pairs_of(net, b)  # a channel that is not compared
    other.nodes[7, 1] = 50.0
    assert all(
        7 in pair or (7, i) in set(map(tuple, b.edges.T.tolist())) for pair in pairs_of(net, other) for i in pair
    )
    rest = CurvedGraphBatch(**b.arguments() | {"nodes": torch.ones_like(b.nodes)})
    assert pairs_of(net, rest) == set()  # nothing differs from anything


def test_new_edges_have_the_offset_of_the_domain():
    b = sample()
    net = make("piorf")
    lengths = torch.tensor([[1.0, 0.25]], dtype=torch.float64)
    there = torch.tensor([[3], [8]])
    assert close(net.offsets(b.points, there, b.graph, lengths)[0], (b.points[8] - b.points[3]) * lengths[0])
    around = PIORF(3, 2, 2, 2, periodic=(True, False))
    points = torch.tensor([[0.1, 0.1], [0.9, 0.9]])
    found = around.offsets(points, torch.tensor([[0], [1]]), b.graph, torch.ones(1, 2))
    assert torch.allclose(found, torch.tensor([[-0.2, 0.8]]))


# -- what operators promise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_from_a_signature_without_fields(name, dimensions):
    options = {"rewiring": "none"} if name == "piorf" else {}
    net = build(registry.operators.get(name), Signature(0, 2, dimensions), SMALL | options)
    points = torch.rand(4, dimensions)
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    y = net(torch.zeros(4, 0), points, edges, points[edges[1]] - points[edges[0]], torch.zeros(4, dtype=torch.int64))
    assert y.shape == (4, 2) and torch.isfinite(y).all()
    nothing = net(torch.zeros(4, 0), points, edges[:, :0], points[:0], torch.zeros(4, dtype=torch.int64))
    assert torch.isfinite(nothing).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_types_and_storage(name, tmp_path):
    net, batch = make(name, compared=[0, 1]) if name == "piorf" else make(name), sample()
    y = net(**arguments(name, batch))
    assert y.shape == (30, 2) and y.dtype == torch.float64
    y.square().sum().backward()
    for label, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    again = registry.operators.get(name)(**json.loads(json.dumps(net.config()))).double()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert again.config() == net.config()
    assert torch.equal(again(**arguments(name, batch)), y)
    single = net.float()(**arguments(name, batch))  # computes in the dtype of its weights
    assert single.dtype == torch.float32 and (single - y).norm() <= 1e-4 * y.norm()


@pytest.mark.parametrize("name", NAMES)
def test_export_for_any_number_of_nodes_and_edges(name, tmp_path):
    """The network after the graph is built."""
    net = make(name, **({"rewiring": "none"} if name == "piorf" else {})).eval()
    batch = sample()
    node, edge = torch.export.Dim("node", min=2, max=1 << 20), torch.export.Dim("edge", min=2, max=1 << 22)
    given = {k: v for k, v in arguments(name, batch).items() if k not in ("curvature", "lengths")}
    given["mask"] = torch.ones(30)
    axes = {"nodes": {0: node}, "points": {0: node}, "edges": {1: edge}, "offsets": {0: edge}, "graph": {0: node}}
    axes |= {"params": None, "mask": {0: node}}
    program = torch.export.export(net, (), given, dynamic_shapes=axes)
    torch.export.save(program, tmp_path / "net.pt2")
    again = torch.export.load(tmp_path / "net.pt2").module()
    other = sample(57, 4)
    found = {k: v for k, v in arguments(name, other).items() if k in given} | {"mask": torch.ones(57)}
    assert close(again(**found), net(**found))


@pytest.mark.parametrize("name", NAMES)
def test_overfits_one_batch(name):
    net, batch = make(name, width=16).float(), together(sample(), sample(17, 3)).to(dtype=torch.float32)
    target = torch.randn(47, 2)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss = torch.tensor(math.inf)
    for _ in range(200):
        optimiser.zero_grad()
        loss = (net(**arguments(name, batch)) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01 * target.square().mean().item()


def test_wrong_arguments_are_named():
    net, b = make("meshgraphnet"), sample()
    given = arguments("meshgraphnet", b)
    far = b.edges.clone()
    far[0, 3] = 30
    broken = b.offsets.clone()
    broken[5, 0] = math.nan
    halves = torch.zeros_like(b.graph)
    halves[15:] = 1
    two = {"graph": halves, "params": b.params.repeat(2, 1)}
    functions = Signature(1, 1, 2, functions=(FunctionSignature("inflow", 1, 1),))
    none = torch.zeros(0, 3, dtype=torch.float64)
    for call, message in (
        (lambda: MeshGraphNet(1, 1, activation="rellu"), "did you mean 'relu'"),
        (lambda: MeshGraphNet(1, 1, aggregation="max"), r"aggregation: expected one of \('sum', 'mean'\), got 'max'"),
        (lambda: MeshGraphNet(1, 1, layers=0), "layers: expected a whole number ≥ 1"),
        (lambda: MeshGraphNet(1, 1, depth=1), "depth: expected a whole number ≥ 2"),
        (lambda: build(MeshGraphNet, functions, {}), "meshgraphnet: functions: expected none .* got inflow"),
        (lambda: PIORF(1, 1, rewiring="curvture"), "did you mean 'curvature'"),
        (lambda: PIORF(1, 1, share=0), "share: expected a number above 0 and up to 1, got 0"),
        (lambda: PIORF(2, 1, compared=[2]), "compared: expected numbers from 0 to 1, got 2"),
        (lambda: PIORF(0, 1), "piorf needs fields at the nodes, .*; for steady data use meshgraphnet"),
        (lambda: PIORF(1, 1, 2, periodic=(True,)), "periodic: expected 2 values"),
        (lambda: make("piorf")(**given), r"PIORF: curvature: expected \(30,\), got None"),
        (lambda: net(**given | {"nodes": b.nodes[:, :2]}), r"nodes: expected floating-point \(node, 3\)"),
        (lambda: net(**given | {"nodes": none}), "nodes: expected at least one, got an empty graph"),
        (lambda: net(**given | {"points": torch.rand(30, 3)}), r"points: expected \(30, 2\), got \(30, 3\)"),
        (lambda: net(**given | {"edges": b.edges.int()}), r"edges: expected int64 \(2, edge\), got torch.int32"),
        (lambda: net(**given | {"edges": far}), "edges: expected numbers from 0 to 29, got 0 to 30"),
        (lambda: net(**given | {"offsets": b.offsets[1:]}), "offsets: expected"),
        (lambda: net(**given | {"offsets": broken}), r"offsets: expected finite numbers, got \[nan"),
        (lambda: net(**given | {"graph": b.graph + 1}), "graph: expected numbers from 0 to 0, got 1 to 1"),
        (lambda: net(**given | {"nodes": b.nodes / 0}), r"nodes: expected numbers, got nan or inf, first at \["),
        (lambda: net(**given | {"nodes": b.nodes.numpy()}), "nodes: expected a torch.Tensor, got ndarray"),
        (lambda: net(**given | two), "joins samples (0 and 1|1 and 0), expected one sample"),
        (lambda: net(**given | {"params": None}), r"params: expected \(graph, 2\), got None"),
        (lambda: net(**given | {"mask": torch.ones(31)}), r"mask: expected \(30,\), got \(31,\)"),
    ):
        with pytest.raises(InputError, match=message):
            call()
