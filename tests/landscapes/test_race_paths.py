"""`tw.race_paths`: the weights of judged runs, against the records of the race they are of."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import msgspec
import pytest
import torch
from torch import nn

import thalweg as tw
from thalweg.errors import UsageError
from thalweg.landscapes.retraining import TOLERANCE, run_of
from thalweg.racing.space import Configuration
from thalweg.rules import LogRange, adam
from thalweg.schedules import Schedule
from thalweg.training.runs import Recipe

RATES = {"sgd": [0.5], "adam": [0.05], "halved": [0.5], "Plain": [0.5], "momentum": [1e6]}


@tw.rule(search={"lr": LogRange(0.1)})
def halved(theta, g, t, *, lr=0.1):
    """Half a step of gradient descent."""
    return theta - 0.5 * lr * g


class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad


def network():
    return nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 2))


def new_task(shift=0.0):
    drawn = torch.randn(160, 2, generator=torch.Generator().manual_seed(0)) + shift
    return tw.Task(
        name="disc",
        model=network,
        train=(drawn, (drawn.norm(dim=1) > 1).long()),
        epochs=3,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A race whose runs train as lanes, with one that diverges, written to a folder."""
    place = tmp_path_factory.mktemp("race")
    optimizers = ["sgd", "adam", halved, Plain, "momentum"]
    tw.race(new_task(), optimizers=optimizers, learning_rates=RATES, seeds=2, out=place)
    return place


OWN = {"halved": halved, "Plain": Plain}


def validation_loss(task, model, point):
    model.load_state_dict(point)
    with torch.no_grad():
        return float(task.objective(model.eval(), *task.validation))


def records_of(document, folder, seed):
    from thalweg.records import Store

    records = Store(folder / "records").runs
    judged = [records[i] for i in document["record_ids"]]
    return {r.run.optimizer: r for r in judged if r.run.stage == "final" and r.run.seed == seed}


@pytest.mark.parametrize("seed", [None, 1])
def test_the_weights_have_the_losses_of_the_records(folder, seed):
    task = new_task()
    before = torch.random.get_rng_state()
    names = ["adam", "sgd", "halved", "Plain"]
    model, paths = tw.race_paths(folder, task, names, seed=seed, methods=OWN)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(paths) == names
    document = msgspec.json.decode((folder / "race.json").read_bytes())
    assert "lanes" in document["setting"]["executor"]
    records = records_of(document, folder, seed or 0)
    for name, path in paths.items():
        assert path.steps == list(records[name].steps)
        found = [validation_loss(task, model, point) for point in path.points]
        assert found == pytest.approx(records[name].validation_loss, rel=1e-4)
        for key, value in path.points[0].items():
            assert torch.equal(value, paths["adam"].points[0][key])


def test_a_race_at_hand_is_drawn_with_its_task(folder):
    task = new_task()
    optimizers = ["sgd", "adam", halved, Plain, "momentum"]
    race = tw.race(task, optimizers=optimizers, learning_rates=RATES, seeds=2, out=folder)
    model, paths = tw.race_paths(race, task, methods=OWN)
    assert set(paths) == set(RATES)
    ended = paths["momentum"].diverged_at
    assert ended is not None
    assert paths["momentum"].steps[-1] < ended
    drawn = tw.landscape(model, task, task.train, paths=paths, size=3)
    assert drawn.paths["momentum"].diverged_at == ended
    assert f"diverged at step {ended}" in str(drawn)
    (at_end,) = drawn.paths["adam"].losses[-1:]
    model.load_state_dict(paths["adam"].points[-1])
    with torch.no_grad():
        assert at_end == pytest.approx(float(task.objective(model, *task.train)), rel=1e-5)


