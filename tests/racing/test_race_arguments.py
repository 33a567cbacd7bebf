"""What a race is told beside its task: names, columns, parts of the data, a set of seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import thalweg as tw
from thalweg.cli import main
from thalweg.errors import UsageError
from thalweg.racing import run
from thalweg.racing.option import SEED_SETS
from thalweg.racing.spec import SEEDS
from thalweg.training.execution.plan import ExecutionPlan
from thalweg.training.rng import TUNING

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: Any = {"optimizers": ["adam", "sgd"], "budget": 2, "seeds": 2, "epochs": 1}


@pytest.fixture(autouse=True)
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """No need to measure how to run."""
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 8))


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))


def bugs(count: int = 60) -> pd.DataFrame:
    x = np.random.default_rng(0).normal(size=(count, 2))
    kind = np.array(["ant", "bee", "cat"])[(x[:, 0] > 0) + (x[:, 1] > 0) * 1]
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": kind})


def test_a_frame_is_raced_on_by_the_column_that_is_to_be_learned() -> None:
    with pytest.raises(UsageError, match=r"has columns a, b, kind; say which is .*target='…'"):
        tw.race(Net, bugs(), **SMALL)
    found = tw.race(Net, bugs(), target="kind", **SMALL)
    assert found.document["task"] == "Net"
    assert (found.document["setting"]["train"], found.document["setting"]["test"]) == (36, 12)


def test_parts_of_the_data_and_a_name_are_taken() -> None:
    whole = bugs(90)
    found = tw.race(
        Net,
        whole[:60],
        target="kind",
        validation=whole[60:80],
        test=whole[80:],
        name="insects",
        **SMALL,
    )
    setting = found.document["setting"]
    assert found.document["task"] == "insects"
    assert (setting["train"], setting["validation"], setting["test"]) == (60, 20, 10)


def test_a_task_is_renamed_and_otherwise_left_alone() -> None:
    found = tw.race("wine-mlp", name="my wine", **SMALL)
    assert found.document["task"] == "my wine"
    frame = bugs()
    for more in ({"target": "kind"}, {"validation": frame}, {"test": frame}, {"loss": "mse"}):
        (name,) = more
        with pytest.raises(UsageError, match=f"^{name} is for a model, .* task 'wine-mlp' has"):
            tw.race("wine-mlp", **more, **SMALL)
    with pytest.raises(UsageError, match="name='x' is for one task"):
        tw.races(["wine-mlp", "spiral-mlp"], name="x", **SMALL)
    for wrong in ("", "  ", 3):
        with pytest.raises(UsageError, match=r"name=.* must be text"):
            tw.race("wine-mlp", name=wrong, **SMALL)  # type: ignore[arg-type]


def test_two_sets_of_seeds_share_no_run_and_the_same_set_is_the_same_race() -> None:
    def raced(**seed: int) -> tuple[set[int], list[Any]]:
        found = tw.race("wine-mlp", **seed, **SMALL)
        judged = [e["by_seed"]["test"] for e in found.document["optimizers"]]
        return {record["run"]["seed"] for record in found.records.values()}, judged

    plain, zero, one = raced(), raced(seed=0), raced(seed=1)
    assert plain == zero
    assert plain[0] == {0, 1, TUNING, TUNING + 1}
    assert not plain[0] & one[0]
    assert plain[1] != one[1]
    # The last seed of the last set is one that a stream can begin from.
    assert TUNING + SEED_SETS * SEEDS == 2 * TUNING
    tw.race("wine-mlp", seed=SEED_SETS - 1, **SMALL)
    for wrong in (-1, SEED_SETS, True, 1.0, "1"):
        with pytest.raises(UsageError, match=r"seed=.* must be a whole number from 0 to 16,383"):
            tw.race("wine-mlp", seed=wrong, **SMALL)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="seeds=8193 is more than a race has"):
        tw.race("wine-mlp", **{**SMALL, "seeds": SEEDS + 1})


@pytest.mark.parametrize("name", ["Adam", "ADAM", "adam", "RMSprop-Centered", "AdamW", "NAdam"])
def test_optimizers_are_found_as_torch_writes_them(name: str) -> None:
    plain = name.lower().replace("-", "_")
    found = tw.race("Wine-MLP", **{**SMALL, "optimizers": [name]}, schedule="Cosine")
    assert [e["name"] for e in found.document["optimizers"]] == [plain]
    assert found.document["task"] == "wine-mlp"
    assert tw.rules.find(name) is tw.registry()[plain]


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda: tw.rules.find("Adan"), "no optimizer named 'Adan'; did you mean adam"),
        (lambda: tw.tasks.find("digitsmpl"), "named 'digitsmpl'; did you mean digits-mlp"),
        (
            lambda: tw.race("wine-mlp", schedule="cosin"),
            "no schedule named 'cosin'; did you mean c",
        ),
        (lambda: tw.race("wine-mlp", sampler="sobbol"), "no sampler named .* mean sobol"),
        (lambda: tw.race("wine-mlp", order="shufled"), "no order named .* mean shuffled"),
        (lambda: tw.surfaces.find("rosenbrok"), "no surface named .* mean rosenbrock"),
        (lambda: tw.rules.find("kears:adam"), "no convention named 'kears'; did you mean keras"),
    ],
)
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(use: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        use()


MODELS = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))

def build():
    return Net()
"""


def test_a_model_in_a_file_is_raced_on_data_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(MODELS, encoding="utf-8")
    bugs().to_csv("bugs.csv", index=False)
    small = ["--optimizers", "adam,sgd", "--budget", "2", "--seeds", "2", "--epochs", "1", "--json"]
    data = ["--train", "bugs.csv", "--target", "kind", "--test", "bugs.csv"]
    for model, called in (("nets.py:build", "build"), ("nets.py", "Net")):
        assert main(["race", model, *data, *small]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["task"] == called
        assert document["setting"]["test"] == 60
        assert Path("races", called, "report.html").exists()
    assert main(["race", "nets.py", *data, "--name", "Bugs", *small]) == 0
    assert Path("races", "Bugs", "race.json").exists()
    capsys.readouterr()
    for arguments, said in (
        (["wine-mlp", *data], "--train is for a model, FILE.py:NAME"),
        (["nets.py", "nets.py", *data], "--train is for one model; 2 are named"),
        (["nets.py:bild", *data], "no model in nets.py named 'bild'; did you mean build"),
        (["nets.py", "--target", "kind"], "nets.py makes no task"),
        (["nets.py", "--train", "bugs.csv"], "say which is to be learned"),
        (["nets.py", "--train", "bug.csv", "--target", "kind"], "bug.csv"),
    ):
        assert main(["race", *arguments]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.splitlines()) == 1


def test_an_instance_and_tensors_are_raced_as_before() -> None:
    x = torch.randn(40, 2)
    found = tw.race(Net(), x, (x[:, 0] > 0).long(), **SMALL)
    assert found.document["task"] == "Net"
