"""Recurrent dynamics on sparse sensors, read out by attention at any place and time."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml import registry
from sciml.contracts import Operator, SensorBatch, Signature
from sciml.errors import InputError, positive

FAR = 1e6  # beyond all distances


@registry.operators.register("continuous_from_sparse")
class ContinuousFromSparse(Operator):
    """Fields at any place and time from what sparse sensors measured before.

    Anchors are the states z of the sensors i at instants t₀ < t₁ < ..., of a network that runs along the graph of each
    sensor's `neighbours` nearest ones, the same at every instant:

        m_i = W₁ z_i + W₂ ⟨z⟩ + Σ_j f(o_ij, |o_ij|, ℓ) ⊙ W₃ z_j / n_i,      z ← z + W₄ σ(m),    `rounds` times,
        z_i(t_k) = GRU([s_i(t_k) c, c, x_i, ℓ, t_k − t_{k−1}, p], z_i),

    s being what was measured, c whether it was, o offsets in units of ℓ = N^(−1/d), about the distance between N
    sensors, n_i the number of neighbours, ⟨z⟩ the mean over all sensors, p parameters. The answer at (x, t) attends
    to the nearest sensors j at the latest anchors k that are not later than t:

        h_jk = σ(W₅ z_j(t_k) + W₆ s̃_jk + W₇ [(x_j − x)/ℓ, t − t_k] + b),
        α_jk = softmax_jk (q(γ(x), t − t_κ, p) · h_jk / √width + r (e_j − e₁)/ℓ),    in each head,
        u(x, t) = ⟨Σ α_jk s̃_jk⟩ + MLP(Σ α_jk h_jk, ⟨z(t_κ)⟩, γ(x), t − t_κ, p).

    κ is the latest of these anchors, s̃ the last thing that j measured by t_k, γ sines and cosines of the position,
    e_j − e₁ how much further j is than the nearest sensor, q and r those of each head. What of
    h depends on the sensor alone is worked out once for all queries.

    Nothing that is measured after t changes an answer at t, to the last bit: anchors later than t have no part in it,
    whereas the published code attends to all of them. (Where sensors stand is known from the beginning.) Numbering
    sensors otherwise, sensors that measure nothing, and other queries in the same batch change no answer but by
    rounding. Positions are those of the sample's own domain, not shares of the box around a batch.

    Args:
        channels: fields that are measured, and that are answered.
        dimensions: coordinates of a position.
        n_params: scalar parameters a sample.
        width: channels of a sensor's state; 128 in the paper.
        neighbours: of each sensor in the graph.
        rounds: of messages between two instants; 4 in the paper.
        heads: of the attention.
        reach: sensors that a query attends to at an anchor.
        anchors: that it attends to, the latest ones; all of them in the paper.
        frequencies: γ holds cos(πkx) and sin(πkx), k = 1 ... frequencies.

    Raises:
        InputError: an argument out of range, tensors whose shapes do not fit.

    Source: S. Janny, M. Nadri, J. Digne, C. Wolf, "Space and time continuous physics simulation from partial
    observations", ICLR (2024), for dynamics at sensors, attention at queries and training by sampled queries. There
    only the first instant is measured; edges are those of a triangulation; a recurrent network joins the anchors.
    """

    name, title = "continuous_from_sparse", "continuous from sparse"
    takes: ClassVar[type[SensorBatch]] = SensorBatch
    asks_times: ClassVar[bool] = True
    solver: ClassVar[str] = "sensor_surrogate"
    decided: ClassVar[dict[str, str]] = {
        "channels": "channels_out", "dimensions": "dimensions", "n_params": "n_params"
    }  # fmt: skip

    def __init__(
        self,
        channels: int,
        dimensions: int = 2,
        n_params: int = 0,
        *,
        width: int = 48,
        neighbours: int = 6,
        rounds: int = 2,
        heads: int = 4,
        reach: int = 8,
        anchors: int = 2,
        frequencies: int = 6,
    ):
        super().__init__()
        given = locals()
        names = ("channels", "dimensions", "n_params", "width", "neighbours", "rounds", "heads", "reach", "anchors",
                 "frequencies")  # fmt: skip
        self.settings = {n: positive(n, given[n], 0 if n in ("n_params", "frequencies") else 1) for n in names}
        c, d, p, w = channels, dimensions, n_params, width
        place = d * (1 + 2 * frequencies)
        self.edge = _perceptron(d + 2, w, w)
        self.own, self.mean, self.sent, self.moved = (nn.Linear(w, w) for _ in range(4))
        self.cell = nn.GRUCell(c + 1 + place + 2 + p, w)
        self.asked = _perceptron(place + 1 + p, w, heads * w)
        self.told, self.apart = nn.Linear(w + c, w), nn.Linear(d + 1, w, bias=False)
        self.nearness = nn.Parameter(torch.linspace(-4.0, -1.0, heads))
        self.carried = nn.Linear(heads, 1, bias=False)
        nn.init.constant_(self.carried.weight, 1.0 / heads)
        self.answer = nn.Sequential(
            nn.Linear((heads + 1) * w + place + 1 + p, 2 * w),
            nn.GELU(),
            nn.Linear(2 * w, 2 * w),
            nn.GELU(),
            nn.Linear(2 * w, c),
        )

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        return cls(signature.channels_out, signature.dimensions, signature.n_params, **options)

    def config(self) -> dict[str, Any]:
        return dict(self.settings)

    def forward(
        self,
        values: Float[Tensor, "batch instant sensor channel"],
        seen: Float[Tensor, "batch instant sensor"],
        sensors: Float[Tensor, "batch sensor dimension"],
        instants: Float[Tensor, "batch instant"],
        points: Float[Tensor, "batch query coordinate"],
        params: Float[Tensor, "batch n_params"] | None = None,
    ) -> Float[Tensor, "batch query channel"]:
        """Apply the operator; arguments as of `SensorBatch`.

        Returns:
            (batch, query, channels).
        """
        self._check(values, seen, sensors, instants, points, params)
        known = torch.zeros_like(instants[:, :0]) if params is None else params
        values = torch.where(seen[..., None] > 0, values, torch.zeros_like(values))
        states, latest = self.anchors(values, seen, sensors, instants, known)
        real = seen.amax(1)
        where, when = points[..., :-1], points[..., -1]
        kappa = (instants[:, None] <= when[..., None]).sum(-1) - 1  # the latest anchor not after the query
        back = kappa[..., None] - torch.arange(self.settings["anchors"], device=points.device)
        allowed = back >= 0
        back = back.clamp_min(0)
        gap, near = _nearest(where, sensors, real, self.settings["reach"])
        rows = torch.arange(len(points), device=points.device)[:, None, None, None]
        pick = (rows, back[:, :, :, None], near[:, :, None, :])  # (batch, query, anchor, sensor)
        told, last = self.told(torch.cat([states, latest], -1))[pick], latest[pick]
        since = (when[..., None] - instants.gather(1, back.flatten(1)).reshape(back.shape))[..., None, None]
        spacing = self._spacing(sensors, real)[:, None, None]
        offset = ((sensors[rows[..., 0], near] - where[:, :, None]) / spacing[..., None])[:, :, None]
        apart = torch.cat([offset.expand(*told.shape[:-1], -1), since.expand(*told.shape[:-1], 1)], -1)
        known_there = nn.functional.gelu(told + self.apart(apart))  # (batch, query, anchor, sensor, width)
        place, extra = self._place(where), known[:, None].expand(-1, where.shape[1], -1)
        heads, width = self.settings["heads"], self.settings["width"]
        query = self.asked(torch.cat([place, since[:, :, 0, :, 0], extra], -1)).unflatten(-1, (heads, width))
        score = torch.einsum("bqhw,bqasw->bqash", query, known_there) / width**0.5
        further = (gap - gap[..., :1]) / spacing
        score = score + self.nearness * further[:, :, None, :, None]
        usable = allowed[..., None] & (real[rows[..., 0], near] > 0)[:, :, None]
        share = _softmax(score, usable)
        attended = torch.einsum("bqash,bqasw->bqhw", share, known_there).flatten(-2)
        simple = (self.carried(share) * last).sum((2, 3))
        whole = _mean(states, real[:, None])[rows[:, :, 0, 0], kappa.clamp_min(0)]
        return simple + self.answer(torch.cat([attended, whole, place, since[:, :, 0, :, 0], extra], -1))

    def anchors(
        self, values: Tensor, seen: Tensor, sensors: Tensor, instants: Tensor, params: Tensor
    ) -> tuple[Float[Tensor, "batch instant sensor width"], Float[Tensor, "batch instant sensor channel"]]:
        """States of the sensors at all instants, and the last thing that each had measured by then, 0 before any."""
        real = seen.amax(1)
        gap, near = _nearest(sensors, sensors, real, self.settings["neighbours"] + 1)
        gap, near = gap[..., 1:], near[..., 1:]  # the nearest is the sensor itself
        rows = torch.arange(len(sensors), device=sensors.device)[:, None, None]
        there = real[rows, near]
        spacing = self._spacing(sensors, real)[:, None, None]
        offset = (sensors[rows, near] - sensors[:, :, None]) / spacing[..., None]
        size = torch.log(spacing)
        edges = [offset, (gap / spacing)[..., None], size[..., None].expand(*near.shape, 1)]
        gate = self.edge(torch.cat(edges, -1)) * there[..., None]
        gate = gate / there.sum(-1).clamp_min(1)[..., None, None]
        n = sensors.shape[1]
        fixed = torch.cat([self._place(sensors), size.expand(-1, n, 1), params[:, None].expand(-1, n, -1)], -1)
        z = values.new_zeros(*sensors.shape[:2], self.settings["width"])
        last = torch.zeros_like(values[:, 0])
        states, latest = [], []
        for k in range(instants.shape[1]):
            for _ in range(self.settings["rounds"] if k else 0):
                arrived = (gate * self.sent(z)[rows, near]).sum(2)
                m = self.own(z) + self.mean(_mean(z, real))[:, None] + arrived
                z = z + self.moved(nn.functional.gelu(m))
            passed = instants[:, k] - instants[:, max(k - 1, 0)]
            here = seen[:, k, :, None]
            came = torch.cat([values[:, k], here, fixed, passed[:, None, None].expand(*here.shape)], -1)
            z = self.cell(came.flatten(0, 1), z.flatten(0, 1)).unflatten(0, here.shape[:2])
            last = torch.where(here > 0, values[:, k], last)
            states.append(z)
            latest.append(last)
        return torch.stack(states, 1), torch.stack(latest, 1)

    def _spacing(self, sensors: Tensor, real: Tensor) -> Float[Tensor, " batch"]:
        """ℓ as the edge of the cube of a sensor's share of a unit cube: known without a neighbour."""
        return real.sum(-1).clamp_min(1) ** (-1.0 / sensors.shape[-1])

    def _place(self, x: Tensor) -> Tensor:
        waves = torch.pi * torch.arange(1, self.settings["frequencies"] + 1, dtype=x.dtype, device=x.device)
        phase = (x[..., None] * waves).flatten(-2)
        return torch.cat([x, phase.cos(), phase.sin()], -1)

    def _check(
        self, values: Tensor, seen: Tensor, sensors: Tensor, instants: Tensor, points: Tensor, params: Tensor | None
    ) -> None:
        c, d, p = (self.settings[n] for n in ("channels", "dimensions", "n_params"))
        for name, tensor, rank in (("values", values, 4), ("seen", seen, 3), ("sensors", sensors, 3),
                                   ("instants", instants, 2), ("points", points, 3)):  # fmt: skip
            if tensor.ndim != rank:
                raise InputError(f"{name}: expected {rank} axes, got shape {tuple(tensor.shape)}")
        b, k, n, _ = values.shape
        wanted = (
            ("values", values, (b, k, n, c)), ("seen", seen, (b, k, n)), ("sensors", sensors, (b, n, d)),
            ("instants", instants, (b, k)), ("points", points, (b, points.shape[1], d + 1)),
        )  # fmt: skip
        for name, tensor, shape in wanted:
            if tuple(tensor.shape) != shape:
                raise InputError(f"{name}: expected shape {shape}, got {tuple(tensor.shape)}")
        if (params is None) != (p == 0) or (params is not None and tuple(params.shape) != (b, p)):
            got = "none" if params is None else f"shape {tuple(params.shape)}"
            raise InputError(f"params: expected shape {(b, p)}, got {got}")


