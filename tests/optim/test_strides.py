"""Dense parameters in any order of memory, and complex ones, step by the compiled kernel."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import thalweg.optim as ours
from optim_cases import FULL, Case, Compare, Gradients, away_from_zero, parameters, train, twins
from thalweg.errors import UsageError
from thalweg.optim.stepping.layouts import order, trouble_in_memory

full = pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)


def permuted(shape: tuple[int, ...], indices: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A dense tensor of this shape whose indices lie in memory in this order."""
    random = torch.Generator().manual_seed(len(shape))
    x = away_from_zero(shape, dtype, random)
    back = sorted(range(len(shape)), key=indices.__getitem__)
    return x.permute(indices).contiguous().permute(back)


def zoo(dtype: torch.dtype) -> list[Tensor]:
    """Images with channels last, a matrix on its side, a tensor turned round, a plain vector."""
    these = [
        permuted((4, 3, 5, 6), (0, 2, 3, 1), dtype),
        permuted((7, 5), (1, 0), dtype),
        permuted((2, 3, 4), (2, 0, 1), dtype),
        permuted((9,), (0,), dtype),
        permuted((1, 6, 1, 1), (0, 2, 3, 1), dtype),
    ]
    return [x.requires_grad_() for x in these]


class Mixed(Gradients):
    """Gradients that lie as their parameter, contiguously, or turned round, in turns."""

    def give(self, *lists: Any) -> None:
        super().give(*lists)
        for alike in zip(*lists, strict=True):
            for k, p in enumerate(alike):
                if (self.t + k) % 3 == 1:
                    p.grad = p.grad.contiguous()
                elif (self.t + k) % 3 == 2:
                    p.grad = p.grad.mT.contiguous().mT if p.dim() > 1 else p.grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@full
def test_compiled_in_any_order_of_memory(case: Case, dtype: torch.dtype) -> None:
    theirs, mine = case.theirs(zoo(dtype)), case.ours(zoo(dtype), "numba")
    strides = [p.stride() for p in parameters(mine)]
    train(theirs, mine, Mixed())
    assert [p.stride() for p in parameters(mine)] == strides


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
@full
def test_compiled_complex(case: Case, dtype: torch.dtype) -> None:
    """Also in other orders of memory, and with gradients that are marked as to be conjugated."""
    torch_s, mine_s = (
        [*zoo(dtype), away_from_zero((), dtype, torch.Generator()).requires_grad_()]
        for _ in range(2)
    )
    theirs, mine = case.theirs(torch_s), case.ours(mine_s, "numba")

    class Conjugated(Gradients):
        def give(self, *lists: Any) -> None:
            super().give(*lists)
            if self.t % 2:
                for p, q in zip(*lists, strict=True):
                    q.grad = q.grad.conj()
                    p.grad = p.grad.conj().resolve_conj()
                    assert q.grad.is_conj()

    train(theirs, mine, Conjugated())


def test_what_the_compiled_engine_does_not_take_is_stepped_all_the_same() -> None:
    def views() -> list[Tensor]:
        random = torch.Generator().manual_seed(0)
        base = away_from_zero((8, 6), torch.float64, random)
        z = away_from_zero((5,), torch.complex128, random)
        return [base[::2].requires_grad_(), z.conj().imag.requires_grad_()]

    for p in views():
        with pytest.raises(UsageError, match="cannot step parameter 0"):
            ours.Adam([p], engine="numba")
    case = Case("Adam", {"lr": 0.1, "weight_decay": 0.1})
    train(case.theirs(views()), case.ours(views()), Gradients())


def test_a_parameter_that_is_marked_as_conjugated() -> None:
    """torch refuses it."""
    (z,) = [away_from_zero((5,), torch.complex128, torch.Generator().manual_seed(0))]
    marked, plain = z.clone().conj().requires_grad_(), z.conj().resolve_conj().requires_grad_()
    assert "conjugates" in trouble_in_memory(marked)
    optimizers, gradients = [ours.Adam([p], lr=0.1) for p in (marked, plain)], Gradients()
    for _ in range(5):
        gradients.give([marked], [plain])
        for optimizer in optimizers:
            optimizer.step()
        torch.testing.assert_close(marked.resolve_conj(), plain, rtol=1e-12, atol=1e-14)


