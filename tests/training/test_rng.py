"""Random streams: no two purposes, and no two seeds of one, ever draw the same numbers."""

from __future__ import annotations

import ast
import itertools
import random
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import thalweg
from thalweg.errors import UsageError
from thalweg.racing.entrants import entrants
from thalweg.racing.samplers import points
from thalweg.racing.space import Configuration
from thalweg.racing.spec import Spec
from thalweg.tasks import Task
from thalweg.training.lane_rng import Draws
from thalweg.training.population import build
from thalweg.training.rng import (
    TUNING,
    Purpose,
    key,
    numpy_generator,
    seeded,
    torch_generator,
)
from thalweg.training.runs import Regime, Run, batches

LAST = 2 * TUNING - 1  # of all seeds

# Small seeds of both stages, those next to a power of two, and some anywhere.
SEEDS = sorted(
    {*range(600), *range(TUNING, TUNING + 600), LAST}
    | {s + d for s in (2**k for k in range(11, 28)) for d in (-1, 0, 1)}
    | set(np.random.default_rng(0).integers(0, LAST, 600).tolist())
)
PAIRS = list(itertools.product(Purpose, SEEDS))


def undo(mixed: int) -> int:
    """The inverse of the mixing, step by step."""
    mixed ^= mixed >> 16
    mixed = mixed * pow(0xC2B2AE35, -1, 1 << 32) & 0xFFFFFFFF
    mixed ^= mixed >> 13 ^ mixed >> 26
    mixed = mixed * pow(0x85EBCA6B, -1, 1 << 32) & 0xFFFFFFFF
    return mixed ^ mixed >> 16


def test_a_key_has_32_bits_and_tells_its_purpose_and_seed() -> None:
    # What can be undone cannot map two to one: this holds for every seed, not only for these.
    for purpose, seed in PAIRS:
        made = key(purpose, seed)
        assert 0 < made < 1 << 32
        assert divmod(undo(made), 1 << 28) == (purpose, seed)


@pytest.mark.parametrize("seed", [-1, LAST + 1, 1 << 32])
def test_a_seed_that_generators_would_cut_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed={seed} must be from 0 to 268,435,455"):
        key(Purpose.WEIGHTS, seed)


def _of_torch(purpose: Purpose, seed: int) -> Hashable:
    bits = torch.randint(0, 1 << 31, (4,), generator=torch_generator(purpose, seed))
    return tuple(bits.tolist())


def _of_numpy(purpose: Purpose, seed: int) -> Hashable:
    return numpy_generator(purpose, seed).bytes(16)


@pytest.mark.parametrize("drawn", [_of_torch, _of_numpy])
def test_no_two_streams_draw_the_same(drawn: Callable[[Purpose, int], Hashable]) -> None:
    # Of 124 bits each: the chance of any two of these being equal is below 1e-28.
    assert len({drawn(*pair) for pair in PAIRS}) == len(PAIRS)


def test_no_two_streams_of_jax_draw_the_same() -> None:
    jax = pytest.importorskip("jax", reason="needs jax (pip install 'thalweg[jax]')")
    keys = np.array([key(*pair) for pair in PAIRS], np.uint32)
    drawn = jax.vmap(lambda seed: jax.random.bits(jax.random.key(seed), (4,)))(keys)
    assert len(np.unique(np.asarray(drawn), axis=0)) == len(PAIRS)


class Noisy(nn.Module):
    """Shows what its initial weights, and what it draws as it trains, are drawn from."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.sum() + torch.rand(4).sum()


def test_every_stream_of_a_race_is_another_whatever_it_is_for() -> None:
    task = Task("noisy", Noisy, (torch.randn(40, 1), torch.randn(40, 1)), batch_size=4)
    spec = Spec(task, entrants(["random_search"]), Regime(1, 4), seeds=10, tuning_seeds=10)
    (method,), one = spec.entrants, Configuration.of(0.1)
    runs: list[Run] = [*spec.tuning(method, [one]), *spec.final(method, one)]
    seeds = [run.seed for run in runs]
    assert len(set(seeds)) == 20

    weights = [build(task, seed).weight.detach() for seed in seeds]
    of_models = [state[0] for state in Draws(seeds).states]
    of_search = [torch_generator(Purpose.RANDOM_SEARCH, seed).get_state() for seed in seeds]
    first = [torch.rand(4, generator=_at(state)) for state in (*of_models, *of_search)]
    drawn = {tuple(values.tolist()) for values in (*weights, *first)}
    assert len(drawn) == 60
    orders = {tuple(np.concatenate([*batches(40, spec.regime, s)]).tolist()) for s in seeds}
    assert len(orders) == 20
    scrambled = {points(2, 4, seed).tobytes() for seed in seeds}
    assert len(scrambled) == 20


def _at(state: Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def test_a_stream_is_the_global_one_for_a_while() -> None:
    def drawn(_: int = 0) -> list[float]:
        return [torch.rand(()).item(), np.random.rand(), random.random()]  # noqa: NPY002

    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    expected = drawn()
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    with seeded(Purpose.WEIGHTS, 0):
        first = drawn()
    with seeded(Purpose.WEIGHTS, 0):
        assert drawn() == first
    with pytest.raises(ZeroDivisionError), seeded(Purpose.WEIGHTS, 0):
        drawn(1 // 0)
    assert drawn() == expected  # the caller's go on where they were
    with seeded(Purpose.WEIGHTS, 1):
        assert not set(drawn()) & set(first)


class FromNumpy(nn.Module):
    """Draws its weights as people do who come from NumPy."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(np.random.randn(3), dtype=torch.float32))  # noqa: NPY002
        self.b = nn.Parameter(torch.tensor([random.gauss(0, 1)]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.a.sum() + self.b


def test_weights_drawn_by_numpy_and_python_belong_to_the_seed_too() -> None:
    task = Task("numpy", FromNumpy, (torch.randn(40, 1), torch.randn(40, 1)))
    one, again, other = (build(task, seed) for seed in (0, 0, 1))
    for name in ("a", "b"):
        assert torch.equal(getattr(one, name), getattr(again, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))


MAKING = {
    "manual_seed",
    "manual_seed_all",
    "seed",
    "default_rng",
    "RandomState",
    "Generator",
    "PRNGKey",
    "SeedSequence",
    "PCG64",
    "Philox",
    "MT19937",
    "Random",
}
# Generators that are of no run: of resampling, of signs that are flipped, of power's samples.
OTHERS = {
    "racing/statistics.py",
    "racing/power.py",
    "racing/sign_flips.py",
    "racing/resolution.py",
}


def test_one_module_makes_generators_from_the_seeds_of_runs() -> None:
    source = Path(thalweg.__file__).parent
    found = {
        path.relative_to(source).as_posix()
        for layer in ("training", "racing")
        for path in (source / layer).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", "") in MAKING or getattr(node.func, "id", "") in MAKING)
    }
    assert found - OTHERS == {"training/rng.py"}
