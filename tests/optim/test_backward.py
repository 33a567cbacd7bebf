"""Steps within the backward pass: the plain step's numbers, with few gradients in memory."""

from __future__ import annotations

import copy
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thalweg.optim as optim
from backward_cases import Checkpointed, Sequences, Tied, mlp, plain_loss
from thalweg.optim import step_in_backward

SMALL = 600  # bytes of a batch: a few tensors of the models here

Loss = Callable[[nn.Module, Tensor], Tensor]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


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


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_and_a_pickle_take_the_plain_step(copied: Callable[[Any], Any]) -> None:
    optimizer = optim.Adam(nn.Linear(6, 6).parameters())
    handle = step_in_backward(optimizer)
    twin = copied(optimizer)
    handle.remove()
    p = twin.param_groups[0]["params"][0]
    before, p.grad = p.detach().clone(), torch.ones_like(p)
    assert twin.step(lambda: 1.0) == 1.0
    assert not torch.equal(p, before)
    assert p.grad is not None
