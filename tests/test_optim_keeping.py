"""State and parameters in fewer bytes, through the optimizers' own options."""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import thalweg.optim as ours
from optim_cases import FULL, Case, Gradients, tensors, twins
from thalweg.engines.formats import BLOCK
from thalweg.errors import UsageError
from thalweg.ops import sqrt
from thalweg.optim.keeping import Keeping
from thalweg.rules import Rule, clip_norm, find, rule

STATES = ["float32", "bfloat16", "int8"]
BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1 + 4 / BLOCK}
BEYOND = [
    Case("Lion", {"lr": 0.01}),
    Case("LARS", {"lr": 0.5, "trust": 0.05}),
    Case("LAMB", {"lr": 0.02}),
    Case("AdamP", {"lr": 0.02, "weight_decay": 0.01}),
]
EVERY = [*FULL, *BEYOND]
# Kernels take a second each to compile, so the other classes step in the eager engine here; kernels
# of every rule are held against their formulas where formats are tested.
COMPILED = [FULL[0], BEYOND[1]]
BOTH = [*((case, "eager") for case in EVERY), *((case, "numba") for case in COMPILED)]

every = pytest.mark.parametrize("case", EVERY, ids=lambda case: case.name)
every_state = pytest.mark.parametrize("state", STATES)
every_engine = pytest.mark.parametrize("engine", ["auto", "eager"])


@rule
def own(theta, g, m, v, t, *, lr=0.05, beta=0.75):  # type: ignore[no-untyped-def]
    """A rule of one's own, with a moment of either kind."""
    m = beta * m + (1 - beta) * g
    v = v + m * m
    return theta - lr * m / (sqrt(v) + 1e-8), m, v


@rule
def halves(theta, g, m, t, *, lr=0.5):  # type: ignore[no-untyped-def]
    """Exact in float32, however it is computed, for numbers of few bits."""
    m = 0.5 * m + g
    return theta - lr * m, m


