"""Classes whose steps measure whole tensors, and clipping by the norm of all gradients."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thalweg.optim as ours
from optim_cases import DTYPES, ENGINES, TOLERANCE, Gradients, tensors, twins
from published import PUBLISHED, adamp_as_published
from thalweg import rules
from thalweg.errors import UsageError
from thalweg.optim.stepping.batches.cpu import HostBatch
from thalweg.optim.stepping.batches.eager import Eager
from thalweg.rules import Rule

engines = pytest.mark.parametrize("engine", ENGINES)
CLASSES = {rules.adamp: ours.AdamP, rules.lamb: ours.LAMB, rules.lars: ours.LARS}
classes = pytest.mark.parametrize("form", CLASSES, ids=lambda form: form.name)
KEYS = {
    ours.AdamP: {"step", "exp_avg", "exp_avg_sq"},
    ours.LAMB: {"step", "exp_avg", "exp_avg_sq"},
    ours.LARS: {"momentum_buffer"},
}
SHAPES = ((6, 4, 3, 3), (8, 30), (11,), (), (1, 5), (0, 3), (1,))
STEPS = 12


def upright(p: Tensor, g: Tensor, step: int) -> Tensor:
    """Gradients that AdamP projects: on every channel, on the whole tensor, or neither."""
    if p.ndim < 2 or not p.numel() or step % 3 == 0:
        return g
    flat = p.detach().reshape(len(p) if step % 3 == 1 else 1, -1)
    own = g.reshape(flat.shape)
    along = (own * flat).sum(1, keepdim=True) / (flat * flat).sum(1, keepdim=True)
    return (own - along * flat).reshape(p.shape)


def close(p: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    scale = float(expected.abs().max()) if expected.numel() else 1.0
    torch.testing.assert_close(
        p.detach().double(), expected.double(), rtol=0, atol=TOLERANCE[dtype] * scale
    )


@engines
@pytest.mark.parametrize("dtype", DTYPES)
@classes
def test_many_parameters_in_groups_are_the_published_algorithm(
    form: Rule, dtype: torch.dtype, engine: str
) -> None:
    """A second group decays; some parameters have no gradient at some steps."""
    these = tensors(dtype, SHAPES)
    starts = [p.detach().clone().double() for p in these]
    own = {"params": these[3:], "weight_decay": 0.1}
    mine = CLASSES[form]([{"params": these[:3]}, own], engine=engine)
    random = torch.Generator().manual_seed(3)
    given: list[list[Tensor]] = [[] for _ in these]
    for step in range(STEPS):
        for k, p in enumerate(these):
            g = torch.randn(p.shape, generator=random, dtype=torch.float64)
            p.grad = upright(p, g, step).to(dtype) if (k + step) % 5 else None
            if p.grad is not None:
                given[k].append(p.grad.double())
        mine.step()
    for k, (p, start) in enumerate(zip(these, starts, strict=True)):
        expected = PUBLISHED[form](start, given[k], 0.1 if k > 2 else 0.0)
        close(p, expected, dtype)
        assert mine.state[p].keys() == KEYS[CLASSES[form]]
        if "step" in mine.state[p]:
            assert mine.state[p]["step"] == len(given[k])
    kind = Eager if engine == "eager" else HostBatch
    assert all(type(batch) is kind for batch in mine._plan.batches)  # type: ignore[union-attr]


@engines
def test_adamp_on_a_model_of_torch_s_layers(engine: str) -> None:
    """Convolutions before normalization have gradients that stand upright by themselves."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 16, 10, bias=False),
        nn.LayerNorm(10),
    ).double()
    start = [p.detach().clone() for p in model.parameters()]
    mine = ours.AdamP(model.parameters(), weight_decay=0.1, engine=engine)
    given: list[list[Tensor]] = [[] for _ in start]
    for _ in range(STEPS):
        mine.zero_grad()
        model(torch.randn(16, 3, 6, 6, dtype=torch.float64)).pow(4).mean().backward()
        for k, p in enumerate(model.parameters()):
            given[k].append(p.grad.clone())  # type: ignore[union-attr]
        mine.step()
    for k, p in enumerate(model.parameters()):
        close(p, adamp_as_published(start[k], given[k], 0.1), torch.float64)
    adam = [ours.AdamW([s.clone().requires_grad_()], weight_decay=0.1) for s in start]
    for optimizer, gradients in zip(adam, given, strict=True):
        for g in gradients:
            optimizer.param_groups[0]["params"][0].grad = g
            optimizer.step()
    plain = [optimizer.param_groups[0]["params"][0] for optimizer in adam]
    moved = [(p - q).abs().max() > 1e-5 for p, q in zip(model.parameters(), plain, strict=True)]
    assert moved[0]
    assert moved[3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex128])
