"""What a verdict says of races that diverge, have too few seeds, or seeds that change nothing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from thalweg import rule
from thalweg.racing import Race, judgement, race
from thalweg.racing.notebook import html as notebook
from thalweg.racing.outcome import Outcome
from thalweg.records import as_race
from thalweg.report import html, markdown, terminal
from thalweg.rules import LogRange
from thalweg.tasks import Task
from thalweg.tasks.losses import ACCURACY, OWN_LOSS


@rule(search={"lr": LogRange(1.0, 1.0)})
def explode(theta, g, t, *, lr=1.0):  # type: ignore[no-untyped-def]
    return theta * (1e20 * lr)


def entry(found: Race, name: str) -> dict[str, Any]:
    return next(e for e in found.optimizers if e["name"] == name)


def shown(found: Race) -> list[str]:
    """The race everywhere that a person may see it."""
    document = as_race(json.loads(json.dumps(found.document, allow_nan=False)))
    return [
        terminal.table(document),
        html.render(document),
        markdown.summary(document),
        notebook(document),
    ]


def outcome(test: float, diverged: bool = False) -> Outcome:
    return Outcome({}, 0.0, 0.0, test, diverged)


# Diverged.


def test_where_all_diverge_there_is_no_winner_no_rank_and_no_code() -> None:
    found = race(
        "wine-mlp", optimizers=[explode, replace(explode, name="twin")], budget=2, seeds=6, epochs=1
    )
    assert found.best == []
    assert found.result.verdict.sentence.startswith(
        "On wine-mlp, nothing trained: all judged runs of all 2 optimizers diverged. Try smaller "
        "learning rates"
    )
    assert [(e["rank"], e["tied"], e["code"]) for e in found.optimizers] == [
        (None, False, None)
    ] * 2
    assert found.document["verdict"]["code"] is None
    assert found.document["verdict"]["power"] is None
    assert found.document["pairs"] == []
    for text in shown(found):
        assert "thalweg.optim" not in text
        assert "1=" not in text
        assert 'class="tied"' not in text


def test_one_that_always_diverges_has_no_rank_and_is_not_compared() -> None:
    found = race("wine-mlp", optimizers=[explode, "adam", "sgd"], budget=3, seeds=7, epochs=2)
    last = found.optimizers[-1]
    assert (last["name"], last["rank"], last["tied"], last["code"]) == (
        "explode",
        None,
        False,
        None,
    )
    assert last["versus_best"] is None
    assert "explode diverged on every judged seed and has no rank." in found.result.verdict.sentence
    assert {name for pair in found.document["pairs"] for name in (pair["a"], pair["b"])} == {
        "adam",
        "sgd",
    }
    assert (last["diverged"], last["diverged_tuning"], last["diverged_final"]) == (1.0, 1.0, 1.0)
    assert last["by_seed"]["diverged"] == [True] * 7
    shown(found)


def test_one_that_trains_alone_is_said_to() -> None:
    found = race("wine-mlp", optimizers=[explode, "adam"], budget=2, seeds=6, epochs=1)
    assert "adam is the only one of 2 optimizers that trained" in found.result.verdict.sentence
    assert found.best == ["adam"]


def test_one_that_diverges_on_some_seeds_is_said_to_whatever_its_rank() -> None:
    final = {
        "steady": [outcome(0.9 + 0.001 * k) for k in range(10)],
        "wild": [outcome(0.1, diverged=True) if k < 4 else outcome(0.95) for k in range(10)],
    }
    found = judgement.compare(ACCURACY, final)
    assert sum(found.lost["wild"]) == 4
    # Not significantly worse: a tie, which is why it must be said.
    assert found.best == ["steady", "wild"]


@rule(search={"lr": LogRange(1e-3, 1.0)})
def touchy(theta, g, t, *, lr=1e-3):  # type: ignore[no-untyped-def]
    return theta - lr * g


def test_a_judged_run_that_diverges_is_in_the_sentence_and_in_the_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from thalweg.racing import run

    plain = run.judge

    def some_lost(task: Task, records: Any) -> list[Outcome]:
        found = plain(task, records)
        tested = [k for k, r in enumerate(records) if r.test_metric]
        worst = min((found[k].test for k in tested), default=0.0)
        for k in tested:
            if records[k].run.optimizer == "touchy" and k % 2:
                found[k] = replace(found[k], test=worst, diverged=True)
        return found

    monkeypatch.setattr(run, "judge", some_lost)
    found = race("wine-mlp", optimizers=["adam", touchy], budget=2, seeds=6, epochs=1)
    assert "Of the 6 judged seeds, touchy diverged on 3." in found.result.verdict.sentence
    own = entry(found, "touchy")
    assert own["diverged_final"] == 0.5
    tuning = f"{100 * own['diverged_tuning']:.0f}"
    assert tuning != "50"
    table, page, text, cells = shown(found)
    assert re.search(rf"touchy .* {tuning} %\s+50 %", table)
    assert "3 of 6" in page
    assert re.search(rf"touchy .*\| {tuning}\s%\s*\| 50\s%", text)
    assert "<td>50%</td>" in cells


# Too few seeds.


def test_with_too_few_seeds_there_is_an_order_without_ranks() -> None:
    @rule(search={"lr": LogRange(1e-9, 1.0)})
    def crawl(theta, g, t, *, lr=1e-9):  # type: ignore[no-untyped-def]
        return theta - lr * g

    found = race("wine-mlp", optimizers=[crawl, "adam"], budget=2, seeds=3, epochs=3)
    assert found.best == []
    assert [e["name"] for e in found.optimizers] == ["adam", "crawl"]
    assert [e["rank"] for e in found.optimizers] == [None, None]
    assert not any(e["tied"] for e in found.optimizers)
    assert found.document["verdict"]["unranked"] == judgement.FEW_SEEDS
    assert (
        "but 3 seeds are too few to tell 2 optimizers apart; it takes 6 or more"
        in found.result.verdict.sentence
    )
    for text in shown(found):
        assert "1=" not in text
    assert found.document["verdict"]["code"] is not None


def test_six_seeds_are_enough_for_any_number() -> None:
    final = {
        f"m{k}": [outcome(0.9 - 0.1 * k + 1e-4 * seed * (k + 1)) for seed in range(6)]
        for k in range(8)
    }
    found = judgement.compare(ACCURACY, final)
    assert found.unranked is None
    assert [found.ranks[name] for name in found.order] == list(range(1, 9))


# Seeds that change nothing.


def fixed() -> nn.Module:
    model = nn.Linear(3, 1)
    nn.init.constant_(model.weight, 0.5)
    nn.init.zeros_(model.bias)
    return model


def whole_batch() -> Task:
    """A task whose runs are the same for every seed: a fixed start, all data in every step."""
    x = torch.linspace(-1, 1, 36).reshape(12, 3)
    data = x, x.sum(1, keepdim=True)
    return Task("fixed", fixed, data, data, data, "mse", metric="loss", batch_size=12, epochs=4)


def test_where_all_seeds_agree_there_is_no_test_and_no_power() -> None:
    found = race(whole_batch(), optimizers=["sgd", "momentum"], budget=3, seeds=8)
    assert found.best == []
    verdict = found.document["verdict"]
    assert verdict["unranked"] == judgement.NO_SPREAD
    assert verdict["power"] is None
    assert "each scores the same on all 8 seeds" in found.result.verdict.sentence
    said = " ".join([found.result.verdict.sentence, *verdict["unknown"]])
    assert "80%" not in said
    assert "is best" not in said
    assert found.optimizers[1]["versus_best"]["p"] is None
    assert found.document["pairs"] == []
    shown(found)


def test_one_pair_without_spread_in_a_race_with_some_is_compared() -> None:
    # That one is ahead by the same amount on each of ten seeds is what the test is for.
    final = {
        "first": [outcome(1.0)] * 10,
        "second": [outcome(0.5)] * 10,
        "third": [outcome(0.4 + 0.01 * k) for k in range(10)],
    }
    found = judgement.compare(ACCURACY, final)
    assert found.unranked is None
    assert found.best == ["first"]


def test_a_loss_that_is_lower_by_a_fiftieth_of_a_percent_wins_nothing() -> None:
    final = {
        "first": [outcome(0.22 + 1e-6 * k) for k in range(10)],
        "second": [outcome(0.220044 + 1e-6 * k) for k in range(10)],
    }
    assert judgement.compare(OWN_LOSS, final).best == ["first", "second"]
    no_margin = replace(OWN_LOSS, relative_margin=0.0)
    assert judgement.compare(no_margin, final).best == ["first"]
