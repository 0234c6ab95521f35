"""An operator adapted to one case by the residual of its balances alone, without data."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sciml.errors import InputError, TrainingError, is_number, is_whole
from sciml.solver import Start
from sciml.training.devices import unwrapped
from sciml.training.encoding import Encoding
from sciml.training.model import Model

if TYPE_CHECKING:
    from sciml.training.objectives import WithPhysics


def adapted(
    operator: nn.Module, encoding: Encoding, start: Start, times: np.ndarray | None, objective: WithPhysics, *,
    steps: int, lr: float, anchor: float,
) -> tuple[nn.Module, dict[str, Any]]:  # fmt: skip
    """A copy of an operator after `steps` steps of Adam on its own residual in one case, and how that fell.

    In time its steps begin from the operator's own rollout up to the last of `times`, made anew in every step of the
    optimiser and left out of its gradient.

    Args:
        operator: on the device where it is to learn.
        start: the case, and the frames from which it begins.
        objective: says which balances count, and how.
        lr: learning rate, which falls to zero as half a cosine.
        anchor: weight of ⟨(û − û₀)²⟩, û₀ being what the operator said before, in normalised units: what it learned from
            data is not forgotten.

    Raises:
        TrainingError: a residual that is not finite.
    """
    equations = objective.replace(objective=None).equations(encoding)
    case, found = start.case, copy.deepcopy(unwrapped(operator)).train().requires_grad_(True)
    model, e = Model(found, encoding), encoding
    given = e.given([case], [start.support]).to(model.device)
    if times is None:
        states, params = None, torch.from_numpy(e.params(case, np.zeros(1))).to(model.device)
        supplied = equations.supplied([case], None)
    else:
        assert e.step is not None
        index, dt, ahead = e.step.index(case, times, start.time), e.step.of(case), e.stepping.ahead
        applications = max(1, -(-int(index.max()) // ahead))
        clock = start.time + dt * np.arange(applications * ahead + 1)
        states = torch.from_numpy(e.starts([start])).to(model.device)
        params = torch.from_numpy(e.params(case, clock[:-1:ahead])).to(model.device)
        each = np.stack([clock[k * ahead : (k + 1) * ahead + 1] for k in range(applications)])
        supplied = equations.supplied([case] * applications, each)
    supplied = supplied.to(model.device)

    def before() -> Tensor | None:
        """(application, past, field, *) what each application goes from."""
        if states is None:
            return None
        now, all_ = states, []
        with torch.no_grad():
            for k in range(len(params)):
                all_.append(now)
                now = model._shifted(now, model.answer(now, given, params[k : k + 1], None))
        return torch.cat(all_)

    with torch.no_grad():
        beginning = before()
        said = model.answer(beginning, given, params, None)
    optimiser, residuals = torch.optim.Adam(found.parameters(), lr=lr), []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * (step + 0.5) / steps))
        frames = before()
        optimiser.zero_grad(set_to_none=True)
        answer = model.answer(frames, given, params, None)
        loss = supplied.mean_square(
            None if frames is None else frames[:, -1], answer.unflatten(1, (e.stepping.ahead, -1))
        )
        residuals.append(loss.detach())
        if anchor:
            loss = loss + anchor * (model.answer(beginning, given, params, None) - said).square().mean()
        loss.backward()
        optimiser.step()
    values = torch.stack(residuals).tolist()
    if not all(map(math.isfinite, values)):
        raise TrainingError(f"fine tuning: the residual is not finite from step {_first(values)} on; take a smaller lr")
    return found, {"steps": steps, "lr": lr, "anchor": anchor, "residual": [values[0], values[-1]]}


def _first(values: list[float]) -> int:
    return next(i for i, v in enumerate(values) if not math.isfinite(v)) + 1


def check(steps: int, lr: float, anchor: float) -> None:
    """Refuse settings that cannot be."""
    for name, value, good, wanted in (
        ("steps", steps, is_whole(steps) and steps >= 1, "a whole number >= 1"),
        ("lr", lr, is_number(lr) and lr > 0, "a number > 0"),
        ("anchor", anchor, is_number(anchor) and anchor >= 0, "a number >= 0"),
    ):
        if not good:
            raise InputError(f"{name}: expected {wanted}, got {value!r}")