@classes
def test_number_types_that_are_stepped_one_by_one(form: Rule, dtype: torch.dtype) -> None:
    these = tensors(dtype, ((4, 3), (5,)))
    wide = torch.complex128 if dtype.is_complex else torch.float64
    others = [p.detach().to(wide).requires_grad_() for p in these]
    mine, theirs = CLASSES[form](these), CLASSES[form](others, engine="eager")
    gradients = Gradients()
    for _ in range(5):
        gradients.give(these)
        for p, q in zip(these, others, strict=True):
            q.grad = p.grad.to(wide)  # type: ignore[union-attr]
        mine.step()
        theirs.step()
    for p, q in zip(these, others, strict=True):
        tolerance = TOLERANCE.get(dtype, 1e-12)
        torch.testing.assert_close(p.to(wide), q, rtol=tolerance, atol=tolerance)


@engines
@classes
def test_uphill_is_downhill_on_the_negated_gradient(form: Rule, engine: str) -> None:
    these = tensors(torch.float64, ((4, 3), (5,)))
    others = twins(these)
    up = CLASSES[form](these, maximize=True, weight_decay=0.1, engine=engine)
    down = CLASSES[form](others, weight_decay=0.1, engine=engine)
    gradients = Gradients()
    for _ in range(5):
        gradients.give(these)
        for p, q in zip(these, others, strict=True):
            q.grad = -p.grad  # type: ignore[operator]
        up.step()
        down.step()
        for p, q in zip(these, others, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@classes
def test_checkpoints_and_copies_go_on_where_they_were(form: Rule) -> None:
    these = tensors(torch.float32, ((4, 3), (5,)))
    mine = CLASSES[form](these, 0.02, weight_decay=0.1)
    gradients = Gradients()
    for _ in range(3):
        gradients.give(these)
        mine.step()
    others = twins(these)
    loaded = CLASSES[form](others)
    loaded.load_state_dict(copy.deepcopy(mine.state_dict()))
    pickled = pickle.loads(pickle.dumps(mine))
    third = pickled.param_groups[0]["params"]
    for _ in range(3):
        gradients.give(these, others, third)
        for optimizer in (mine, loaded, pickled):
            optimizer.step()
    for p, q, r in zip(these, others, third, strict=True):
        assert torch.equal(p, q)
        assert torch.equal(p, r)


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (
            ours.AdamP,
            {
                "lr": 1e-3,
                "betas": (0.9, 0.999),
                "eps": 1e-8,
                "weight_decay": 0,
                "delta": 0.1,
                "wd_ratio": 0.1,
            },
        ),  # adamp.py of github.com/clovaai/AdamP
        (ours.LAMB, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-6, "weight_decay": 0}),
        (ours.LARS, {"lr": 1.0, "momentum": 0.9, "weight_decay": 0, "trust": 1e-3, "eps": 1e-8}),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_signatures(cls: Any, expected: dict[str, Any]) -> None:
    given = list(inspect.signature(cls).parameters.values())[1 : len(expected) + 1]
    assert {p.name: p.default for p in given} == expected
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in given)


@classes
def test_options_that_cannot_work(form: Rule) -> None:
    cls = CLASSES[form]
    for options, text in (
        ({"lr": -1.0}, "Invalid learning rate"),
        ({"eps": -1.0}, "Invalid epsilon value"),
        ({"weight_decay": math.nan}, "Invalid weight_decay value"),
        ({"convention": "authors"}, f"'authors' does not have {form.name}; choose one of torch"),
    ):
        with pytest.raises(UsageError, match=text):
            cls(tensors(torch.float32), **options)
    (p,) = tensors(torch.float32, ((4, 3),))
    p.grad = torch.eye(4, 3).to_sparse()
    with pytest.raises(RuntimeError, match="sparse=False"):
        cls([p]).step()


# -- clipping by the norm of all gradients -------------------------------------------------------

SCALES = (5.0, 0.01, 1.0, 30.0, 0.3, 2.0)


def follow_torch(
    mine: torch.optim.Optimizer,
    theirs: torch.optim.Optimizer,
    max_norm: float = 0.7,
    absent: Callable[[int, int], bool] = lambda k, t: False,
) -> None:
    """Step ours, and torch's after its own clipping; the parameters stay together."""
    these, others = ([p for g in o.param_groups for p in g["params"]] for o in (mine, theirs))
    gradients = Gradients(absent)
    tolerance = max(TOLERANCE[p.dtype.to_real()] for p in these)  # the norm is of all
    for scale in SCALES:
        gradients.give(these, others)
        for p in (*these, *others):
            if p.grad is not None:
                p.grad *= scale
        kept = [None if p.grad is None else p.grad.clone() for p in these]
        torch.nn.utils.clip_grad_norm_(others, max_norm)
        theirs.step()
        mine.step()
        for p, q, g in zip(these, others, kept, strict=True):
            torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)
            assert (g is None) is (p.grad is None)
            assert g is None or torch.equal(p.grad, g)  # type: ignore[arg-type]