def _perceptron(inside: int, hidden: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, hidden), nn.GELU(), nn.Linear(hidden, outside))


def _mean(z: Tensor, real: Tensor) -> Tensor:
    """Over the sensors that are ones."""
    return (z * real[..., None]).sum(-2) / real.sum(-1, keepdim=True).clamp_min(1)


def _softmax(score: Tensor, usable: Tensor) -> Tensor:
    """Over anchors and sensors together, (batch, query, anchor, sensor, head); 0 where nothing is usable."""
    score = score.masked_fill(~usable[..., None], -FAR)
    share = torch.softmax(score.flatten(2, 3), 2).unflatten(2, score.shape[2:4])
    return share * usable[..., None]


def _nearest(places: Tensor, sensors: Tensor, real: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances and numbers of the sensors nearest to each place, the nearest first. Those equally far are told apart
    by where they lie, never by their number."""
    offset = sensors[:, None] - places[:, :, None]
    square = offset.square().sum(-1)
    lean = torch.arange(1, offset.shape[-1] + 1, dtype=offset.dtype, device=offset.device).sqrt()
    order = square * (1 + 1e-4 * (offset / square.sqrt().clamp_min(1e-12)[..., None] * lean).sum(-1))
    order = order + FAR * (1 - real[:, None])
    near = order.topk(min(count, sensors.shape[1]), largest=False).indices
    return square.gather(2, near).sqrt(), near
