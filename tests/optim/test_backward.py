"""Steps within the backward pass: the plain step's numbers, with few gradients in memory."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thalweg.optim as optim
from thalweg.errors import UsageError
from thalweg.optim import step_in_backward

SMALL = 600  # bytes of a batch: a few tensors of the models here

Loss = Callable[[nn.Module, Tensor], Tensor]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def mlp() -> nn.Module:
    """A perceptron with a normalization, and a parameter that has no gradient."""
    model = nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Tanh(), nn.Linear(9, 6))
    model.register_parameter("unused", nn.Parameter(torch.ones(3)))
    return model


class Tied(nn.Module):
    """Weights that are used twice, one of them transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 9), nn.Linear(6, 9)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(x)) @ self.first.weight)[:, :6]


class Sequences(nn.Module):
    """A transformer over a batch taken as one sequence."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.layers(x[None])[0]
        return output


class Checkpointed(nn.Module):
    """A perceptron whose middle is computed again in the backward pass."""

    def __init__(self, reentrant: bool = False, times: int = 1) -> None:
        super().__init__()
        self.inner, self.last = nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Linear(6, 6)
        self.reentrant, self.times = reentrant, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = checkpoint(self.inner, x, use_reentrant=self.reentrant)
        y: Tensor = self.last(x)
        return y


def plain_loss(model: nn.Module, x: Tensor) -> Tensor:
    loss: Tensor = (model(x) - x).square().mean()
    return loss


def bfloat16_loss(model: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return plain_loss(model, x).float()


def one_group(model: nn.Module) -> Any:
    return model.parameters()


def groups(model: nn.Module) -> Any:
    """Weights and biases with options of their own."""
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": weights, "weight_decay": 0.1}, {"params": others, "lr": 3e-3}]


def trained(
    model: nn.Module,
    make: Callable[[Any], Any],
    inside: bool,
    loss: Loss = plain_loss,
    divided: Callable[[nn.Module], Any] = one_group,
    steps: int = 5,
) -> tuple[list[Tensor], dict[str, Any]]:
    """The parameters and the optimizer's checkpoint after some steps with a schedule."""
    optimizer = make(divided(model))
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.7)
    handle = step_in_backward(optimizer, batch_bytes=SMALL) if inside else None
    drawn = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model, torch.randn(8, 6, generator=drawn)).backward()
        optimizer.step()
        scheduler.step()
    if handle is not None:
        handle.remove()
    return [p.detach().clone() for p in model.parameters()], optimizer.state_dict()


def assert_equal(found: Any, expected: Any) -> None:
    """Bit for bit."""
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


CASES: dict[str, tuple[Callable[[], nn.Module], Loss, Callable[[nn.Module], Any]]] = {
    "perceptron": (mlp, plain_loss, one_group),
    "groups": (mlp, plain_loss, groups),
    "tied weights": (Tied, plain_loss, one_group),
    "transformer": (Sequences, plain_loss, groups),
    "autocast": (Sequences, bfloat16_loss, one_group),
    "checkpoints": (lambda: Checkpointed(times=3), plain_loss, one_group),
    "reentrant checkpoints": (lambda: Checkpointed(reentrant=True), plain_loss, one_group),
}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "AdamW": lambda params: optim.AdamW(params, lr=1e-2),
    "SGD": lambda params: optim.SGD(params, lr=1e-2, momentum=0.9),
    "LAMB": lambda params: optim.LAMB(params, lr=1e-2),  # with norms of single tensors
    "eager": lambda params: optim.Adam(params, lr=1e-2, engine="eager"),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("case", CASES)
def test_the_numbers_are_the_plain_steps(case: str, kind: str) -> None:
    make, loss, divided = CASES[case]
    model = make()
    if case == "reentrant checkpoints":  # whose inputs must require a gradient

        def loss(model: nn.Module, x: Tensor) -> Tensor:
            return plain_loss(model, x.requires_grad_())

    twin = copy.deepcopy(model)
    expected = trained(twin, OPTIMIZERS[kind], False, loss, divided)
    found = trained(model, OPTIMIZERS[kind], True, loss, divided)
    assert_equal(found, expected)


def test_sparse_gradients_step_too() -> None:
    def loss(model: nn.Module, x: Tensor) -> Tensor:
        rows: Tensor = model((x.abs() * 3).long().clamp(max=9))
        return rows.square().mean()

    model = nn.Embedding(10, 4, sparse=True)
    twin = copy.deepcopy(model)
    for make in (lambda p: optim.SGD(p, lr=0.1), lambda p: optim.SparseAdam(p, lr=0.1)):
        assert_equal(trained(model, make, True, loss), trained(twin, make, False, loss))