def numbers(optimizer: ours.RuleOptimizer) -> list[str]:
    return [type(batch).__name__ for batch in optimizer._plan.batches]  # type: ignore[union-attr]


@engines
@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping_is_torch_s_over_groups_and_rows(dtype: torch.dtype, engine: str) -> None:
    """Two groups, gradients that come late, so that parameters differ in their step: one norm."""
    these = tensors(dtype, ((6, 4), (11,), (), (3, 5)))
    others = twins(these)
    form = rules.clip_norm(rules.adam, max_norm=0.7)
    groups = [{"params": these[:2], "lr": 0.01}, {"params": these[2:], "beta1": 0.5}]
    mine = ours.from_rule(form)(groups, engine=engine)
    groups = [{"params": others[:2], "lr": 0.01}, {"params": others[2:], "betas": (0.5, 0.999)}]
    theirs = torch.optim.Adam(groups)
    follow_torch(mine, theirs, absent=lambda k, t: k == 1 and t in (1, 4))
    assert numbers(mine) == ["Together" if engine == "eager" else "HostBatch"]


@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.float32, torch.float64),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.complex64, torch.float32),
    ],
    ids=str,
)
def test_clipping_over_parameters_that_no_single_launch_takes(dtypes: Any) -> None:
    these = [tensors(dtype, ((4, 3), (5,)), seed=k) for k, dtype in enumerate(dtypes)]
    flat = [p for some in these for p in some]
    others = twins(flat)
    form = rules.clip_norm(rules.momentum, max_norm=0.7)
    follow_torch(
        ours.from_rule(form)(flat, lr=0.01), torch.optim.SGD(others, lr=0.01, momentum=0.9)
    )


@pytest.mark.parametrize("inner", list(rules.registry().values()), ids=lambda rule: rule.name)
def test_every_rule_clipped_in_both_engines(inner: Rule) -> None:
    form = rules.clip_norm(inner, max_norm=0.5)
    these = tensors(torch.float64, ((4, 3), (5,), (), (2, 0)))
    others = twins(these)
    fast = ours.from_rule(form)(these)
    slow = ours.from_rule(form)(others, engine="eager")
    gradients = Gradients()
    for _ in range(4):
        gradients.give(these, others)
        fast.step()
        slow.step()
        tolerance = 1e-6 if form.scalars else 1e-12
        for p, q in zip(these, others, strict=True):
            torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance)
    assert (numbers(fast), numbers(slow)) == (["HostBatch"], ["Together"])


@engines
def test_clipping_uphill(engine: str) -> None:
    """torch negates first; the norm does not mind."""
    these = tensors(torch.float64)
    others = twins(these)
    mine = ours.from_rule(rules.clip_norm(rules.sgd))(these, 0.1, 0.7, maximize=True, engine=engine)
    follow_torch(mine, torch.optim.SGD(others, 0.1, maximize=True))


@engines
def test_clipping_by_value_is_torch_s(engine: str) -> None:
    these = tensors(torch.float64)
    others = twins(these)
    mine = ours.from_rule(rules.clip_value(rules.adam, max_value=0.4))(these, engine=engine)
    theirs = torch.optim.Adam(others)
    gradients = Gradients()
    for _ in range(5):
        gradients.give(these, others)
        mine.step()
        torch.nn.utils.clip_grad_value_(others, 0.4)
        theirs.step()
        for p, q in zip(these, others, strict=True):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


def test_clipping_that_cannot_be_measured() -> None:
    cls = ours.from_rule(rules.clip_norm(rules.adam))

    def refused(text: str, params: Any, **options: Any) -> None:
        mine = cls(params, **options)
        these = [p for group in mine.param_groups for p in group["params"]]
        before = twins(these)
        for p in these:
            p.grad = torch.ones_like(p)
        with pytest.raises(UsageError, match=text):
            mine.step()
        for p, old in zip(these, before, strict=True):
            assert p.is_meta or torch.equal(p, old)

    first, second = tensors(torch.float32, ((3,), (3,)))
    groups = [{"params": [first], "maximize": True}, {"params": [second]}]
    refused(r"clip_norm\(adam\)+ measures.*give them one maximize", groups)
    (wide,) = tensors(torch.float64, ((3,),))
    refused("engine='numba' steps those of one dtype", [first, wide], engine="numba")
    away = torch.zeros(3, device="meta", requires_grad=True)
    refused("they are on cpu and meta", [first, away])
