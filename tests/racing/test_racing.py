"""The race: equal budgets, the search's edges, validation alone chooses, the judgement of runs."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import thalweg as tw
from executed import watch_races
from thalweg.errors import UsageError
from thalweg.ops import where
from thalweg.racing import Spec, race, run, search
from thalweg.racing.entrants import entrants
from thalweg.racing.space import Configuration
from thalweg.report import html
from thalweg.rules import rule
from thalweg.rules.core import LogRange
from thalweg.tasks import Metric, Task, find
from thalweg.training.context import TrainingContext
from thalweg.training.execution.plan import ExecutionPlan
from thalweg.training.runs import RANDOM_SEARCH, Method, RandomSearch, Regime, Run, method, methods

pytestmark = pytest.mark.usefixtures("one_thread")

# Its best lies so far above where it is looked for that every round ends on the edge.
FAR = replace(method("sgd"), name="far", search={"lr": LogRange(1e-9, 1.0)})  # type: ignore[type-var]


@pytest.fixture(autouse=True)
def lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of this file need not measure how to run."""
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 64))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Run, bool]]:
    """The runs that were trained, and whether each was shown the test set."""
    done: list[tuple[Run, bool]] = []

    def seen(context: TrainingContext, groups: Sequence[Sequence[Run]]) -> None:
        done.extend((r, context.test) for group in groups for r in group)

    watch_races(monkeypatch, seen)
    return done


def entry(found: tw.Race, name: str) -> dict[str, Any]:
    return next(e for e in found.optimizers if e["name"] == name)


# Who takes part, and how often.


def test_all_distinct_methods_take_part_by_default() -> None:
    names = [m.name for m in entrants(None)]
    assert set(methods()) - set(names) == {"rmsprop_centered_momentum"}
    assert "random_search" in names


def test_every_optimizer_tries_equally_many_rates_on_the_same_seeds(
    trained: list[tuple[Run, bool]],
) -> None:
    found = race("quadratic:dim=4", optimizers=[*entrants(None), FAR], budget=3, seeds=2, epochs=1)
    (count,) = {e["configurations"] for e in found.optimizers}
    # One's best stays on an edge: four rounds of two half decades each end four decades beyond.
    assert count in (3 + 4 * 2, 3 + 5 * 2)
    tuned = [r for r, test in trained if not test]
    final = [r for r, test in trained if test]
    for name in (e["name"] for e in found.optimizers):
        assert sum(r.method.name == name for r in tuned) == 2 * count
        assert sorted(r.seed for r in final if r.method.name == name) == [0, 1]
    assert len(trained) == found.document["runs"]
    assert len({(r.method.name, r.hyper["lr"], r.seed) for r, _ in trained}) == len(trained)


def test_final_seeds_are_fresh_shared_and_the_only_ones_shown_the_test_set(
    trained: list[tuple[Run, bool]],
) -> None:
    found = race("wine-mlp", optimizers=["sgd", "adam"], budget=3, seeds=4, epochs=1)
    tuned, final = (
        {(r.method.name, r.seed) for r, test in trained if test is shown} for shown in (False, True)
    )
    assert not {seed for _, seed in tuned} & {seed for _, seed in final}
    assert final == set(itertools.product(["sgd", "adam"], range(4)))
    for r, test in trained:
        if test:
            assert r.hyper["lr"] == entry(found, r.method.name)["learning_rate"]


def test_the_race_stops_continuing_when_every_best_is_inside(
    trained: list[tuple[Run, bool]],
) -> None:
    # sgd on a quadratic: best near 2/(1 + 1/κ), with divergence above and slowness below.
    found = race("quadratic:dim=4", optimizers=["sgd"], budget=9, seeds=2, epochs=1)
    assert entry(found, "sgd")["configurations"] == 9
    assert not entry(found, "sgd")["edge"]
    assert 0.5 < entry(found, "sgd")["learning_rate"] < 2.0


