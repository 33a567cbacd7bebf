"""Optimizer classes as entrants: the training that a loop written with torch would do."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from executed import complete, finish, train
from thalweg.errors import UsageError
from thalweg.schedules import Schedule
from thalweg.tasks import Task, find
from thalweg.training.brackets import train_group
from thalweg.training.context import TrainingContext
from thalweg.training.execution.transport import pack, unpack
from thalweg.training.population import build
from thalweg.training.runs import RANDOM_SEARCH, Recipe, Regime, Run, batches, method
from thalweg.training.torch_method import TorchMethod, torch_method
from thalweg.training.train import Session
from thalweg.training.trial import tried
from torch_loops import in_double, trained_by_torch

pytestmark = pytest.mark.usefixtures("one_thread")

REGIME = Regime(3, 16, evaluations=7)
RATE = 0.02
CLASSES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "momentum": functools.partial(torch.optim.SGD, momentum=0.9),
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "rprop": torch.optim.Rprop,
}
RECIPES = [
    Recipe(),
    Recipe(Schedule("cosine", 0.1)),
    Recipe(Schedule("step", 0.2), clip=0.5),
    Recipe(Schedule("linear"), clip=0.05, batch_size=53),
]


@pytest.fixture(scope="module")
def wine() -> Task:
    return in_double(find("wine-mlp"))


class TwoPass(torch.optim.Optimizer):
    """Sharpness-aware descent: needs the gradient that is there, and one beside it."""

    def __init__(self, params: Any, lr: float = 0.1, rho: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if closure is None:
            raise RuntimeError("sharpness needs a second pass")
        (group,) = self.param_groups
        parts = [p for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in parts]).norm()
        moved = [group["rho"] * p.grad / norm for p in parts]
        for p, e in zip(parts, moved, strict=True):
            p.add_(e)
        closure()
        for p, e in zip(parts, moved, strict=True):
            p.sub_(e).sub_(p.grad, alpha=group["lr"])


class Averaged(torch.optim.Optimizer):
    """Descent whose parameters for evaluation are the running mean of those it trains."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})
        self.training, self.count = False, 0

    def _swap(self) -> None:
        for p in self.param_groups[0]["params"]:
            mean = self.state[p].setdefault("mean", p.detach().clone())
            kept = p.detach().clone()
            p.data.copy_(mean)
            mean.copy_(kept)

    def train(self) -> None:
        if self.count and not self.training:
            self._swap()
        self.training = True

    def eval(self) -> None:
        if self.count and self.training:
            self._swap()
        self.training = False

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert self.training, "stepped while it was evaluated"
        self.count += 1
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"])
            mean = self.state[p].setdefault("mean", p.detach().clone())
            mean.lerp_(p, 1 / self.count)


class Brittle(torch.optim.SGD):
    """Raises at its fifth step where the learning rate is above 0.1."""

    def step(self, closure: Any = None) -> Any:
        self.taken = getattr(self, "taken", 0) + 1
        if self.taken == 5 and self.param_groups[0]["lr"] > 0.1:
            raise LookupError("no such slot")
        return super().step(closure)


def fixed(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params)


def parameters_of(task: Task, run: Run) -> list[Tensor]:
    session = Session(task, [run], REGIME)
    session.advance()
    return [p.detach() for p in session.population.own]


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # torch's SequentialLR
@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_a_class_trains_as_in_a_loop_of_torch(wine: Task, name: str, recipe: Recipe) -> None:
    run = Run(torch_method(CLASSES[name]), {"lr": RATE}, 1, recipe)
    expected = trained_by_torch(wine, 1, REGIME, lambda p: CLASSES[name](p, lr=RATE), recipe)
    for ours, theirs in zip(parameters_of(wine, run), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)  # the same operations


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_a_class_and_the_rule_of_its_formula_have_the_same_curves(
    wine: Task, name: str, recipe: Recipe
) -> None:
    hyper = {"lr": RATE, "weight_decay": 0.1}  # AdamW's own, and in front of the others
    given = torch_method(CLASSES[name])
    (one,), (other,) = (
        train(wine, [Run(m, hyper, 1, recipe)], REGIME) for m in (given, method(name))
    )
    for curve, values in vars(one).items():
        if isinstance(values, list):  # float64, and 21 steps at most
            assert values == pytest.approx(getattr(other, curve), rel=1e-9, nan_ok=True), curve


