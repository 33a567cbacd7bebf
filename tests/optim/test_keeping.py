"""State and parameters in fewer bytes, through the optimizers' own options."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thalweg.optim as ours
from keeping_cases import (
    BOTH,
    BYTES,
    COMPILED,
    STATES,
    Problem,
    every,
    every_engine,
    every_state,
    halves,
    numbers,
    same,
    through_file,
)
from optim_cases import Case, Gradients, tensors
from thalweg.engines.formats import BLOCK
from thalweg.optim.stepping.precision import StoragePrecision


@pytest.mark.parametrize(("case", "engine"), BOTH, ids=str)
def test_every_class_trains_as_in_float32(case: Case, engine: str) -> None:
    """The fall of the loss is float32's, to 5 % of where it began; states are kept as asked."""
    begin = Problem().loss().item()
    ends = {}
    for state in STATES:
        problem = Problem()
        optimizer = case.ours(problem.parameters, engine, state_dtype=state)
        ends[state] = problem.train(optimizer, 40)
        kinds = [
            x.dtype for p in problem.parameters for x in optimizer.state[p].values() if x.dim()
        ]
        codes = [torch.int8, torch.float32] * (len(kinds) // 2)
        plain = [getattr(torch, state)] * len(kinds)
        assert sorted(kinds, key=str) == sorted(codes if state == "int8" else plain, key=str)
    assert ends["float32"] < 0.98 * begin, "the problem is one that this class solves"
    for state in ("bfloat16", "int8"):
        assert ends[state] == pytest.approx(ends["float32"], abs=0.05 * begin), state


@every
@every_state
def test_the_state_takes_the_bytes_that_its_format_says(case: Case, state: str) -> None:
    (p,) = parameters = tensors(torch.float32, shapes=[(64, 8 * BLOCK)])
    optimizer = case.ours(parameters, "eager", state_dtype=state)
    p.grad = torch.ones_like(p)
    optimizer.step()
    held = optimizer.state[p]
    arrays = [x for key, x in held.items() if x.shape == p.shape]
    single = sum(x.nbytes for x in held.values() if x.dim() == 0)
    expected = len(arrays) * BYTES[state] * p.numel()
    assert sum(x.nbytes for x in held.values()) == expected + single
    assert arrays, "this class has a state"
    assert single <= 16


@every_engine
def test_numbers_are_those_of_the_seed(engine: str) -> None:
    def ends(seed: int, threads: int = 1, state: str = "int8") -> list[Tensor]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            parameters = tensors(torch.float32, shapes=[(5000, 30), (7,)])
            optimizer = ours.Adam(parameters, lr=0.01, state_dtype=state, seed=seed, engine=engine)
            gradients = Gradients()
            for _ in range(3):
                gradients.give(parameters)
                optimizer.step()
            return numbers(optimizer)
        finally:
            torch.set_num_threads(before)

    for state in ("bfloat16", "int8"):
        once = ends(1, state=state)
        assert same(once, ends(1, state=state))
        assert same(once, ends(1, threads=3, state=state))
        assert not same(once, ends(2, state=state))
    # float32 draws nothing, so no seed changes it.
    assert same(ends(1, state="float32"), ends(2, state="float32"))


def test_seeds_share_no_bits() -> None:
    """Neither the steps of neighbours nor those of seeds that are alike in their low bits."""
    seeds = [0, 1, 2, 3, -1, 1 << 20, 1 << 32, (1 << 32) + 1, 5 << 40]
    one = torch.zeros(1)
    drawn = [StoragePrecision(seed=s).noise(one, t, 0, 1).item() for s in seeds for t in range(64)]
    assert len(set(drawn)) == len(drawn)


def test_what_rounding_adds_up_to_differs_by_seed() -> None:
    """Of 16 seeds, the sums of 64 steps' errors are as far apart as those of chance."""
    cls = ours.from_rule(halves)
    sums = []
    for seed in range(16):
        p = torch.full((2048,), 3.0, dtype=torch.bfloat16, requires_grad=True)
        optimizer = cls([p], lr=2.0**-14, rounding="stochastic", seed=seed, engine="eager")
        for _ in range(64):
            p.grad = torch.full_like(p, 0.25)
            optimizer.step()
        sums.append(p.detach().float())
    errors = torch.stack(sums) - torch.stack(sums).mean()
    # Were the seeds' bits the same in another order, the mean over seeds would vary as one does.
    assert errors.mean(0).var().item() == pytest.approx(errors.var().item() / 16, rel=0.25)


@pytest.mark.parametrize("seed", [0, 1, -3, 1 << 40])
@pytest.mark.parametrize("state", ["bfloat16", "int8"])
@pytest.mark.parametrize("rounding", ["nearest", "stochastic", "kahan"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_engines_draw_the_same_bits(
    dtype: torch.dtype, rounding: str, state: str, seed: int
) -> None:
    """Where float32 is exact, the eager engine is the compiled one bit for bit."""
    cls = ours.from_rule(halves)
    random = torch.Generator().manual_seed(3)
    shapes = [(3 * BLOCK + 17,), (4, 5), ()]
    first = [torch.randint(-8, 9, s, generator=random) / 8 for s in shapes]
    ends = []
    for engine in ("numba", "eager"):
        parameters = [x.clone().to(dtype).requires_grad_() for x in first]
        optimizer = cls(parameters, engine=engine, state_dtype=state, rounding=rounding, seed=seed)
        draw = torch.Generator().manual_seed(4)
        for _ in range(2):
            for p in parameters:
                p.grad = (torch.randint(-64, 65, p.shape, generator=draw) / 64).to(dtype)
            optimizer.step()
        ends.append(numbers(optimizer))
    assert same(*ends)


@pytest.mark.parametrize("case", COMPILED, ids=str)
@every_state
def test_the_engines_agree(case: Case, state: str) -> None:
    """Sums differ in their last bits, so a draw may now and then fall to the other side."""
    shapes = [(2 * BLOCK + 3,), (6, 4)]
    both = []
    for engine in ("numba", "eager"):
        parameters, gradients = tensors(torch.float32, shapes=shapes), Gradients()
        optimizer = case.ours(parameters, engine, state_dtype=state)
        for _ in range(3):
            gradients.give(parameters)
            optimizer.step()
        both.append([p.detach() for p in parameters])
    for a, b in zip(*both, strict=True):
        apart = (a - b).abs() > 1e-5 * a.abs().max()
        assert apart.float().mean() < 0.02


@every_engine
@pytest.mark.parametrize("rounding", ["stochastic", "kahan"])
def test_small_steps_add_up(rounding: str, engine: str) -> None:
    """Steps of 1/32 of what two neighbours of bfloat16 are apart: nearest stands still."""
    ends = {}
    for kind in ("nearest", rounding):
        p = torch.ones(4096, dtype=torch.bfloat16, requires_grad=True)
        optimizer = ours.SGD([p], lr=2.0**-12, rounding=kind, engine=engine)
        for _ in range(256):
            p.grad = -torch.ones_like(p)
            optimizer.step()
        ends[kind] = p.detach().float()
    assert (ends["nearest"] == 1).all()
    # 256/4096 on average; of 4,096 numbers, each with a deviation below 256^½/2 steps of 2^-7.
    assert ends[rounding].mean().item() == pytest.approx(1 + 2.0**-4, abs=5 * 2.0**-7 * 8 / 64)
    if rounding == "kahan":
        assert (ends[rounding] - (1 + 2.0**-4)).abs().max() <= 2.0**-7


@pytest.mark.parametrize("state", [None, "float32", "bfloat16"])
@pytest.mark.parametrize("rounding", ["stochastic", "kahan"])
def test_bfloat16_parameters_come_as_far_as_float32(rounding: str, state: str | None) -> None:
    ends = {}
    for dtype, kind in ((torch.float32, "nearest"), (torch.bfloat16, rounding)):
        problem = Problem(dtype)
        optimizer = ours.Adam(
            problem.parameters, lr=0.02, rounding=kind, state_dtype=state, engine="eager"
        )
        ends[dtype] = problem.train(optimizer, 150)
    begin = Problem().loss().item()
    assert ends[torch.bfloat16] == pytest.approx(ends[torch.float32], abs=0.02 * begin)


def test_rounding_is_of_bfloat16_alone() -> None:
    """Other parameters are rounded as ever, and nothing is kept beside their state."""
    ends = []
    for rounding in ("nearest", "stochastic", "kahan"):
        parameters, gradients = tensors(torch.float32), Gradients()
        optimizer = ours.AdamW(parameters, rounding=rounding)
        gradients.give(parameters)
        optimizer.step()
        ends.append(numbers(optimizer))
    assert same(ends[0], ends[1])
    assert same(ends[0], ends[2])


@every_engine
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_no_two_steps_round_alike_after_a_pause(momentum: float, engine: str) -> None:
    """SGD counts no steps in torch; here it does, or every load would begin the bits anew."""
    p = torch.ones(4096, dtype=torch.bfloat16, requires_grad=True)
    q = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    options: dict[str, Any] = {"lr": 2.0**-12, "momentum": momentum, "engine": engine}
    optimizer = ours.SGD([p, q], **options, rounding="stochastic", state_dtype="bfloat16")
    for t in range(64):
        p.grad = -torch.ones_like(p)
        q.grad = torch.ones_like(q) if t % 2 else None  # another pattern at every step
        if t % 8 == 0:
            checkpoint = through_file(optimizer.state_dict())
            optimizer = ours.SGD([p, q], **options, rounding="stochastic", state_dtype="bfloat16")
            optimizer.load_state_dict(checkpoint)
        optimizer.step()
    # With the same bits at every step the numbers would be rounded all 64 times or never.
    moved = (p.detach().float() - 1) / 2.0**-7
    expected = sum((1 - momentum**t) / (1 - momentum) if momentum else 1 for t in range(1, 65)) / 32
    assert moved.mean().item() == pytest.approx(expected, rel=0.1)
    assert moved.std().item() < 2 * math.sqrt(expected)


def gaps(shape: tuple[int, int]) -> Tensor:
    """A parameter whose rows do not follow one another in memory."""
    return torch.linspace(-2, 2, shape[0] * shape[1] * 2).view(shape[0], -1)[:, : shape[1]].detach()


LAYOUTS: dict[str, Callable[[], Tensor]] = {
    "channels last": lambda: (
        torch.linspace(-2, 2, 2 * 8 * 9 * 5).view(2, 8, 9, 5).to(memory_format=torch.channels_last)
    ),
    "transposed": lambda: torch.linspace(-2, 2, 600).view(20, 30).t(),
    "gaps": lambda: gaps((30, 20)),
    "one number": lambda: torch.tensor(0.5),
    "empty": lambda: torch.zeros(0, 3),
}


@every_engine
@pytest.mark.parametrize("state", ["bfloat16", "int8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_step_as_contiguous_tensors_do(layout: str, state: str, engine: str) -> None:
    """By the same formula, to the grid of the state: 15 % of the largest step."""
    moved = []
    for like in (LAYOUTS[layout](), LAYOUTS[layout]().contiguous()):
        p = like.requires_grad_()
        optimizer = ours.Adam([p], lr=0.01, state_dtype=state, engine=engine)
        before = p.detach().clone()
        for t in range(3):
            wave = torch.sin(torch.arange(p.numel()) * 1.3 + t).view(p.shape)
            p.grad = torch.empty_like(p).copy_(wave)
            optimizer.step()
        moved.append(p.detach() - before)
        key = "exp_avg" if state == "int8" else "exp_avg_sq"
        assert optimizer.state[p][key].shape == p.shape
    a, b = moved
    if a.numel():
        assert a.abs().max() > 0.01
        assert (a - b).abs().max() <= 0.15 * 0.03


@every_state
def test_groups_of_all_kinds_together(state: str) -> None:
    """Mixed dtypes and options, a frozen layer, and gradients that are None now and then."""
    kinds = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64]
    several = [tensors(kind, shapes=[(300,), (3, 4)]) for kind in kinds]
    frozen = torch.ones(5)
    optimizer = ours.Adam(
        [
            *({"params": p, "lr": 0.01 * (k + 1)} for k, p in enumerate(several)),
            {"params": [nn.Parameter(frozen, requires_grad=False)]},
        ],
        state_dtype=state,
        rounding="stochastic",
    )
    flat = [p for own in several for p in own]
    before = [p.detach().clone() for p in flat]
    gradients = Gradients(lambda k, t: (k + t) % 3 == 0)
    for _ in range(4):
        gradients.give(flat)
        optimizer.step()
    assert all(not torch.equal(p, q) for p, q in zip(flat, before, strict=True))
    assert (frozen == 1).all()
    for p in flat:
        kept = torch.complex64 if p.is_complex() else getattr(torch, state)
        assert optimizer.state[p]["exp_avg"].dtype == kept
        assert p.isfinite().all()


def test_a_dtype_of_torch_is_as_good_as_its_name() -> None:
    for dtype, name in ((torch.int8, "int8"), (torch.bfloat16, "bfloat16")):
        by_either = []
        for given in (dtype, name):
            parameters, gradients = tensors(torch.float32), Gradients()
            optimizer = ours.Adam(parameters, state_dtype=given)
            gradients.give(parameters)
            optimizer.step()
            by_either.append(numbers(optimizer))
        assert same(*by_either)
