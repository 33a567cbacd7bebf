"""Steps within the backward pass: what cannot be right there is refused, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thalweg.optim as optim
from backward_cases import Checkpointed, mlp, plain_loss
from thalweg.errors import UsageError
from thalweg.optim import step_in_backward


class Failing(torch.autograd.Function):
    """Fails in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise MemoryError("in backward")


def test_after_a_backward_pass_that_failed_training_goes_on() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with step_in_backward(optimizer, batch_bytes=1 << 20):
        with pytest.raises(MemoryError):
            model[1](Failing.apply(model[0](torch.ones(2, 6)))).sum().backward()
        optimizer.zero_grad()
        before = [p.detach().clone() for p in model.parameters()]
        plain_loss(model, torch.ones(2, 6)).backward()
        optimizer.step()
    assert not any(map(torch.equal, before, model.parameters()))


def test_a_loss_that_another_optimizer_minimizes_moves_nothing_silently() -> None:
    """As of a generator's loss, which flows through the discriminator too."""
    made, judge = nn.Linear(6, 6), nn.Linear(6, 6)
    optimizer = optim.SGD(judge.parameters(), lr=0.1)
    for batch, refused in ((1 << 20, False), (1, True)):
        before = [p.detach().clone() for p in judge.parameters()]
        with step_in_backward(optimizer, batch_bytes=batch):
            judge(made(torch.ones(2, 6))).sum().backward()
            optimizer.zero_grad()
            if refused:
                with pytest.raises(UsageError, match="requires_grad_"):
                    plain_loss(judge, torch.ones(2, 6)).backward()
                optimizer.zero_grad()
            else:
                assert all(map(torch.equal, before, judge.parameters()))
            plain_loss(judge, torch.ones(2, 6)).backward()  # and training can go on
            optimizer.step()
            optimizer.zero_grad()


def test_two_optimizers_of_one_parameter_are_refused() -> None:
    p = nn.Parameter(torch.ones(3))
    first, second = optim.SGD([p], lr=0.1), optim.SGD([p], lr=0.1)
    with step_in_backward(first), step_in_backward(second):
        (p * 2).sum().backward()
        first.step()
        with pytest.raises(UsageError, match="changed or cleared"):
            second.step()


def test_a_second_gradient_before_the_step_is_refused() -> None:
    model = nn.Linear(6, 6)
    for again in (True, False):  # while the first one waits, or after it has been stepped
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        with step_in_backward(optimizer, batch_bytes=1 << 20 if again else 1):
            plain_loss(model, torch.ones(2, 6)).backward()
            with pytest.raises(UsageError, match="accumulate no gradients"):
                plain_loss(model, torch.ones(2, 6)).backward()
        optimizer.zero_grad()


def test_a_layer_that_reentrant_checkpoints_use_twice_is_refused() -> None:
    model = Checkpointed(reentrant=True, times=2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x = torch.ones(2, 6, requires_grad=True)
    with step_in_backward(optimizer), pytest.raises(UsageError, match="use_reentrant=False"):
        plain_loss(model, x).backward()


def clip_by_norm(model: nn.Module, optimizer: Any) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 1e6)  # which multiplies by 1
    optimizer.step()


def clip_by_value(model: nn.Module, optimizer: Any) -> None:
    nn.utils.clip_grad_value_(model.parameters(), 1e-3)
    optimizer.step()


def scaled(model: nn.Module, optimizer: Any) -> None:
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(()))
    scaler.step(optimizer)


def cleared(model: nn.Module, optimizer: Any) -> None:
    optimizer.zero_grad()
    optimizer.step()


def unscaled(model: nn.Module, optimizer: Any) -> None:
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(()))
    scaler.unscale_(optimizer)
    scaler.step(optimizer)