def test_a_best_rate_still_on_the_edge_is_flagged() -> None:
    @rule(search={"lr": LogRange(1e-7, 0.1)})
    def slow(theta, g, t, *, lr=1e-7):  # type: ignore[no-untyped-def]
        return theta - lr * g

    found = race("quadratic:dim=4", optimizers=[slow], budget=2, seeds=2, epochs=1)
    assert entry(found, "slow")["edge"]
    assert "at the edge of what was tried" in found.result.verdict.sentence
    tried = [p["learning_rate"] for p in entry(found, "slow")["sensitivity"]]
    assert entry(found, "slow")["learning_rate"] == max(tried)


@pytest.mark.parametrize("centre", [1e-2, 3e2])
def test_the_search_goes_on_until_the_best_is_inside(centre: float) -> None:
    # Best near 1, two decades or so outside; a fine grid gets there in small steps.
    beside = replace(method("sgd"), name="beside", search={"lr": LogRange(centre, 1.0)})  # type: ignore[type-var]
    found = race("quadratic:dim=4", optimizers=[beside, "adam"], seeds=2, epochs=1)
    chosen = entry(found, "beside")
    assert chosen["edges"] == chosen["rising"] == []
    assert 0.3 < chosen["learning_rate"] < 2.0
    assert "not exhausted" not in found.result.verdict.sentence
    # What one needs the others get too.
    assert chosen["configurations"] == entry(found, "adam")["configurations"] > 9 + 3 * 2


def test_a_loser_whose_range_was_not_exhausted_is_named() -> None:
    found = race("wine-mlp", optimizers=["adam", FAR], budget=3, seeds=6, epochs=3)
    assert found.best == ["adam"]
    assert entry(found, "far")["edges"] == ["lr"]
    assert (
        "The range was not exhausted for far: better learning rates may lie beyond"
        in found.result.verdict.sentence
    )
    tried = [p["learning_rate"] for p in entry(found, "far")["sensitivity"]]
    assert set(tried) & set(search.reach(FAR.learning_rates()))  # as far as it is stated to go