def test_a_change_of_versions_and_losses_is_warned_of(folder):
    race = tw.race(new_task(), optimizers=["sgd"], learning_rates=[0.5], seeds=2)

    def moved(record, factor):
        losses = [loss * factor for loss in record.validation_loss]
        return msgspec.structs.replace(record, validation_loss=losses)

    within = {i: moved(r, 1 + TOLERANCE / 2) for i, r in race.runs.items()}
    with warnings.catch_warnings(action="error"):
        tw.race_paths(replace(race, runs=within), new_task())
    beyond = {i: moved(r, 1 + 2 * TOLERANCE) for i, r in race.runs.items()}
    with pytest.warns(UserWarning, match=r"sgd is not quite .* step 0 .*rounding grows"):
        tw.race_paths(replace(race, runs=beyond), new_task())
    environment = msgspec.structs.replace(race.result.environment, torch="1.0")
    older = msgspec.structs.replace(race.result, environment=environment)
    with pytest.warns(UserWarning, match=r"torch 1\.0 raced, here is"):
        tw.race_paths(replace(race, result=older, runs=beyond), new_task())
    lost = {i: msgspec.structs.replace(r, diverged_at=7) for i, r in race.runs.items()}
    with pytest.warns(UserWarning, match="sgd did not diverge, but diverged at step 7 in the race"):
        tw.race_paths(replace(race, runs=lost), new_task())


def test_a_formula_of_the_same_name_that_was_not_raced_is_refused(folder):
    def step(theta, g, t, *, lr=0.1):
        """A quarter of a step."""
        return theta - 0.25 * lr * g

    step.__name__ = "halved"
    other = tw.rule(search={"lr": LogRange(0.1)})(step)
    with pytest.raises(UsageError, match="halved is another than the one raced"):
        tw.race_paths(folder, new_task(), ["halved"], methods={"halved": other})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizers": ["halved"]}, r"halved is no built-in optimizer.*methods=\{'halved'"),
        ({"optimizers": ["Plain"]}, r"Plain is no built-in optimizer"),
        ({"optimizers": ["adm"]}, "no optimizer in the race named 'adm'; did you mean adam"),
        ({"optimizers": ["lion"]}, "no optimizer in the race named 'lion'"),
        ({"optimizers": "adam"}, "must be a list of names"),
        ({"optimizers": []}, "must be a list of names"),
        ({"methods": {"halvd": halved}}, "did you mean halved"),
        ({"methods": {"halved": adam}}, r"methods\['halved'\] is the rule adam"),
        ({"methods": {"halved": 3}}, "neither a rule nor a class"),
        ({"methods": [halved]}, "must be a dict"),
        ({"optimizers": ["sgd"], "seed": 7}, "seed=7 was not judged.*: 0, 1"),
        ({"task": "digits-mlp"}, "is not what was raced: 'disc'"),
        ({"task": network}, "must be the tw.Task"),
        ({"task": new_task(1.0)}, "'disc' is another than the one raced"),
        ({"race": "nowhere"}, "has no race.json"),
        ({"race": 3}, "neither what tw.race returns nor the folder"),
    ],
)
def test_what_cannot_be_drawn_is_refused(folder, given, message):
    arguments = {"race": folder, "task": new_task(), **given}
    with pytest.raises(UsageError, match=message):
        tw.race_paths(arguments.pop("race"), arguments.pop("task"), **arguments)


def test_records_that_are_gone_are_missed(folder):
    race = tw.race(new_task(), optimizers=["sgd"], learning_rates=[0.5], seeds=2)
    with pytest.raises(UsageError, match="no record of a judged run of sgd"):
        tw.race_paths(replace(race, runs={}), new_task())


@pytest.mark.parametrize(
    "recipe",
    [Recipe(), Recipe(Schedule("cosine", 0.05), 0.1, 64), Recipe(Schedule("constant", 0.1))],
)
def test_a_configuration_is_read_back_as_it_was_written(recipe):
    chosen = Configuration((("lr", 0.1), ("beta1", 0.8)), recipe)
    run = run_of(adam, chosen.to_dict(), 3)
    assert run.recipe == recipe
    assert run.hyper == dict(chosen.hyper)
    assert math.isclose(run.hyper["lr"], 0.1)