class Problem:
    """Least squares, y = x·w: how far from the solution training has come.

    Args:
        dtype: of the parameters; the loss is computed in float32.
        seed: of the data.
    """

    def __init__(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        self.x = torch.randn(64, 24, generator=random)
        self.y = self.x @ torch.randn(24, 12, generator=random)
        first = 0.1 * torch.randn(24, 12, generator=random)
        self.parameters = [
            first.to(dtype).requires_grad_(),
            torch.full((12,), 0.1, dtype=dtype).requires_grad_(),
        ]

    def loss(self) -> Tensor:
        w, b = (p.float() for p in self.parameters)
        return (self.x @ w + b - self.y).square().mean()

    def train(self, optimizer: torch.optim.Optimizer, steps: int) -> float:
        """The loss after so many steps."""
        for _ in range(steps):
            optimizer.zero_grad()
            self.loss().backward()
            optimizer.step()
        return self.loss().item()


def numbers(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Everything that a step changes: parameters, then all tensors of the state, copied."""
    own = [p for group in optimizer.param_groups for p in group["params"]]
    held = [x for p in own for _, x in sorted(optimizer.state.get(p, {}).items())]
    return [x.detach().clone() for x in (*own, *held)]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Bit for bit, dtypes and shapes too."""
    return len(a) == len(b) and all(
        x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True)
    )


def through_file(state_dict: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# Training ------------------------------------------------------------------------------------


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
    drawn = [Keeping(seed=s).noise(one, t, 0, 1).item() for s in seeds for t in range(64)]
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


# Parameters in bfloat16 ----------------------------------------------------------------------


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


# Tensors of all kinds ------------------------------------------------------------------------


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


# Copies and checkpoints ----------------------------------------------------------------------

KINDS = [
    *((torch.float32, "nearest", state) for state in STATES),
    *(
        (torch.bfloat16, rounding, state)
        for rounding in ("stochastic", "kahan")
        for state in STATES
    ),
]


def _by_checkpoint(optimizer: Any, fresh: Any) -> Any:
    fresh.load_state_dict(through_file(optimizer.state_dict()))
    return fresh


@pytest.mark.parametrize("way", ["checkpoint", "deepcopy", "pickle"])
@pytest.mark.parametrize(("dtype", "rounding", "state"), KINDS)
@pytest.mark.parametrize(
    ("case", "engine"),
    [(FULL[0], "numba"), *((case, "eager") for case in (FULL[6], FULL[9], BEYOND[1]))],
    ids=str,
)
def test_training_goes_on_bit_for_bit(
    case: Case, engine: str, dtype: torch.dtype, rounding: str, state: str | None, way: str
) -> None:
    """After a save and a load mid-training everything is as if there had been none."""
    options = {"state_dtype": state, "rounding": rounding, "seed": 7, "engine": engine}
    shapes = [(2 * BLOCK + 9,), (3, 5), ()]
    parameters, gradients = tensors(dtype, shapes=shapes), Gradients()
    optimizer = case.ours(parameters, **options)
    for _ in range(4):
        gradients.give(parameters)
        optimizer.step()
    if way == "checkpoint":
        copied = twins(parameters)
        other = _by_checkpoint(optimizer, case.ours(copied, **options))
    else:
        both = optimizer, parameters
        other, copied = (
            copy.deepcopy(both) if way == "deepcopy" else pickle.loads(pickle.dumps(both))
        )
    for _ in range(3):
        gradients.give(parameters, copied)
        optimizer.step()
        other.step()
    assert same(numbers(optimizer), numbers(other))


@pytest.mark.parametrize("state", ["bfloat16", "int8"])
@pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)
def test_checkpoints_go_to_float32_and_back(case: Case, state: str) -> None:
    """Into torch's class and this package's in float32, on with training there, and back."""
    problem = Problem()
    optimizer = case.ours(problem.parameters, "eager", state_dtype=state)
    problem.train(optimizer, 20)
    checkpoint = through_file(optimizer.state_dict())
    for entry in checkpoint["state"].values():
        assert all(x.dtype in (torch.float32, torch.bfloat16) for x in entry.values())
        assert not any(key.endswith("scale") for key in entry)
    ends = {}
    for name in ("torch", "float32", state):
        other = Problem()
        other.parameters = twins(problem.parameters)
        make = case.theirs if name == "torch" else case.ours
        options = {} if name == "torch" else {"state_dtype": name, "engine": "eager"}
        fresh = make(other.parameters, **options)
        fresh.load_state_dict(copy.deepcopy(checkpoint))
        ends[name] = other.train(fresh, 15)
        if name == "torch":
            continue
        back = case.ours(other.parameters, "eager", state_dtype=state)
        back.load_state_dict(through_file(fresh.state_dict()))
        assert other.train(back, 5) < 1.05 * problem.loss().item()
    # Both float32 continue alike; the reduced state goes on about as far.
    assert ends["float32"] == pytest.approx(ends["torch"], rel=1e-3)
    assert ends[state] == pytest.approx(ends["torch"], rel=0.1)


def test_a_checkpoint_in_float32_becomes_codes() -> None:
    """What is loaded lies within one step of the grid, and keeps its precision until then."""
    theirs = tensors(torch.float32, shapes=[(3 * BLOCK,)])
    reference, gradients = torch.optim.Adam(theirs, lr=0.01), Gradients()
    for _ in range(3):
        gradients.give(theirs)
        reference.step()
    (p,) = mine = twins(theirs)
    optimizer = ours.Adam(mine, lr=0.01, state_dtype="int8")
    optimizer.load_state_dict(reference.state_dict())
    before = reference.state[theirs[0]]["exp_avg"].clone()
    p.grad = torch.zeros_like(p)
    optimizer.step()
    after = optimizer.state_dict()["state"][0]["exp_avg"]
    assert optimizer.state[p]["exp_avg"].dtype == torch.int8
    # A code's neighbours are 4/127 of the scale apart at most; it was rounded twice.
    scale = before.view(3, BLOCK).abs().amax(1).repeat_interleave(BLOCK)
    assert ((after - 0.9 * before).abs() <= 2 * 4 / 127 * scale).all()


def test_precision_is_not_lost_on_bfloat16_parameters() -> None:
    """torch rounds a loaded state to the parameter's dtype; a float32 state stays one."""
    parameters, gradients = tensors(torch.bfloat16), Gradients()
    optimizer = ours.Adam(parameters, state_dtype="float32")
    gradients.give(parameters)
    optimizer.step()
    other = ours.Adam(twins(parameters), state_dtype="float32")
    other.load_state_dict(optimizer.state_dict())
    assert same(numbers(optimizer), numbers(other))


def test_hooks_of_loading_see_and_change_what_is_kept() -> None:
    parameters, gradients = tensors(torch.bfloat16), Gradients()
    optimizer = ours.Adam(parameters, state_dtype="float32")
    gradients.give(parameters)
    optimizer.step()
    other = ours.Adam(twins(parameters), state_dtype="float32")

    def doubled(_: Any, given: dict[str, Any]) -> dict[str, Any]:
        state = {k: {**s, "exp_avg": 2 * s["exp_avg"]} for k, s in given["state"].items()}
        return {**given, "state": state}

    seen: list[Tensor] = []
    other.register_load_state_dict_pre_hook(doubled)
    other.register_load_state_dict_post_hook(lambda o: seen.extend(numbers(o)))
    other.load_state_dict(optimizer.state_dict())
    first = optimizer.state[parameters[0]]["exp_avg"]
    loaded = other.state[other.param_groups[0]["params"][0]]["exp_avg"]
    assert torch.equal(loaded, 2 * first)
    assert same(seen, numbers(other))


# Together with other options -----------------------------------------------------------------


@every_engine
@pytest.mark.parametrize("state", ["int8"])
def test_a_step_that_is_skipped_changes_nothing(state: str, engine: str) -> None:
    parameters, gradients = tensors(torch.bfloat16), Gradients()
    optimizer = ours.Adam(
        parameters, state_dtype=state, rounding="kahan", skip_nonfinite=True, engine=engine
    )
    gradients.give(parameters)
    optimizer.step()
    before = numbers(optimizer)
    assert isinstance(parameters[0].grad, Tensor)
    parameters[0].grad[0, 0] = math.nan
    with pytest.warns(RuntimeWarning, match="step not taken"):
        optimizer.step()
    assert same(before, numbers(optimizer))


@every_engine
def test_what_is_not_finite_spoils_its_block_alone(engine: str) -> None:
    """A NaN in a gradient makes 256 numbers of an 8-bit state NaN, and their parameters next."""
    p = torch.ones(3 * BLOCK, requires_grad=True)
    optimizer = ours.Adam([p], state_dtype="int8", engine=engine)
    for bad in (True, False):
        p.grad = torch.ones_like(p)
        if bad:
            p.grad[BLOCK + 3] = math.nan
        optimizer.step()
    spoiled = p.detach().isnan().view(3, BLOCK)
    assert spoiled[1].all()
    assert not spoiled[[0, 2]].any()


@pytest.mark.parametrize("state", ["bfloat16", "int8"])
@pytest.mark.parametrize(
    ("name", "convention"), [("RMSprop", "keras"), ("Adam", "keras"), ("Adagrad", "optax")]
)
def test_conventions(name: str, convention: str, state: str) -> None:
    ends = {}
    for kept in ("float32", state):
        problem = Problem()
        optimizer = getattr(ours, name)(
            problem.parameters, lr=0.02, convention=convention, state_dtype=kept, engine="eager"
        )
        ends[kept] = problem.train(optimizer, 60)
    assert ends["float32"] < 0.7 * Problem().loss().item()
    assert ends[state] == pytest.approx(ends["float32"], abs=0.03 * Problem().loss().item())


@every_engine
@pytest.mark.parametrize("state", ["int8"])
@pytest.mark.parametrize(
    "form", [own, clip_norm(find("adam"), max_norm=0.5)], ids=["own", "clipped"]
)
def test_rules_of_one_s_own(form: Rule, state: str, engine: str) -> None:
    cls = ours.from_rule(form, lr=0.05)
    ends = {}
    for kept in ("float32", state):
        problem = Problem(torch.bfloat16)
        optimizer = cls(
            problem.parameters, state_dtype=kept, rounding="kahan", seed=1, engine=engine
        )
        ends[kept] = problem.train(optimizer, 50)
        assert optimizer.state[problem.parameters[0]]["m"].dtype == getattr(torch, kept)
    begin = Problem().loss().item()
    assert ends["float32"] < 0.7 * begin
    assert ends[state] == pytest.approx(ends["float32"], abs=0.03 * begin)


def test_slots_may_have_any_name() -> None:
    """Names that end as those of this package's own entries do are kept apart from them."""

    @rule
    def named(theta, g, m, m_scale, grad_scale, t, *, lr=0.1):  # type: ignore[no-untyped-def]
        """Two averages and the last gradient."""
        m = 0.5 * m + 0.5 * g
        m_scale = 0.5 * m_scale + 0.5 * g * g
        return theta - lr * m / (sqrt(m_scale) + 1e-8), m, m_scale, g

    for state in ("float32", "int8"):
        parameters, gradients = tensors(torch.float32), Gradients()
        optimizer = ours.from_rule(named)(parameters, state_dtype=state)
        gradients.give(parameters)
        optimizer.step()
        keys = {"step", "m", "m_scale", "grad_scale"}
        assert optimizer.state_dict()["state"][0].keys() == keys
        other = ours.from_rule(named)(twins(parameters), state_dtype=state)
        other.load_state_dict(optimizer.state_dict())
        gradients.give(parameters, other.param_groups[0]["params"])
        optimizer.step()
        other.step()
        assert same(numbers(optimizer), numbers(other))


def test_a_slot_called_compensation_is_refused_where_there_is_one() -> None:
    @rule
    def taken(theta, g, compensation, t, *, lr=0.1):  # type: ignore[no-untyped-def]
        """A slot of the name that Kahan's sum has in the state."""
        return theta - lr * g, compensation + g

    (p,) = tensors(torch.bfloat16, shapes=[(3,)])
    p.grad = torch.ones_like(p)
    with pytest.raises(UsageError, match="rename that slot"):
        ours.from_rule(taken)([p], rounding="kahan").step()
    ours.from_rule(taken)([p]).step()


# Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"state_dtype": "int4"},
        {"state_dtype": torch.float16},
        {"state_dtype": 8},
        {"state_dtype": ""},
        {"rounding": "up"},
        {"rounding": None},
        {"seed": 1.5},
        {"seed": True},
        {"seed": None},
    ],
    ids=str,
)
def test_options_that_there_are_not_are_named(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(UsageError, match=f"^{name}=.*(choose one of|must be a whole number)"):
        ours.Adam(tensors(torch.float32), **options)


@pytest.mark.parametrize("options", [{"state_dtype": "int8"}, {"state_dtype": "bfloat16"}])
def test_sparse_rows_are_refused(options: dict[str, Any]) -> None:
    table = nn.Embedding(10, 4, sparse=True)
    optimizer = ours.Adagrad(table.parameters(), **options)
    table(torch.tensor([1, 3])).sum().backward()
    with pytest.raises(UsageError, match="are for dense gradients"):
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_steps_to_differentiate_through_are_refused(dtype: torch.dtype) -> None:
    (leaf,) = tensors(dtype, shapes=[(3,)])
    p = leaf.clone()
    optimizer = ours.Adam([p], differentiable=True, state_dtype="bfloat16", rounding="stochastic")
    p.grad = torch.ones(3, dtype=dtype)
    with pytest.raises(UsageError, match="nothing is differentiated through"):
        optimizer.step()


@pytest.fixture
def mesh() -> Iterator[Any]:
    """A mesh of this process alone."""
    if not (dist.is_available() and dist.is_gloo_available()):
        pytest.skip("this torch is built without gloo")
    from torch.distributed.device_mesh import init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_shards_take_bfloat16_and_no_codes(mesh: Any) -> None:
    """Blocks of 256 numbers would lie across ranks; the message says what to take instead."""
    from torch.distributed.tensor import Shard, distribute_tensor

    p = nn.Parameter(distribute_tensor(torch.ones(6, 4), mesh, [Shard(0)]))
    for state in ("int8", torch.int8):
        optimizer = ours.Adam([p], state_dtype=state)
        p.grad = torch.ones_like(p)
        with pytest.raises(UsageError, match='DTensor: take "bfloat16"'):
            optimizer.step()
    optimizer = ours.Adam([p], lr=0.01, state_dtype="bfloat16")
    optimizer.step()
    assert type(optimizer.state[p]["exp_avg"]) is type(p.data)
    assert optimizer.state[p]["exp_avg"].dtype == torch.bfloat16
    assert torch.allclose(p.detach().to_local(), torch.full((6, 4), 0.99))  # type: ignore[attr-defined]


# The page ------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "memory.md"


def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The code of docs/memory.md, from top to bottom, ends with the bytes that it says."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {"__name__": "page"})
    assert float(capsys.readouterr().out) == pytest.approx(2 * BYTES["int8"], abs=1e-3)


def test_the_page_has_the_recorded_differences() -> None:
    """Every row of its table, in percent of the loss in float32."""
    path = ROOT / "benchmarks" / "results" / "fewer_bytes.json"
    ((_, rows),) = json.loads(path.read_text(encoding="utf-8"))["tables"].items()
    page = PAGE.read_text(encoding="utf-8")
    kinds = list(dict.fromkeys((row["parameters"], row["state"]) for row in rows))[1:]
    assert f"| | {' | '.join(' / '.join(kind) for kind in kinds)} |" in page
    for first in range(0, len(rows), 1 + len(kinds)):
        full, *others = rows[first : first + 1 + len(kinds)]
        shares = [[100 * row[k] / full["loss"] for k in ("difference", "low", "high")]
                  for row in others]  # fmt: skip
        cells = [f"{mean:+.1f} ({low:+.1f} to {high:+.1f})" for mean, low, high in shares]
        line = f"| {full['task']}, {full['optimizer']} | {' | '.join(cells)} |"
        assert line in page, line