def test_rules_with_sums_per_channel_keep_to_contiguous_parameters() -> None:
    """A channel of a turned matrix is no run of memory: the eager engine steps it, and alike."""
    weights = [permuted((6, 5), (1, 0), torch.float64).requires_grad_() for _ in range(2)]
    weights[1] = weights[1].detach().contiguous().requires_grad_()
    turned, plain = (ours.AdamP([w], lr=0.1, weight_decay=0.1) for w in weights)
    gradients = Gradients()
    for _ in range(10):
        gradients.give([weights[0]], [weights[1]])
        turned.step()
        plain.step()
        torch.testing.assert_close(weights[0], weights[1], rtol=1e-12, atol=1e-14)
    mine = ours.AdamP([weights[0]], engine="numba")
    with pytest.raises(UsageError, match="channels"):
        mine.step()


def test_a_norm_of_the_tensor_does_not_care_for_its_order() -> None:
    weights = [permuted((6, 5), (1, 0), torch.float64).requires_grad_() for _ in range(2)]
    weights[1] = weights[1].detach().contiguous().requires_grad_()
    optimizers = [ours.LAMB([w], lr=0.1, engine="numba") for w in weights]
    gradients = Gradients()
    for _ in range(10):
        gradients.give([weights[0]], [weights[1]])
        for optimizer in optimizers:
            optimizer.step()
        # The sums run in another order of the elements.
        torch.testing.assert_close(weights[0], weights[1], rtol=1e-12, atol=1e-14)


def test_a_parameter_turned_in_its_memory_between_steps() -> None:
    """The address stays, the gradient is contiguous: the new order of memory must be seen."""
    p = torch.nn.Parameter(torch.zeros(2, 3))
    mine = ours.SGD([p], lr=1.0)
    p.grad = torch.arange(6.0).reshape(2, 3)
    mine.step()
    p.grad = None
    p.data = p.data.t()
    p.grad = torch.arange(6.0).reshape(3, 2) * 10
    mine.step()
    assert p.tolist() == [[0.0, -13.0], [-21.0, -34.0], [-42.0, -55.0]]


def test_a_model_turned_to_channels_last_while_it_trains() -> None:
    nets = [torch.nn.Conv2d(3, 4, 3).double() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    theirs = torch.optim.Adam(nets[0].parameters(), lr=0.01)
    mine = ours.Adam(nets[1].parameters(), lr=0.01)
    compare, random = Compare(theirs, mine), torch.Generator().manual_seed(0)
    for t in range(8):
        if t == 4:
            for net in nets:
                net.to(memory_format=torch.channels_last)
        x = torch.randn(2, 3, 5, 5, generator=random, dtype=torch.float64)
        for net, optimizer in zip(nets, (theirs, mine), strict=True):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
        compare(f"step {t}:")


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    which=st.integers(0, 23),
    name=st.sampled_from([case.name for case in FULL]),
)
@settings(max_examples=40, deadline=None)
def test_any_permutation(shape: tuple[int, ...], which: int, name: str) -> None:
    orders = list(permutations(range(len(shape))))
    p = permuted(shape, orders[which % len(orders)], torch.float64).requires_grad_()
    (q,) = twins([p])
    case = next(c for c in FULL if c.name == name)
    train(case.theirs([q]), case.ours([p], "numba"), Mixed(), steps=4)


def test_orders() -> None:
    x = torch.zeros(4, 3, 5, 6)
    assert order(x) == (0, 1, 2, 3)
    assert order(x.to(memory_format=torch.channels_last)) == (0, 2, 3, 1)
    assert order(x.transpose(0, 2)) == (2, 1, 0, 3)
    assert order(x[:, :2]) is None
    assert order(x[..., ::2]) is None
    assert order(torch.zeros(3, 1).expand(3, 4)) is None
    assert order(torch.zeros(())) == ()
    assert trouble_in_memory(x.mT) == ""
    assert "gaps" in trouble_in_memory(x[:, :, ::2])


@pytest.mark.parametrize(
    ("dtype", "other"),
    [(torch.float16, torch.bfloat16), (torch.bfloat16, torch.float16)],
)
def test_a_gradient_that_becomes_another_dtype_of_its_size(
    dtype: torch.dtype, other: torch.dtype
) -> None:
    both = []
    for make in (ours.SGD, torch.optim.SGD):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 9, dtype=dtype))
        optimizer = make([p], lr=0.5)
        for step in range(3):
            p.grad = torch.linspace(0.25, 1, 9, dtype=dtype)
            if step == 1:
                p.grad.data = p.grad.data.to(other)  # as only .data lets one do
            optimizer.step()
        both.append(p.detach())
    # torch adds in the parameter's precision: one place of its last per step.
    torch.testing.assert_close(*both, rtol=3 * torch.finfo(dtype).eps, atol=1e-3)