def test_random_search_on_an_edge_gives_nobody_more_rounds_and_is_never_stopped(
    trained: list[tuple[Run, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Draws far too close to zero: the minimum is at one.
    monkeypatch.setattr(RandomSearch, "learning_rates", lambda self: LogRange(1e-3, 0.1))
    found = race(
        "quadratic:dim=4", optimizers=["sgd", "random_search"], budget=9, seeds=2, epochs=1
    )
    assert entry(found, "random_search")["edges"] == ["lr"]
    assert entry(found, "sgd")["configurations"] == 9
    assert {
        run.bracket is None
        for run, test in trained
        if run.method.name == "random_search" and not test
    } == {True}
    assert any(run.bracket for run, _ in trained if run.method.name == "sgd")


def test_a_good_range_beside_what_was_stopped_early_may_be_wider() -> None:
    options: dict[str, Any] = {"optimizers": ["sgd", "adam"], "seeds": 2, "epochs": 6}
    found, marked = race("wine-mlp", **options), []
    for e in found.optimizers:
        good, tried = e["good_range"], e["sensitivity"]
        rates = [point["learning_rate"] for point in tried]
        beside = [
            k
            for k in (rates.index(good["low"]) - 1, rates.index(good["high"]) + 1)
            if 0 <= k < len(rates)
        ]
        marked.append(good["at_least"])
        assert good["at_least"] == any(tried[k]["stopped_at"] is not None for k in beside)
    assert any(marked)
    whole = race("wine-mlp", prune=False, **options)
    assert not any(e["good_range"]["at_least"] for e in whole.optimizers)


class Counting:
    """A watcher that keeps the stages' numbers."""

    def __init__(self) -> None:
        self.stages: list[tuple[int, int]] = []
        self.done = 0

    def stage(self, text: str, run_steps: int = 0, later: int = 0) -> None:
        if run_steps:
            self.stages.append((run_steps, later))

    def advance(self, run_steps: int) -> None:
        self.done += run_steps

    def say(self, text: str) -> None:
        pass


def test_the_work_to_come_is_known_from_the_start_and_all_of_it_is_reported() -> None:
    watcher, steps = Counting(), 256 // 16
    race(
        "quadratic:dim=4",
        optimizers=["sgd", FAR, "random_search"],
        budget=2,
        seeds=3,
        epochs=1,
        watcher=watcher,
    )
    count, tuning, extra, final = 3, 2, 2, 3 * 3 * steps
    work = count * extra * tuning * steps  # of the first budget, and of a round
    assert watcher.stages[0] == (work, 3 * work + final)  # three rounds are expected
    *rounds, last = watcher.stages[1:]
    assert rounds == [(work, 3 * work + final)] * len(rounds)
    assert len(rounds) >= 2  # of two decades each, which is as far as the search goes
    assert last == (final, 0)
    assert watcher.done == sum(work for work, _ in watcher.stages)


# Chosen on validation alone.


class Line(nn.Module):
    """Outputs its only weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight.expand(len(x))


def distance(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()


DISTANCE = Metric("distance", False, distance, margin=0.0)


def disagreeing() -> Task:
    """Training leads to 10, validation likes 1, test likes 10: rates choose how far it gets."""

    def data(target: float, count: int = 4) -> tuple[Tensor, Tensor]:
        return torch.zeros(count, 1), torch.full((count,), target)

    return Task("disagreeing", Line, data(10.0), data(1.0), data(10.0), distance, DISTANCE, 4, 5)


def test_validation_alone_chooses() -> None:
    found = race(disagreeing(), optimizers=["sgd"], budget=9, seeds=2)
    chosen = entry(found, "sgd")
    # After five steps of rate η the weight is 10·(1 − (1 − 2η)⁵), nearest to 1 at η = 0.0104.
    tried = [p["learning_rate"] for p in chosen["sensitivity"]]
    reached = {lr: 10 * (1 - (1 - 2 * lr) ** 5) for lr in tried}
    assert chosen["learning_rate"] == min(tried, key=lambda lr: (reached[lr] - 1) ** 2)
    assert chosen["learning_rate"] != min(tried, key=lambda lr: (reached[lr] - 10) ** 2)
    assert chosen["test"]["mean"] == pytest.approx(
        (reached[chosen["learning_rate"]] - 10) ** 2, rel=1e-4
    )


def test_a_best_rate_that_shows_late_is_found_though_it_was_stopped_early() -> None:
    @rule(search={"lr": LogRange(3e-3)})
    def late(theta, g, t, *, lr=3e-3):  # type: ignore[no-untyped-def]
        """Uphill for the first twelve of twenty steps, downhill ten times as fast after."""
        return theta - lr * where(t > 12, 1.0, -0.1) * g

    class Five(Line):
        def __init__(self) -> None:
            super().__init__()
            nn.init.constant_(self.weight, 5.0)

    data = torch.zeros(4, 1), torch.zeros(4)
    task = Task("late", Five, data, data, data, distance, DISTANCE, 4, 20)
    halved, whole = (
        entry(race(task, optimizers=[late], seeds=2, prune=prune), "late")
        for prune in (True, False)
    )
    # At both rungs the smallest rates lead, at the end 0.3 does; of the first nine it was stopped.
    steps = [p["stopped_at"] for p in halved["sensitivity"]]
    assert 10 in steps
    assert halved["learning_rate"] == whole["learning_rate"] == 0.3
    assert halved["validation"] == whole["validation"]  # with the rates that led it is 24.8
    assert halved["configurations"] == whole["configurations"]


# The judgement.


def test_a_planted_winner_is_named_and_its_line_can_be_copied() -> None:
    @rule(search={"lr": LogRange(1e-6, 1.0)})
    def crawl(theta, g, t, *, lr=1e-6):  # type: ignore[no-untyped-def]
        return theta - lr * g

    found = race("wine-mlp", optimizers=[crawl, "adam"], budget=3, seeds=6, epochs=3)
    assert found.best == ["adam"]
    assert found.result.verdict.sentence.startswith("On wine-mlp, adam is best: test accuracy ")
    assert "ahead of crawl, the second, by" in found.result.verdict.sentence
    adam, last = found.optimizers
    assert (adam["rank"], last["rank"], adam["tied"], last["tied"]) == (1, 2, True, False)
    assert adam["versus_best"] is None
    assert last["versus_best"]["p"] == pytest.approx(2 ** (1 - 6))
    code = found.document["verdict"]["code"]
    assert code == f"thalweg.optim.Adam(model.parameters(), lr={adam['learning_rate']!r})"
    optimizer = eval(code, {"thalweg": tw, "model": nn.Linear(2, 2)})
    assert optimizer.defaults["lr"] == adam["learning_rate"]


def test_one_optimizer_under_two_names_ties_with_itself() -> None:
    twin = replace(method("adam"), name="twin")  # type: ignore[type-var]
    found = race("wine-mlp", optimizers=["adam", twin], budget=3, seeds=6, epochs=2)
    assert sorted(found.best) == ["adam", "twin"]
    one, other = found.optimizers
    assert one["rank"] == other["rank"] == 1
    for key in ("learning_rate", "validation", "test", "curve", "steps_to_target"):
        assert one[key] == other[key], key
    assert other["versus_best"]["p"] == 1.0
    assert "adam and twin tie for first" in found.result.verdict.sentence


def test_too_few_seeds_are_said_to_be_too_few() -> None:
    found = race("wine-mlp", optimizers=["adam", "sgd"], budget=2, seeds=3, epochs=1)
    assert found.best == []
    assert (
        "but 3 seeds are too few to tell 2 optimizers apart; it takes 6 or more"
        in found.result.verdict.sentence
    )


def test_one_optimizer_alone_is_said_to_be_alone() -> None:
    found = race("wine-mlp", optimizers=["adam"], budget=2, seeds=1, epochs=1)
    assert "adam ran alone" in found.result.verdict.sentence
    assert found.best == ["adam"]


def test_a_race_that_random_search_leads_says_so() -> None:
    @rule
    def still(theta, g, t, *, lr=1.0):  # type: ignore[no-untyped-def]
        return theta + 0.0 * lr * g

    found = race("wine-mlp", optimizers=[still, "random_search"], budget=3, seeds=6, epochs=5)
    assert "random_search" in found.best
    assert "Nothing is shown to beat random search" in found.result.verdict.sentence
    if found.optimizers[0]["name"] == "random_search":
        assert found.document["verdict"]["code"] is None


# Runs that diverged.


@pytest.mark.parametrize("name", ["diabetes-mlp", "quadratic:dim=4", "wine-mlp"])
def test_one_that_always_diverges_is_last_and_one_that_sometimes_does_is_not_chosen_for_it(
    name: str,
) -> None:
    @rule(search={"lr": LogRange(1.0, 1.0)})
    def explode(theta, g, t, *, lr=1.0):  # type: ignore[no-untyped-def]
        return theta * (1e20 * lr)

    found = race(name, optimizers=[explode, "adam", "sgd"], budget=3, seeds=7, epochs=2)
    last = found.optimizers[-1]
    assert last["name"] == "explode"
    assert last["diverged"] == 1.0
    assert last["steps_to_target"] is None
    assert not last["tied"]
    for e in found.optimizers[:-1]:
        at = next(p for p in e["sensitivity"] if p["learning_rate"] == e["learning_rate"])
        assert at["diverged"] == 0.0
    json.dumps(found.document, allow_nan=False)
    html.render(found.document)


def test_who_takes_part_does_not_change_what_another_chooses() -> None:
    options: dict[str, Any] = {"budget": 5, "seeds": 2, "epochs": 2}
    alone = race("diabetes-mlp", optimizers=["sgd"], **options)
    among = race("diabetes-mlp", optimizers=["rprop", "sgd", "lion"], **options)
    first = {
        p["learning_rate"]: p["validation"]["mean"] for p in entry(alone, "sgd")["sensitivity"]
    }
    second = {
        p["learning_rate"]: p["validation"]["mean"] for p in entry(among, "sgd")["sensitivity"]
    }
    for lr in first.keys() & second.keys():
        # In lanes of other company rounding differs; diverged runs are judged the same.
        assert first[lr] == pytest.approx(second[lr], rel=1e-3, abs=1e-3)


# The document.

INTERVAL = {"mean", "low", "high"}


@pytest.fixture(scope="module")
def example() -> Iterator[tw.Race]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 64))
        yield race(
            "wine-mlp", optimizers=["sgd", "adam", "random_search"], budget=3, seeds=7, epochs=2
        )


def test_the_document_says_what_it_promises(example: tw.Race) -> None:
    document = example.document
    assert document["schema"] == "thalweg.race/1"
    assert document["task"] == "wine-mlp"
    assert {"optimizers", "verdict", "runs", "seconds", "setting", "environment"} <= set(document)
    assert set(document["verdict"]) == {
        "best",
        "sentence",
        "code",
        "unranked",
        "power",
        "unknown",
    }
    assert document["verdict"]["best"] == [e["name"] for e in document["optimizers"] if e["tied"]]
    for e in document["optimizers"]:
        assert {
            "name",
            "learning_rate",
            "validation",
            "test",
            "steps_to_target",
            "diverged",
            "edge",
            "ms_per_step",
            "rank",
            "good_range",
            "curve",
        } <= set(e)
        assert set(e["validation"]) == set(e["test"]) == INTERVAL
        for interval in (e["validation"], e["test"]):
            assert interval["low"] <= interval["mean"] <= interval["high"]
        assert e["ms_per_step"] > 0
        assert isinstance(e["edge"], bool)
        assert len(e["sensitivity"]) == len(e["expected_best"]) == e["configurations"]
        for curve in ("train_loss", "validation_loss", "validation_metric"):
            assert {len(v) for v in e["curve"][curve].values()} == {len(e["curve"]["steps"])}
    means = [e["test"]["mean"] for e in document["optimizers"]]
    assert means == sorted(means, reverse=True)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_the_report_is_drawn_from_the_document(example: tw.Race, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    html.write(example.document, path)
    page = path.read_text(encoding="utf-8")
    assert example.result.verdict.sentence in page
    for e in example.optimizers:
        assert e["name"] in page


def test_summary_numbers_are_those_of_the_records(tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizers": ["sgd", "adam"], "budget": 3, "seeds": 5, "epochs": 2}
    found = race("wine-mlp", out=tmp_path, **options)
    runs: dict[str, Any] = {}
    for path in (tmp_path / "records").glob("*.json"):
        runs |= json.loads(path.read_text(encoding="utf-8"))["runs"]
    assert len(runs) == found.document["runs"]
    assert json.loads((tmp_path / "race.json").read_text(encoding="utf-8")) == found.document
    regime = Regime(2, find("wine-mlp").batch_size)
    spec = Spec(find("wine-mlp"), entrants(["sgd", "adam"]), regime, budget=3, seeds=5)
    target = found.document["setting"]["target_loss"]
    ends = []
    for m in spec.entrants:
        e = entry(found, m.name)
        own = [
            runs[spec.identity(r, True)]
            for r in spec.final(m, Configuration.of(e["learning_rate"]))
        ]
        assert e["test"]["mean"] == pytest.approx(np.mean([r["test_metric"][-1] for r in own]))
        last = [r["validation_metric"][-1] for r in own]
        assert e["validation"]["mean"] == pytest.approx(np.mean(last))
        first = [
            next(
                (s for s, v in zip(r["steps"], r["validation_loss"], strict=True) if v <= target),
                math.inf,
            )
            for r in own
        ]
        expected = float(np.median(first))
        assert e["steps_to_target"] == (None if math.isinf(expected) else expected)
        ends.append(np.mean([r["validation_loss"][-1] for r in own]))
        start = np.mean([r["validation_loss"][0] for r in own])
        assert e["curve"]["validation_loss"]["mean"][0] == pytest.approx(start)
    # Nine tenths of the way from the untrained loss to the best mean end.
    assert target == pytest.approx(start - 0.9 * (start - min(ends)))


# Identities and bad input.


def test_an_identity_covers_all_that_a_result_depends_on() -> None:
    def spec(task: Task, regime: Regime) -> Spec:
        return Spec(task, (method("adam"),), regime)

    wine, regime = find("wine-mlp"), Regime(2, 16)

    @rule(init={"m": 0.0})
    def mine(theta, g, m, t, *, lr=0.1):  # type: ignore[no-untyped-def]
        m = 0.5 * m + g
        return theta - lr * m, m

    @rule(init={"m": 1.0})
    def started(theta, g, m, t, *, lr=0.1):  # type: ignore[no-untyped-def]
        m = 0.5 * m + g
        return theta - lr * m, m

    @rule
    def factor(theta, g, m, t, *, lr=0.1):  # type: ignore[no-untyped-def]
        m = 0.6 * m + g
        return theta - lr * m, m

    cases: list[tuple[Task, Regime, Method, Mapping[str, float], int, bool]] = [
        (wine, regime, method("adam"), {"lr": 0.1}, 0, False),
        (wine, regime, method("adam"), {"lr": 0.1}, 0, True),
        (wine, regime, method("adam"), {"lr": 0.1}, 1, False),
        (wine, regime, method("adam"), {"lr": 0.2}, 0, False),
        (wine, regime, method("adam"), {"lr": 0.1, "beta1": 0.8}, 0, False),
        (wine, regime, method("nadam"), {"lr": 0.1}, 0, False),
        (wine, replace(regime, epochs=3), method("adam"), {"lr": 0.1}, 0, False),
        (wine, replace(regime, drop_last=True), method("adam"), {"lr": 0.1}, 0, False),
        (find("digits-mlp"), regime, method("adam"), {"lr": 0.1}, 0, False),
        (wine, regime, mine, {"lr": 0.1}, 0, False),
        (wine, regime, replace(started, name="mine"), {"lr": 0.1}, 0, False),
        (wine, regime, replace(factor, name="mine"), {"lr": 0.1}, 0, False),
        (wine, regime, RANDOM_SEARCH, {"lr": 0.1}, 0, False),
    ]
    names = [spec(t, r).identity(Run(m, h, s), test) for t, r, m, h, s, test in cases]
    assert len(set(names)) == len(cases)
    again = spec(find("wine-mlp"), Regime(2, 16)).identity(
        Run(method("adam"), {"lr": 0.1}, 0), False
    )
    assert again == names[0]


@rule
def no_rate(theta, g, t, *, step=0.1):  # type: ignore[no-untyped-def]
    return theta - step * g


@rule
def zero_rate(theta, g, t, *, lr=0.0):  # type: ignore[no-untyped-def]
    return theta - lr * g


@rule
def two_many(theta, g, t, *, lr=0.1):  # type: ignore[no-untyped-def]
    return theta - lr * g, g


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizers": []}, "optimizers is empty"),
        ({"optimizers": "adam"}, r"optimizers='adam' must be a list, as \['adam'\]"),
        ({"optimizers": ["adm"]}, "no optimizer named 'adm'; did you mean adam"),
        ({"optimizers": [3]}, "which is neither a name nor a rule"),
        ({"optimizers": ["adam", "adam"]}, "'adam' takes part twice"),
        ({"optimizers": [no_rate]}, "no_rate has no hyperparameter lr"),
        (
            {"optimizers": [zero_rate]},
            "zero_rate would search 4 decades around the learning rate 0",
        ),
        ({"optimizers": [two_many]}, "two_many"),
        ({"task": "wine-mpl"}, "no task named 'wine-mpl'; did you mean wine-mlp"),
        ({"budget": 0}, "budget=0 must be a whole number, at least 1"),
        ({"budget": 2.5}, "budget=2.5 must be a whole number"),
        ({"seeds": -3}, "seeds=-3 must be"),
        ({"seeds": True}, "seeds=True must be"),
        ({"epochs": 0}, "epochs=0 must be"),
        ({"batch_size": 0}, "batch_size=0 must be"),
        ({"batch_size": 500}, "batch_size=500 is larger than the training data; take at most 106"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_made(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {"task": "wine-mlp", "out": tmp_path / "race", **arguments}
    with pytest.raises(UsageError, match=message):
        race(**given)
    assert list(tmp_path.iterdir()) == []