@pytest.mark.parametrize("between", [clip_by_norm, clip_by_value, scaled, unscaled])
@pytest.mark.parametrize("batch", [1, 1 << 20])
def test_gradients_that_are_changed_after_the_backward_pass_are_refused(
    between: Callable[[nn.Module, Any], None], batch: int
) -> None:
    model = mlp()
    optimizer = optim.AdamW(model.parameters())
    with step_in_backward(optimizer, batch_bytes=batch):
        optimizer.load_state_dict(optimizer.state_dict())
        plain_loss(model, torch.ones(2, 6)).backward()
        with pytest.raises(UsageError, match="changed or cleared after backward"):
            between(model, optimizer)


def test_a_gradient_scaler_that_is_switched_off_steps() -> None:
    model = mlp()
    optimizer = optim.AdamW(model.parameters())
    before = [p.detach().clone() for p in model.parameters()]
    with step_in_backward(optimizer):
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        scaler.scale(plain_loss(model, torch.ones(2, 6))).backward()
        scaler.step(optimizer)
        scaler.update()
    moved = [not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)]
    assert moved == [name != "unused" for name, _ in model.named_parameters()]
    scaler = torch.amp.GradScaler("cpu")  # after it a scaler works as before
    scaler.scale(plain_loss(model, torch.ones(2, 6))).backward()
    scaler.step(optimizer)


def test_gradients_with_a_graph_are_refused() -> None:
    model = mlp()
    with (
        step_in_backward(optim.AdamW(model.parameters())),
        pytest.raises(UsageError, match="create_graph"),
        pytest.warns(UserWarning, match="create_graph"),
    ):
        plain_loss(model, torch.ones(2, 6)).backward(create_graph=True)


def test_a_step_without_its_gradients_is_refused() -> None:
    model = mlp()
    optimizer = optim.AdamW(model.parameters())
    optimizer.step()
    with step_in_backward(optimizer):
        optimizer.step()  # no backward pass, no gradients, no step
        plain_loss(model, torch.ones(2, 6)).backward()
        with pytest.raises(UsageError, match="zero_grad"):
            cleared(model, optimizer)


class Clipped(optim.AdamW):
    """With the rule that clips by the norm of all gradients."""

    def rule(self, group: Any) -> Any:
        from thalweg.rules import clip_norm

        return clip_norm(super().rule(group))

    def hyper(self, group: Any) -> dict[str, float]:
        return {**super().hyper(group), "max_norm": 1.0}


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a norm over all": (Clipped, "norm of all gradients"),
    "skipping": (lambda p: optim.Adam(p, skip_nonfinite=True), "skip_nonfinite"),
    "differentiable": (lambda p: optim.Adam(p, differentiable=True), "differentiable"),
    "closures": (lambda p: optim.LookaheadNesterov(p), "closure"),
    "a wrapper": (lambda p: optim.EMA(optim.Adam(p)), "no wrapper"),
    "torch's": (lambda p: torch.optim.Adam(p), "thalweg.optim"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_all_gradients_first_is_refused_with_the_reason(name: str) -> None:
    make, reason = REFUSED[name]
    p = nn.Parameter(torch.ones(3))
    with pytest.raises(UsageError, match=reason):
        step_in_backward(make([p]))
    assert not p._post_accumulate_grad_hooks


def test_other_wrong_uses_are_refused() -> None:
    optimizer = optim.Adam([nn.Parameter(torch.ones(3))])
    for size in (0, -1, 1.5, True):
        with pytest.raises(UsageError, match="batch_bytes"):
            step_in_backward(optimizer, batch_bytes=size)  # type: ignore[arg-type]
    with step_in_backward(optimizer):
        with pytest.raises(UsageError, match="already"):
            step_in_backward(optimizer)
        with pytest.raises(UsageError, match="closure"):
            optimizer.step(lambda: 1.0)
    optimizer.register_step_pre_hook(lambda *args: None)
    with pytest.raises(UsageError, match="hooks before the step"):
        step_in_backward(optimizer)
