"""The training stack around an optimizer: the same program with torch's class and with ours."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler, swa_utils

from optim_cases import ENGINES, FULL, Case, Compare, Gradients, parameters, tensors

every_engine = pytest.mark.parametrize("engine", ENGINES)
CASES = [case for case in FULL if case.name in ("SGD", "Adam", "AdamW", "RMSprop", "NAdam")]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

pytestmark = pytest.mark.usefixtures("one_thread")


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def batches(count: int, dtype: torch.dtype = torch.float64) -> Iterator[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        x = torch.randn(8, 6, generator=random, dtype=dtype)
        yield x, torch.randint(0, 3, (8,), generator=random)


class Twins:
    """A network under torch's optimizer and the same network under ours."""

    def __init__(self, case: Case, engine: str, dtype: torch.dtype = torch.float64) -> None:
        self.nets = [network(dtype) for _ in range(2)]
        self.optimizers = (
            case.theirs(self.nets[0].parameters()),
            case.ours(self.nets[1].parameters(), engine),
        )
        self.compare = Compare(*self.optimizers)

    def __iter__(self) -> Iterator[tuple[int, nn.Module, torch.optim.Optimizer]]:
        return zip(range(2), self.nets, self.optimizers, strict=True)


# -- precision, accumulation, clipping -----------------------------------------------------------


@every_engine
@pytest.mark.parametrize("unscale", [False, True], ids=["plain", "clipped"])
@cases
def test_autocast_and_gradient_scaler(case: Case, unscale: bool, engine: str) -> None:
    """bfloat16 activations, float32 weights; overflows on the way are skipped by both."""
    pair = Twins(case, engine, torch.float32)
    scalers = [torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=4) for _ in range(2)]
    scales = set()
    for t, (x, y) in enumerate(batches(20, torch.float32), start=1):
        before = copy.deepcopy(pair.nets[1].state_dict())
        for k, net, optimizer in pair:
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = net(x)
                assert out.dtype == torch.bfloat16
                loss = nn.functional.cross_entropy(out.float(), y)
            scalers[k].scale(loss * (torch.inf if t in (5, 11) else 1.0)).backward()
            if unscale:
                scalers[k].unscale_(optimizer)
                nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            scalers[k].step(optimizer)
            scalers[k].update()
        assert scalers[0].get_scale() == scalers[1].get_scale()
        scales.add(scalers[1].get_scale())
        moved = any(not torch.equal(before[n], p) for n, p in pair.nets[1].state_dict().items())
        assert moved == (t not in (5, 11))
        # bfloat16 activations may round apart once weights differ in their last bits, so the
        # second network starts every step where the first one is.
        pair.compare(f"step {t}:")
        with torch.no_grad():
            for p, q in zip(pair.nets[0].parameters(), pair.nets[1].parameters(), strict=True):
                q.copy_(p)
    assert len(scales) >= 3


@every_engine
@cases
def test_gradients_accumulated_and_clipped(case: Case, engine: str) -> None:
    pair = Twins(case, engine)
    for t, (x, y) in enumerate(batches(24), start=1):
        norms = []
        for _, net, optimizer in pair:
            (nn.functional.cross_entropy(net(x), y) / 3).backward()
            if t % 3 == 0:
                norms.append(nn.utils.clip_grad_norm_(net.parameters(), 0.2))
                nn.utils.clip_grad_value_(net.parameters(), 0.05)
                optimizer.step()
                optimizer.zero_grad()
        if norms:
            torch.testing.assert_close(norms[1], norms[0], rtol=1e-9, atol=1e-12)
            pair.compare(f"step {t}:")


# -- schedulers ----------------------------------------------------------------------------------


def chained(optimizer: Any) -> Any:
    parts = [lr_scheduler.ConstantLR(optimizer, 0.5, 3), lr_scheduler.ExponentialLR(optimizer, 0.9)]
    return lr_scheduler.ChainedScheduler(parts, optimizer)


def sequential(optimizer: Any) -> Any:
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4),
        lr_scheduler.PolynomialLR(optimizer, total_iters=9, power=2.0),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, [4])


def cycles(optimizer: Any) -> bool:
    return "momentum" in optimizer.defaults or "betas" in optimizer.defaults


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.95),
    "StepLR": lambda o: lr_scheduler.StepLR(o, step_size=4, gamma=0.3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 5, 11], gamma=0.4),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, factor=0.2, total_iters=5),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.1, total_iters=8),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, total_iters=10, power=2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=7),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=0.05, total_steps=30, cycle_momentum=cycles(o)
    ),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(
        o, 1e-3, 1e-2, step_size_up=3, cycle_momentum="momentum" in o.defaults
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1, factor=0.5),
    "ChainedScheduler": chained,
    "SequentialLR": sequential,
    "SWALR": lambda o: swa_utils.SWALR(o, swa_lr=0.05, anneal_epochs=6),
}


def test_every_scheduler_of_torch_is_here() -> None:
    module = vars(lr_scheduler).values()
    schedulers = {
        cls.__name__
        for cls in module
        if inspect.isclass(cls) and issubclass(cls, lr_scheduler.LRScheduler)
    } - {"LRScheduler", "_LRScheduler"}
    assert schedulers | {"SWALR"} == set(SCHEDULERS)


