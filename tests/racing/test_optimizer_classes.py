"""Races of optimizer classes: named, searched, recorded, continued and shown as rules are."""

from __future__ import annotations

import functools
import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import thalweg as tw
from executed import watch_races
from thalweg.cli import main
from thalweg.errors import UsageError
from thalweg.racing import run
from thalweg.racing.entrants import entrants
from thalweg.rules.ranges import LogRange
from thalweg.training.context import TrainingContext
from thalweg.training.execution.plan import ExecutionPlan, choose
from thalweg.training.runs import RANDOM_SEARCH, Regime, Run, method
from thalweg.training.torch_method import torch_method

pytestmark = pytest.mark.usefixtures("one_thread")

MINE = """
    import functools
    import torch
    from torch.optim import SGD  # is imported, not made here

    class Signed(torch.optim.Optimizer):
        \"\"\"Descent on the sign of the gradient.\"\"\"

        def __init__(self, params, lr=0.01, power=0.0):
            super().__init__(params, {"lr": lr, "power": power})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    moved = p.grad.sign() * p.grad.abs() ** group["power"]
                    p.sub_(moved, alpha=FACTOR * group["lr"])

    FACTOR = 1.0
"""
SMALL: Mapping[str, Any] = {"budget": 3, "seeds": 2, "epochs": 2, "progress": False}


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races need not measure how to run."""
    monkeypatch.setattr(run, "choose", lambda *args: ExecutionPlan("lanes", 64))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(MINE), encoding="utf-8")
    return path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    done: list[Run] = []

    def seen(context: TrainingContext, groups: Sequence[Sequence[Run]]) -> None:
        done.extend(r for group in groups for r in group)

    watch_races(monkeypatch, seen)
    return done


def entry(found: tw.Race, name: str) -> dict[str, Any]:
    return next(e for e in found.optimizers if e["name"] == name)


def test_a_class_is_raced_like_the_rule_of_its_formula(local: None) -> None:
    found = tw.race(
        "wine-mlp",
        optimizers=["adam", torch.optim.Adam],
        learning_rates=[1e-3, 1e-2, 0.1],
        seeds=3,
        epochs=3,
    )
    ours, theirs = entry(found, "adam"), entry(found, "torch.Adam")
    assert ours["learning_rate"] == theirs["learning_rate"]
    for part in ("validation", "test"):
        assert ours[part] == pytest.approx(theirs[part])
    # float32: the last digits of a matrix product depend on how many runs share it.
    for curve in ("train_loss", "validation_loss"):
        means = [each["curve"][curve]["mean"][1:] for each in (ours, theirs)]
        assert means[0] == pytest.approx(means[1], rel=1e-3)
    assert [t["validation_loss"] for t in ours["sensitivity"]] == pytest.approx(
        [t["validation_loss"] for t in theirs["sensitivity"]], rel=1e-3
    )
    assert theirs["title"] == "Implements Adam algorithm."
    assert theirs["formula_mathml"] is None


def test_the_command_line_takes_files_and_packages(
    local: None, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = f"sgd,{mine}:Signed,torch.optim:NAdam,keras:adam"
    small = ["--budget", "3", "--seeds", "2", "--epochs", "2", "--out", str(tmp_path / "out")]
    assert (
        main(["race", "wine-mlp", "--optimizers", names, *small, "--search", "Signed.power=0..1"])
        == 0
    )
    said = capsys.readouterr()
    assert "Signed" in said.out
    assert "torch.NAdam: learning rates are searched from 2e-05 to 0.2 at first" in said.err
    document = json.loads((tmp_path / "out" / "race.json").read_text(encoding="utf-8"))
    by_name = {e["name"]: e for e in document["optimizers"]}
    assert set(by_name) == {"sgd", "Signed", "torch.NAdam", "keras:adam"}
    assert by_name["Signed"]["title"] == "Descent on the sign of the gradient."
    assert len({tried["configuration"]["power"] for tried in by_name["Signed"]["sensitivity"]}) >= 3
    assert "Signed" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for form in ("csv", "tensorboard"):
        assert main(["export", str(tmp_path / "out"), "--to", form]) == 0
    assert "torch.NAdam" in (tmp_path / "out" / "runs.csv").read_text(encoding="utf-8")
    # A file that makes one class needs no name after it.
    assert (
        main(["race", "wine-mlp", "--optimizers", str(mine), *small[:-1], str(tmp_path / "two")])
        == 0
    )


def test_the_code_to_copy_makes_the_chosen_optimizer(local: None, mine: Path) -> None:
    partial = functools.partial(torch.optim.SGD, momentum=0.5, nesterov=True)
    found = tw.race(
        "wine-mlp",
        optimizers={"heavy": partial, "lbfgs-20": torch.optim.LBFGS},
        tune=["weight_decay"],
        **SMALL,
    )
    model = nn.Linear(3, 2)
    code = entry(found, "heavy")["code"]
    made = eval(code.rpartition("; ")[2], {"torch": torch, "model": model})
    settings = entry(found, "heavy")["configuration"]
    (group,) = made.param_groups
    assert (group["lr"], group["weight_decay"]) == (settings["lr"], settings["weight_decay"])
    assert (group["momentum"], group["nesterov"]) == (0.5, True)
    assert code.startswith("import torch.optim; torch.optim.SGD(model.parameters(), lr=")
    code = entry(found, "lbfgs-20")["code"]
    decay = entry(found, "lbfgs-20")["configuration"]["weight_decay"]
    assert code.endswith(
        f"# its step takes a closure, {decay!r} times the parameters added to the gradients"
    )


def test_a_continued_race_trains_only_a_class_that_changed(
    local: None, mine: Path, tmp_path: Path, trained: list[Run]
) -> None:
    text = mine.read_text(encoding="utf-8")
    argv = [
        "race",
        "wine-mlp",
        "--optimizers",
        f"sgd,{mine}:Signed",
        "--budget",
        "2",
        "--seeds",
        "2",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    for written, again in (
        (text, {"sgd", "Signed"}),
        (text, set()),
        (text.replace("FACTOR = 1.0", "FACTOR = 0.5"), {"Signed"}),
        (text.replace("power=0.0", "power=0.5"), {"Signed"}),
        (text, set()),
    ):
        mine.write_text(written, encoding="utf-8")
        trained.clear()
        assert main(argv) == 0
        assert {r.method.name for r in trained} == again


def test_worker_processes_give_the_records_of_this_one(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv = [
        "race",
        "wine-mlp",
        "--optimizers",
        f"adam,{mine}:Signed",
        "--budget",
        "4",
        "--seeds",
        "4",
        "--epochs",
        "1",
    ]
    plans = {
        "one": ExecutionPlan("lanes", 64),
        "two": ExecutionPlan("lanes", 64, class_processes=2),
    }
    for name, plan in plans.items():
        monkeypatch.setattr(run, "choose", lambda *args, plan=plan: plan)
        assert main([*argv, "--out", str(tmp_path / name)]) == 0
    runs = []
    for name in plans:
        records: dict[str, Any] = {}
        for path in (tmp_path / name / "records").iterdir():
            records |= json.loads(path.read_text(encoding="utf-8"))["runs"]
        runs.append(records)
    assert runs[0] == runs[1]
    setting = json.loads((tmp_path / "two" / "race.json").read_text(encoding="utf-8"))["setting"]
    assert "optimizer classes in 2 processes of one thread each" in setting["executor"]


def test_the_plan_has_processes_for_classes_where_that_pays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from thalweg.training.execution import plan

    monkeypatch.setattr(plan, "cores", lambda: 4)

    def measured(task: Any, sample: Any, regime: Any, lanes: int, *_: Any) -> Any:
        return {(1, 1): 1000.0, **({(lanes, 1): 10.0} if lanes > 1 else {})}

    monkeypatch.setattr(plan, "measure", measured)
    monkeypatch.setattr(plan, "measure_speedup", lambda *args: 4.0)
    task, known = tw.tasks.find("wine-mlp"), torch_method(torch.optim.Adam)
    regime = Regime(20, 16)
    rules = [Run(method("adam"), {}, seed) for seed in range(40)]
    classes = [Run(known, {}, seed) for seed in range(40)]
    assert choose(task, [*rules, *classes], regime).class_processes == 4  # 40 × 140 steps of 1 ms
    assert choose(task, rules, regime).class_processes == 1
    assert choose(task, [*rules, *classes[:2]], regime).class_processes == 1
    alone = choose(task, classes, regime)
    assert (alone.lanes, alone.class_processes) == (1, 1)
    assert alone.processes == 4


def test_what_a_race_takes_counts_classes_one_by_one() -> None:
    from thalweg.racing.estimate import training_seconds

    plan = ExecutionPlan("lanes", 64, microseconds=10.0, alone=1000.0)
    assert training_seconds(plan, 1e6) == pytest.approx(1.25 * 10)
    assert training_seconds(plan, 1e6, 1.0) == pytest.approx(1.25 * 1000)
    assert training_seconds(plan, 1e6, 0.5) == pytest.approx(1.25 * (5 + 500))
    two = ExecutionPlan("lanes", 64, microseconds=10.0, alone=1000.0, class_processes=2)
    assert training_seconds(two, 1e6, 0.5) == pytest.approx(1.25 * (5 + 250 + 3))
    apart = ExecutionPlan("processes", processes=2, microseconds=500.0, alone=1000.0)
    assert training_seconds(apart, 1e6, 1.0) == pytest.approx(1.25 * (500 + 3))


def test_whole_numbers_are_searched_as_such(local: None) -> None:
    class Every(torch.optim.SGD):
        def __init__(self, params: Any, lr: float = 0.1, every: int = 2) -> None:
            assert isinstance(every, int)
            super().__init__(params, lr=lr)

    ranges = {"Every": {"every": (1, 4)}}
    found = tw.race("wine-mlp", optimizers=[Every], search=ranges, **{**SMALL, "budget": 8})
    tried = {t["configuration"]["every"] for t in entry(found, "Every")["sensitivity"]}
    assert tried == {1.0, 2.0, 3.0, 4.0}


def test_several_tasks_have_the_same_classes(local: None) -> None:
    found = tw.races(["wine-mlp", "spiral-mlp"], optimizers=["adam", torch.optim.Adagrad], **SMALL)
    assert {e.name for e in found.result.optimizers} == {"adam", "torch.Adagrad"}


def test_a_class_named_like_a_rule_has_its_package_before_it() -> None:
    def named(module: str) -> str:
        return torch_method(type("Adam", (torch.optim.SGD,), {"__module__": module})).name

    assert [named(m) for m in ("heavyball", "torch.optim.adam", "thalweg_file_mine")] == [
        "heavyball.Adam",
        "torch.Adam",
        "mine.Adam",
    ]
    assert named("__main__") == "own.Adam"


def test_names_and_things_of_all_kinds_are_entrants() -> None:
    builtin, rule = method("adam"), tw.registry()["lion"]
    found = entrants(
        ["adam", rule, RANDOM_SEARCH, torch.optim.SGD, "torch.optim:Adadelta", "keras:nadam"]
    )
    assert found[:3] == (builtin, rule, RANDOM_SEARCH)
    assert [m.name for m in found[3:]] == ["torch.SGD", "torch.Adadelta", "keras:nadam"]
    assert found[3].learning_rates() == LogRange(1e-3)
    labelled = entrants({"a": torch.optim.SGD, "adam": "adam", "b": "torch.optim:SGD"})
    assert [m.name for m in labelled] == ["a", "adam", "b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([torch.optim.SGD([nn.Parameter(torch.zeros(1))])], "an instance of SGD; give the class"),
        ([3], "optimizers has 3, which is neither a name nor a rule nor a class"),
        ([nn.Linear], "is no optimizer"),
        ([lambda params, lr: None], "needs a name"),
        (["nosuchpackage:Adam"], "'nosuchpackage:Adam': the module cannot be imported: ModuleNotF"),
        (["torch.optim:Adem"], "no optimizer in torch.optim named 'Adem'; did you mean Adam"),
        (["mine.py:Signed"], "on the command line this is a class in a file"),
        ({"adam": torch.optim.Adam}, "calls something else 'adam', which is a built-in"),
        ({"mine": "adam"}, r"optimizers\['mine'\] is adam: a name can be given to an optimizer"),
        ({1: torch.optim.Adam}, "optimizers has the name 1"),
    ],
)
def test_what_is_no_entrant_is_refused(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        entrants(given)


def test_two_of_one_name_and_formulas_without_rule_are_refused_with_the_fix(local: None) -> None:
    twice = [torch.optim.Adam, functools.partial(torch.optim.Adam, eps=1e-4)]
    with pytest.raises(UsageError, match=r"'torch.Adam' takes part twice; .*as \{'a name': …\}"):
        tw.race("wine-mlp", optimizers=twice, **SMALL)

    def formula(theta: Any, g: Any, *, lr: float = 0.1) -> Any:
        return theta - lr * g

    with pytest.raises(UsageError, match=r"formula .* @thalweg.rule"):
        tw.race("wine-mlp", optimizers=[formula], **SMALL)


def test_a_class_that_fails_in_every_run_ends_the_race_by_its_own_line(local: None) -> None:
    class Late(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            self.taken = getattr(self, "taken", 0) + 1
            if self.taken == 3:
                raise LookupError("no such slot")
            return super().step(closure)

    with (
        pytest.warns(RuntimeWarning, match="Late at .* fails and counts as diverged"),
        pytest.raises(UsageError, match=r"every run of Late fails: .*classes.py:\d+: LookupError"),
    ):
        tw.race("wine-mlp", optimizers=["adam", Late], **SMALL)


@pytest.mark.parametrize("package", ["schedulefree", "pytorch_optimizer"])
def test_classes_of_other_packages_race(package: str, local: None, tmp_path: Path) -> None:
    pytest.importorskip(package)
    rates = {
        "schedulefree": {"AdamWScheduleFree": 0.03, "SGDScheduleFree": 1.0},
        "pytorch_optimizer": {"SOAP": 0.01, "Prodigy": 1.0, "ScheduleFreeAdamW": 0.03},
    }[package]
    found = tw.race(
        "wine-mlp",
        optimizers=["adam", *(f"{package}:{name}" for name in rates)],
        learning_rates={name: [rate] for name, rate in {"adam": 0.01, **rates}.items()},
        clip=1.0,
        schedule="cosine",
        seeds=2,
        epochs=3,
    )
    assert len(found.optimizers) == 1 + len(rates)
    assert not any(e["diverged_final"] for e in found.optimizers)
    free = [e for e in found.optimizers if "ScheduleFree" in e["name"]]
    assert free
    assert all("optimizer.eval() before evaluation" in e["code"] for e in free)
    # Every one of them has learned something: none is stepped in the wrong mode, or not at all.
    assert all(
        e["curve"]["validation_loss"]["mean"][-1] < e["curve"]["validation_loss"]["mean"][0]
        for e in found.optimizers
    )


def test_sharpness_aware_minimization_of_a_package_takes_closures(local: None) -> None:
    package = pytest.importorskip("pytorch_optimizer")
    sam = functools.partial(package.SAM, base_optimizer=torch.optim.SGD, momentum=0.9)
    found = tw.race("wine-mlp", optimizers={"sam": sam}, budget=2, seeds=2, epochs=2)
    code = entry(found, "sam")["code"]
    assert "base_optimizer=torch.optim.SGD, momentum=0.9)  # its step takes a closure" in code