def test_gradients_are_freed_in_batches_and_few_live_at_once() -> None:
    model = nn.Sequential(*[nn.Linear(10, 10, bias=False) for _ in range(12)])
    live: list[int] = []
    seen: list[weakref.ref[Tensor]] = []

    def note(p: Tensor) -> None:
        assert p.grad is not None
        seen.append(weakref.ref(p.grad))
        live.append(sum(reference() is not None for reference in seen))

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(note)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    with step_in_backward(optimizer, batch_bytes=3 * 400):  # three layers of 100 numbers
        for _ in range(3):
            model(torch.randn(4, 10)).square().mean().backward()
            optimizer.step()
            assert not any(reference() for reference in seen)
            assert all(p.grad is None for p in model.parameters())
    # A full batch, and the gradient that makes it step.
    assert max(live) == 4
    assert [each["step"].item() for each in optimizer.state.values()] == [3.0] * 12


def test_a_batch_is_planned_once_and_follows_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    from thalweg.optim import optimizer as module

    planned: list[int] = []

    def count(plan: Any, optimizer: Any, before: Any) -> None:
        planned.append(1)
        original(plan, optimizer, before)

    original = module.Plan.__init__
    monkeypatch.setattr(module.Plan, "__init__", count)
    model = nn.Sequential(*[nn.Linear(10, 10, bias=False) for _ in range(6)])
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    with step_in_backward(optimizer, batch_bytes=800):
        for step in range(5):
            optimizer.param_groups[0]["lr"] = 1.0 if step else 0.0
            before = [p.detach().clone() for p in model.parameters()]
            model(torch.randn(4, 10)).square().mean().backward()
            optimizer.step()
            moved = [not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)]
            assert moved == [step > 0] * 6
    assert len(planned) == 3


def test_a_model_that_takes_other_paths_steps_what_it_used() -> None:
    def run(inside: bool) -> list[Tensor]:
        torch.manual_seed(0)
        layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(6))
        optimizer = optim.AdamW(layers.parameters(), lr=1e-2)
        handle = step_in_backward(optimizer, batch_bytes=SMALL) if inside else None
        for step in range(8):
            x = torch.randn(4, 6)
            for k in range(6):
                if (step + k) % 3:
                    x = layers[(k * (1 + step % 2)) % 6](x).tanh()
            optimizer.zero_grad()
            x.square().mean().backward()
            optimizer.step()
        if handle is not None:
            handle.remove()
        return [p.detach() for p in layers.parameters()]

    assert_equal(run(True), run(False))


def test_a_checkpoint_goes_on_in_either_way() -> None:
    def make(params: Any) -> Any:
        return optim.AdamW(params, lr=1e-2)

    model = mlp()
    _, saved = trained(model, make, True)
    after = []
    for inside in (True, False):
        twin = copy.deepcopy(model)
        optimizer = make(twin.parameters())
        handle = step_in_backward(optimizer, batch_bytes=SMALL) if inside else None
        optimizer.load_state_dict(copy.deepcopy(saved))
        optimizer.param_groups[0]["lr"] = 0.05
        x = torch.ones(8, 6)
        for _ in range(2):
            plain_loss(twin, x).backward()
            optimizer.step()
            optimizer.zero_grad()
        after.append(([p.detach() for p in twin.parameters()], optimizer.state_dict()))
        if handle is not None:
            handle.remove()
    assert_equal(*after)


def test_parameters_that_come_later_step_at_the_step() -> None:
    model, more = nn.Linear(6, 6), nn.Linear(6, 6)
    twins = copy.deepcopy(model), copy.deepcopy(more)
    found = []
    for (first, second), inside in (((model, more), True), (twins, False)):
        optimizer = optim.Adam(first.parameters(), lr=0.1)
        handle = step_in_backward(optimizer, batch_bytes=1) if inside else None
        optimizer.add_param_group({"params": second.parameters(), "lr": 0.01})
        for _ in range(3):
            optimizer.zero_grad()
            second(first(torch.ones(2, 6))).square().mean().backward()
            optimizer.step()
        found.append([p.detach() for p in (*first.parameters(), *second.parameters())])
        if handle is not None:
            handle.remove()
    assert_equal(*found)


def test_removed_it_is_the_plain_step_again() -> None:
    model = nn.Linear(6, 6)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RuntimeError, match="midway"), step_in_backward(optimizer):
        raise RuntimeError("midway")
    plain_loss(model, torch.ones(2, 6)).backward()
    assert model.weight.grad is not None
    optimizer.step()
    assert model.weight.grad is not None
    assert not model.weight._post_accumulate_grad_hooks


def test_a_copy_and_a_pickle_take_the_plain_step() -> None:
    model = nn.Linear(6, 6)
    optimizer = optim.Adam(model.parameters())
    step_in_backward(optimizer)
    twin = copy.deepcopy(optimizer)
    p = twin.param_groups[0]["params"][0]
    before, p.grad = p.detach().clone(), torch.ones_like(p)
    twin.step(lambda: 1.0)
    assert not torch.equal(p, before)


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