def test_pairs_of_numbers_have_a_name_each_and_whole_numbers_stay_whole(wine: Task) -> None:
    seen: list[dict[str, Any]] = []

    def make(
        params: Any, lr: float, betas: Any = (0.9, 0.99), every: int = 3, foreach: bool = True
    ):
        seen.append({"lr": lr, "betas": betas, "every": every})
        return torch.optim.Adam(params, lr=lr, betas=betas)

    known = torch_method(make)
    assert known.defaults == {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "every": 3.0}
    train(wine, [Run(known, {"lr": 0.1, "beta2": 0.5, "every": 4.4}, 0)], REGIME)
    assert seen[-1] == {"lr": 0.1, "betas": (0.9, 0.5), "every": 4}
    assert set(known.search) == {"beta1", "beta2"}


def test_a_second_gradient_counts_as_a_step(wine: Task) -> None:
    """The truth is the loop that a person writes, which takes every other mini-batch."""
    known = tried(torch_method(TwoPass), wine)
    assert known.closure
    run = Run(known, {"lr": 0.3}, 2)
    session = Session(wine, [run], REGIME)
    session.advance()

    model = build(wine, 2)
    optimizer, (x, y) = TwoPass(model.parameters(), lr=0.3), wine.train
    drawn = list(batches(len(x), REGIME, 2))
    assert len(drawn) == 21
    losses = []
    for index in drawn[:20:2]:  # no gradient is left for a second pass of the last

        def closure(index: Any = index) -> Tensor:
            optimizer.zero_grad()
            with torch.enable_grad():
                loss = wine.loss(model(x[index]), y[index])
                loss.backward()
            return loss

        closure()
        optimizer.step(closure)
        with torch.no_grad():
            losses.append(float(wine.loss(model(wine.validation[0]), wine.validation[1])))
    for ours, theirs in zip(session.population.own, model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    (result,) = session.results()
    # After three steps there has been one step of the optimizer, after six three, and so on.
    assert result.steps == [0, 3, 6, 9, 12, 15, 18, 21]
    expected = [losses[step // 2 - 1] for step in result.steps[1:]]
    assert result.validation_loss[1:] == pytest.approx(expected, rel=1e-12)


def test_lbfgs_has_no_more_gradients_than_the_others(wine: Task) -> None:
    """Its first call of the closure is of the parameters whose gradient is there already."""
    known = tried(torch_method(torch.optim.LBFGS), wine)
    assert known.closure
    session = Session(wine, [Run(known, {"lr": 0.5}, 0)], REGIME)
    stepper: Any = session.stepper
    for step in session:
        assert stepper.gradients - stepper.owed == step
    assert step == 21

    model = build(wine, 0)
    optimizer, (x, y) = torch.optim.LBFGS(model.parameters(), lr=0.5), wine.train
    drawn, calls = list(batches(len(x), REGIME, 0)), 0

    def closure() -> Tensor:
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        loss = wine.loss(model(x[index]), y[index])
        loss.backward()
        return loss

    while calls < len(drawn):
        index = drawn[calls]
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step(closure)
    expected = before if calls > len(drawn) else [p.detach() for p in model.parameters()]
    for ours, theirs in zip(session.population.own, expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-9, atol=1e-12)


def test_what_needs_no_closure_is_given_none(wine: Task) -> None:
    given: list[Any] = []

    class Asking(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            given.append(closure)
            return super().step(closure)

    class Bare(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self) -> None:  # type: ignore[override]
            for p in self.param_groups[0]["params"]:
                p -= self.param_groups[0]["lr"] * p.grad

    for kind in (Asking, Bare):
        known = tried(torch_method(kind), wine)
        assert not known.closure
        one, other = (
            parameters_of(wine, Run(m, {"lr": 0.1}, 0))
            for m in (known, torch_method(torch.optim.SGD))
        )
        for ours, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert set(given) == {None}


def test_measurements_are_of_the_parameters_for_evaluation(wine: Task) -> None:
    session = Session(wine, [Run(torch_method(Averaged), {"lr": 0.3}, 4)], REGIME)
    session.advance()
    (result,) = session.results()

    model = build(wine, 4)
    optimizer, (x, y) = Averaged(model.parameters(), lr=0.3), wine.train
    losses = []
    for index in batches(len(x), REGIME, 4):
        optimizer.train()
        optimizer.zero_grad()
        wine.loss(model(x[index]), y[index]).backward()
        optimizer.step()
        optimizer.eval()
        with torch.no_grad():
            losses.append(float(wine.loss(model(wine.validation[0]), wine.validation[1])))
    expected = [losses[step - 1] for step in result.steps[1:]]
    assert result.validation_loss[1:] == pytest.approx(expected, rel=1e-12)
    assert session.stepper.optimizer.training  # type: ignore[attr-defined]
    with session.stepper.evaluating():
        measured = [p.detach().clone() for p in session.population.own]
    for ours, theirs in zip(measured, model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)


def test_a_run_that_explodes_is_frozen_as_a_rules_is(wine: Task) -> None:
    for kind in (torch.optim.SGD, torch.optim.LBFGS):
        known = tried(torch_method(kind), wine)
        (result,) = train(wine, [Run(known, {"lr": 1e12}, 0)], REGIME)
        assert result.diverged_at is not None
        assert result.steps[-1] == 21


def test_a_class_that_raises_is_named_with_its_own_line_and_the_others_go_on(wine: Task) -> None:
    known = tried(torch_method(Brittle), wine)
    runs = [Run(known, {"lr": rate}, 0) for rate in (0.05, 0.2)]
    with pytest.warns(
        RuntimeWarning,
        match=r"Brittle at \{'lr': 0.2\}, seed 0, fails .*test_torch_stepper.py:\d+: LookupError: "
        "no such slot",
    ):
        sound, failed = complete(wine, runs, REGIME)
    assert sound.diverged_at is None
    assert failed.failed is not None
    assert math.isnan(failed.validation_loss[-1])


def test_brackets_of_a_class_are_halved_as_those_of_its_rule_are(wine: Task) -> None:
    rates = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    regime = Regime(8, 16, evaluations=8)
    stops = []
    for m in (torch_method(torch.optim.Adam), method("adam")):
        runs = [Run(m, {"lr": rate}, seed, bracket="b") for rate in rates for seed in (0, 1)]
        stops.append([r.stopped_at for r in finish(wine, runs, regime, lanes=12)])
    assert stops[0] == stops[1]
    assert any(stops[0])


def test_kinds_do_not_train_in_the_same_lanes_and_groups_of_classes_have_one_each(
    wine: Task,
) -> None:
    known = torch_method(torch.optim.Adam)
    for other in (method("adam"), RANDOM_SEARCH):
        with pytest.raises(ValueError, match="cannot train in the same lanes"):
            train(wine, [Run(known, {}, 0), Run(other, {}, 0)], REGIME)
    with pytest.raises(ValueError, match="one run at a time"):
        train(wine, [Run(known, {}, 0), Run(known, {}, 1)], REGIME)
    runs = [Run(known, {"lr": RATE}, seed) for seed in range(3)]
    together = train_group(TrainingContext(wine, REGIME, lanes=3), runs)
    assert [r.validation_loss for r in together] == [
        train(wine, [run], REGIME)[0].validation_loss for run in runs
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nn.Linear, "Linear.* is no optimizer: give a class derived from torch.optim.Optimizer"),
        (torch.optim.Optimizer, "is the base of optimizers"),
        (fixed, "fixed takes no argument lr to race over"),
    ],
)
def test_what_is_no_optimizer_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        torch_method(make)


def test_what_cannot_take_a_step_is_refused_with_its_own_error(wine: Task) -> None:
    def broken(params: Any, lr: float = 0.1) -> Any:
        raise KeyError("no such preset")

    def wrong(params: Any, lr: float = 0.1) -> Any:
        return nn.Linear(1, 1)

    class Late(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise ArithmeticError("no such step")

    for make, message in (
        (
            broken,
            r"broken cannot be built: .*test_torch_stepper.py:\d+: KeyError: 'no such preset'",
        ),
        (wrong, "wrong returns a Linear; it must return a torch.optim.Optimizer"),
        (
            Late,
            r"Late fails on its first step: .*test_torch_stepper.py:\d+: ArithmeticError: no su",
        ),
        (
            functools.partial(torch.optim.Adam, eps=-1),
            "Adam cannot be built: ValueError: Invalid epsilon",
        ),
    ):
        known = torch_method(make)
        with pytest.raises(UsageError, match=message):
            tried(known, wine)


def test_a_schedule_needs_a_learning_rate_in_the_groups(wine: Task) -> None:
    class Hidden(torch.optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(params, {})
            self.rate = lr

        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            for p in self.param_groups[0]["params"]:
                p.data -= self.rate * p.grad

    known = tried(torch_method(Hidden), wine)
    train(wine, [Run(known, {}, 0)], REGIME)
    with pytest.raises(UsageError, match="Hidden has no 'lr' in its param_groups"):
        train(wine, [Run(known, {}, 0, Recipe(Schedule("cosine")))], REGIME)


def test_a_learning_rate_that_is_a_tensor_is_scheduled_in_place(wine: Task) -> None:
    def make(params: Any, lr: float = 0.1) -> torch.optim.Optimizer:
        return torch.optim.Adam(params, lr=torch.tensor(lr, dtype=torch.float64), foreach=False)

    recipe = Recipe(Schedule("cosine"))
    one, other = (
        parameters_of(wine, Run(torch_method(m), {"lr": RATE}, 0, recipe))
        for m in (make, torch.optim.Adam)
    )
    for ours, theirs in zip(one, other, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_fingerprints_are_of_code_and_options() -> None:
    """A class that changed is another method, and the same one in another process is not."""

    def kind(sign: int) -> type[torch.optim.Optimizer]:
        class Signed(torch.optim.SGD):
            direction = sign

        return Signed

    adam, sgd = torch.optim.Adam, torch.optim.SGD
    alike = [torch_method(adam), torch_method(adam), torch_method(functools.partial(adam))]
    assert alike[0] == alike[1]
    others = [
        torch_method(sgd),
        torch_method(functools.partial(adam, eps=1e-4)),
        torch_method(functools.partial(adam, eps=1e-5)),
        torch_method(TwoPass),
        torch_method(kind(1)),
        torch_method(kind(-1)),
    ]
    marks = [m.fingerprint for m in (alike[0], *others)]
    assert len(set(marks)) == len(marks)
    again: TorchMethod = unpack(pack(torch_method(TwoPass)))
    assert torch_method(again.make).fingerprint == torch_method(TwoPass).fingerprint
    assert again == torch_method(TwoPass)


def test_a_class_has_the_same_fingerprint_after_its_first_instance() -> None:
    """Torch wraps `step` then, so that a race in a notebook would train everything again."""

    class Base(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    class Plain(Base):
        pass

    class Other(Base):
        def step(self, closure: Any = None) -> Any:
            return super().step(closure)

    kinds = (Plain, Other, Base)
    before = [torch_method(kind).fingerprint for kind in kinds]
    for kind in kinds:
        kind([nn.Parameter(torch.zeros(1))], lr=0.1)
        wrapped = vars(kind)["step"]
        assert [torch_method(each).fingerprint for each in kinds] == before
        assert vars(kind)["step"] is wrapped
