"""The attentive neural process: sets stay sets, draws add up, and training raises the bound."""

import math

import numpy as np
import pytest
import torch

from sciml.errors import InputError
from sciml.processes import AttentiveNeuralProcess
from sciml.processes.attentive import Attention, divergence

SMALL = {"width": 16, "heads": 2, "depth": 2}


def made(**options):
    torch.manual_seed(0)
    return AttentiveNeuralProcess(**(SMALL | options)).double().eval()


def some(batch=3, given=7, points=5):
    r = torch.Generator().manual_seed(1)
    sizes = ((batch, given, 2), (batch, given, 1), (batch, points, 2), (batch, points, 1), (batch, 16))
    return [torch.randn(*s, generator=r, dtype=torch.float64) for s in sizes]


def test_it_is_as_large_as_the_published_one():
    net = AttentiveNeuralProcess()
    assert sum(p.numel() for p in net.parameters()) == 989_826
    assert len(list(net.parameters())) == 66
    again = AttentiveNeuralProcess(**net.config())
    again.load_state_dict(net.state_dict())


def test_attention_is_its_formula():
    torch.manual_seed(3)
    layer = Attention(6, 2, 0.0).double()
    q, k, v = (torch.randn(1, n, 6, dtype=torch.float64) for n in (2, 4, 4))
    a, b, c = (m.weight.detach().numpy() for m in (layer.query, layer.key, layer.value))
    found = np.zeros((2, 6))
    for i in range(2):
        for h in (slice(0, 3), slice(3, 6)):
            scores = np.array([(a @ q[0, i].numpy())[h] @ (b @ k[0, j].numpy())[h] for j in range(4)]) / math.sqrt(3)
            weights = np.exp(scores) / np.exp(scores).sum()
            found[i, h] = sum(w * (c @ v[0, j].numpy())[h] for j, w in enumerate(weights))
    joined = np.concatenate([q[0].numpy(), found], 1) @ layer.joined.weight.detach().numpy().T
    y = q[0].numpy() + joined + layer.joined.bias.detach().numpy()
    y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer(q, k, v)[0].detach().numpy(), y, rtol=0, atol=1e-12)


def test_contexts_are_a_set_and_points_are_answered_one_by_one():
    net, (s, u, x, _, noise) = made(), some()
    mean, deviation = net(s, u, x, noise)
    order, other = torch.randperm(7), torch.tensor([3, 1, 0])
    for found, expected in zip(net(s[:, order], u[:, order], x[:, other], noise), (mean, deviation), strict=True):
        torch.testing.assert_close(found, expected[:, other], rtol=0, atol=1e-12)
    twice = net(torch.cat([s, s], 1), torch.cat([u, u], 1), x, noise)  # what is said twice says no more
    torch.testing.assert_close(twice.mean, mean, rtol=0, atol=1e-12)
    assert float(deviation.detach().min()) > net.least


def test_draws_add_up_as_a_mixture():
    net, (s, u, x, _, _) = made(), some()
    found = net.predict(s, u, x, draws=6, generator=torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    noises = [torch.randn(3, 16, generator=generator, dtype=torch.float64) for _ in range(6)]
    every = [net(s, u, x, noise) for noise in noises]
    means, variances = torch.stack([e.mean for e in every]), torch.stack([e.deviation**2 for e in every])
    torch.testing.assert_close(found.mean, means.mean(0), rtol=0, atol=1e-12)
    expected = variances.mean(0) + means.var(0, unbiased=False)
    torch.testing.assert_close(found.deviation**2, expected, rtol=1e-12, atol=0)


def test_dropout_is_off_when_asked_unless_told():
    s, u, x, _, noise = some()
    plain, dropped = made(dropout=0.4), made(dropout=0.4, dropout_at_evaluation=True)
    dropped.load_state_dict(plain.state_dict())
    torch.testing.assert_close(plain(s, u, x, noise).mean, plain(s, u, x, noise).mean, rtol=0, atol=0)
    torch.testing.assert_close(plain(s, u, x, noise).mean, made(dropout=0.0)(s, u, x, noise).mean, rtol=0, atol=1e-12)
    assert not torch.allclose(dropped(s, u, x, noise).mean, dropped(s, u, x, noise).mean)
    gaps = [dropped.predict(s, u, x, 4).mean - plain.predict(s, u, x, 4).mean for _ in range(2)]
    assert float((gaps[0] - gaps[1]).abs().max()) > 1e-3  # every draw drops anew
    dropped.dropout_at_evaluation = False
    torch.testing.assert_close(dropped(s, u, x, noise).mean, plain(s, u, x, noise).mean, rtol=0, atol=1e-12)


def test_the_bound_is_a_density_less_a_divergence():
    net, (s, u, x, y, noise) = made(), some()
    posterior, prior = net.latent(x, y), net.latent(s, u)
    q, p = (torch.distributions.Normal(m, (v / 2).exp()) for m, v in (posterior, prior))
    gap = torch.distributions.kl_divergence(q, p).sum(-1)
    torch.testing.assert_close(divergence(posterior, prior), gap, rtol=1e-10, atol=0)
    z = posterior[0] + (posterior[1] / 2).exp() * noise
    at = net.answered(net.near(s, u, x), z, x)
    density = torch.distributions.Normal(at.mean, at.deviation).log_prob(y).sum((1, 2))
    torch.testing.assert_close(net.elbo(s, u, x, y, noise), (density - gap) / 5, rtol=1e-10, atol=0)
    same = net.elbo(s, u, s, u, noise)  # where targets are the contexts there is no divergence
    at = net(s, u, s, noise)
    density = torch.distributions.Normal(at.mean, at.deviation).log_prob(u).mean((1, 2))
    torch.testing.assert_close(same, density, rtol=1e-10, atol=0)


def test_training_raises_the_bound_and_moves_every_weight():
    net, r = made().train(), torch.Generator().manual_seed(2)
    rate, losses = torch.optim.Adam(net.parameters(), 3e-3), []
    for step in range(150):
        slope = torch.rand(16, 1, 1, generator=r, dtype=torch.float64)
        s, x = (torch.rand(16, n, 2, generator=r, dtype=torch.float64) for n in (6, 8))
        loss = -net.elbo(s, slope * s[..., 1:], x, slope * x[..., 1:]).mean()
        rate.zero_grad()
        loss.backward()
        if step == 0:
            assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in net.parameters())
        rate.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 1.0
    torch.export.export(net.eval(), (s, slope * s[..., 1:], x, torch.zeros(16, 16, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(heads=3), "heads: expected a divisor of width = 16, got 3"),
        (lambda: made(dropout=1.0), r"dropout: expected a number in \[0, 1\), got 1.0"),
        (lambda: made(least=0.0), "least: expected a number > 0"),
        (lambda: made()(*some()[:2], torch.zeros(3, 5, 3).double()), r"points: has shape \(3, 5, 3\), expected"),
        (lambda: made()(some()[0], some()[1][:, :2], some()[2]), "context_values: 2 for 7 context points"),
        (lambda: made().predict(*some()[:3], draws=0), "draws: expected a whole number ≥ 1"),
    ],
)
def test_what_cannot_be_used_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