@pytest.mark.parametrize("resume", [False, True], ids=["through", "resumed"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@cases
def test_schedulers_on_groups(case: Case, scheduler: str, resume: bool) -> None:
    """Two groups of their own rates; in the middle all is saved, made anew and loaded."""

    def make(k: int, these: Sequence[Tensor]) -> tuple[Any, Any]:
        groups = [{"params": these[:2]}, {"params": these[2:], "lr": 0.003}]
        optimizer = case.ours(groups) if k else case.theirs(groups)
        return optimizer, SCHEDULERS[scheduler](optimizer)

    programs = [make(k, tensors(torch.float64)) for k in range(2)]
    gradients, rates = Gradients(), set()
    compare = Compare(programs[0][0], programs[1][0])
    for t in range(1, 21):
        gradients.give(*(parameters(optimizer) for optimizer, _ in programs))
        for optimizer, schedule in programs:
            optimizer.step()
            schedule.step(*[1.0] * (scheduler == "ReduceLROnPlateau"))
        compare(f"step {t}:")
        theirs, mine = ([g["lr"] for g in o.param_groups] for o, _ in programs)
        assert theirs == mine
        rates.add(tuple(mine))
        if resume and t == 9:
            saved = [[x.state_dict() for x in program] for program in programs]
            programs = [make(k, parameters(o)) for k, (o, _) in enumerate(programs)]
            for program, states in zip(programs, saved, strict=True):
                for x, state in zip(program, copy.deepcopy(states), strict=True):
                    x.load_state_dict(state)
            compare = Compare(programs[0][0], programs[1][0])
    assert len(rates) > 1


# -- averages of weights, functional calls, second derivatives -----------------------------------


@every_engine
@pytest.mark.parametrize("average", ["swa", "ema"])
@cases
def test_averaged_models(case: Case, average: str, engine: str) -> None:
    pair = Twins(case, engine)
    how = None if average == "swa" else swa_utils.get_ema_multi_avg_fn(0.8)
    averages = [swa_utils.AveragedModel(net, multi_avg_fn=how) for net in pair.nets]
    schedules = [swa_utils.SWALR(o, swa_lr=0.02, anneal_epochs=3) for o in pair.optimizers]
    for t, (x, y) in enumerate(batches(15), start=1):
        for k, net, optimizer in pair:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
            if t > 5:
                averages[k].update_parameters(net)
                schedules[k].step()
        pair.compare(f"step {t}:")
    assert int(averages[1].n_averaged) == 10
    both = zip(averages[0].parameters(), averages[1].parameters(), strict=True)
    tolerance = 1e-5 if case.name == "NAdam" else 1e-10  # torch's momenta of NAdam are float32
    for (p, q), now in zip(both, pair.nets[1].parameters(), strict=True):
        torch.testing.assert_close(q, p, rtol=tolerance, atol=tolerance)
        assert not torch.equal(q, now)


@every_engine
@cases
def test_functional_calls_and_gradients_of_torch_func(case: Case, engine: str) -> None:
    """Gradients by torch.func.grad over a functional call, handed to the optimizer."""
    pair = Twins(case, engine)

    def loss(weights: dict[str, Tensor], net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(torch.func.functional_call(net, weights, (x,)), y)

    for t, (x, y) in enumerate(batches(12), start=1):
        for _, net, optimizer in pair:
            weights = dict(net.named_parameters())
            detached = {name: p.detach() for name, p in weights.items()}
            for name, g in torch.func.grad(loss)(detached, net, x, y).items():
                weights[name].grad = g
            optimizer.step()
        pair.compare(f"step {t}:")


@every_engine
@cases
def test_a_penalty_on_the_gradient(case: Case, engine: str) -> None:
    """Second derivatives: the gradients that arrive were made by a backward pass of their own."""
    pair = Twins(case, engine)
    for t, (x, y) in enumerate(batches(12), start=1):
        for _, net, optimizer in pair:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            slopes = torch.autograd.grad(loss, list(net.parameters()), create_graph=True)
            (loss + 0.1 * sum(g.square().sum() for g in slopes)).backward()
            optimizer.step()
        pair.compare(f"step {t}:")


@every_engine
@cases
def test_parametrized_and_tied_weights(case: Case, engine: str) -> None:
    """weight_norm puts its parameters elsewhere; two layers share one parameter."""
    nets, optimizers = [], []
    for make in (case.theirs, lambda params: case.ours(params, engine)):
        torch.manual_seed(0)
        net = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)]).double()
        net[1].weight = net[0].weight
        nn.utils.parametrizations.weight_norm(net[2])
        nets.append(net)
        optimizers.append(make(net.parameters()))
    assert len(parameters(optimizers[1])) == 6
    compare = Compare(*optimizers)
    for t, (x, y) in enumerate(batches(12), start=1):
        for net, optimizer in zip(nets, optimizers, strict=True):
            optimizer.zero_grad()
            out = net[2](net[1](net[0](x).tanh()).tanh())
            nn.functional.cross_entropy(out, y).backward()
            optimizer.step()
        compare(f"step {t}:")


@every_engine
@cases
def test_gradients_in_buffers_that_stay(case: Case, engine: str) -> None:
    """Gradients that are views of one flat buffer, as communication libraries make them."""
    pair = Twins(case, engine)
    for _, net, _ in pair:
        buffer = torch.zeros(sum(p.numel() for p in net.parameters()), dtype=torch.float64)
        start = 0
        for p in net.parameters():
            p.grad = buffer[start : start + p.numel()].view_as(p)
            start += p.numel()
    for t, (x, y) in enumerate(batches(12), start=1):
        for _, net, optimizer in pair:
            optimizer.zero_grad(set_to_none=False)
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        pair.compare(f"step {t}:")
