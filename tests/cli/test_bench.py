"""What a benchmark counts and says, apart from how long things took."""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from thalweg import optim, rule, rules
from thalweg.bench import (
    contenders,
    first_step,
    measure,
    peak_memory,
    peers,
    shapes,
    time_limit,
    timing,
)
from thalweg.bench.picture import figure
from thalweg.engines.traffic import traffic
from thalweg.errors import UsageError
from thalweg.rules import Rule
from thalweg.tape import trace

FAST = measure.Setting(repeats=2, peers=())
TINY = shapes.find("3x50")


# By hand: parameter, gradient and state are read; all but the gradient are written.
@pytest.mark.parametrize(
    ("name", "formats", "read", "written"),
    [
        ("sgd", "float32", 8, 4),
        ("adam", "float32", 16, 12),
        ("adam", "float64", 32, 24),
        ("amsgrad", "float32", 20, 16),
        ("adam", ["bfloat16", "bfloat16", "bfloat16~", "bfloat16~"], 8, 6),
        # 8-bit codes have a float32 scale for every 256; a compensated parameter has two halves.
        ("adam", ["bfloat16+", "bfloat16", "int8", "int8"], 4 + 2 + 2 * 1.015625, 4 + 2 * 1.015625),
        ("lars", "float32", 8 + 12, 8),  # |θ| and |g| are known before the step begins
        ("lamb", "float32", 16 + 16, 12),  # Adam's direction is measured, then taken
    ],
)
def test_bytes_of_a_step(name: str, formats: Any, read: float, written: float) -> None:
    assert traffic(trace(rules.find(name)), formats) == (read, written)


def test_an_array_that_is_not_needed_is_not_counted() -> None:
    @rule
    def forgetful(theta: Any, g: Any, m: Any, t: Any, *, lr: float = 0.1) -> Any:
        return theta - lr * g, g

    assert traffic(trace(forgetful), "float32") == (8, 8)  # m is written and never read


@pytest.mark.parametrize("name", sorted({r.name for r in rules.registry().values()}))
@pytest.mark.parametrize("state_dtype", [None, "bfloat16"])
def test_the_pattern_moves_the_same_bytes(name: str, state_dtype: str | None) -> None:
    chosen = rules.find(name)
    p = torch.ones(4, requires_grad=True)
    step: Any = contenders.pattern(chosen, state_dtype)([p])
    own = step.__self__.rule(step.__self__.param_groups[0])
    setting = measure.Setting(state_dtype=state_dtype)
    formats = setting.formats(chosen)
    assert traffic(trace(own), formats) == traffic(trace(chosen), formats)
    assert len(trace(own).body) <= len(trace(own).arrays) + 2 * len(trace(own).reductions) + 4


def test_contenders_step_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a rule has no state, a difference in time is none of where its numbers lie."""
    places: dict[type, set[tuple[int, ...]]] = {}
    make = contenders._stepper

    def noted(cls: Any, options: Any, parameters: Any) -> Any:
        side = make(cls, options, parameters)

        def step() -> None:
            own = side.__self__.param_groups[0]["params"]
            found = tuple(x.data_ptr() for p in own for x in (p, p.grad))
            places.setdefault(cls, set()).add(found)
            side()

        return step

    monkeypatch.setattr(contenders, "_stepper", noted)
    measure.measure(rules.sgd, TINY, FAST)
    assert len(places) == 3  # this package, the pattern, torch's modes
    assert len(set.union(*places.values())) == 1


def test_the_pattern_neither_grows_nor_vanishes() -> None:
    parameters = [torch.full((5,), 3.0, requires_grad=True)]
    parameters[0].grad = torch.full((5,), -1.0)
    step = contenders.pattern(rules.adam, None)(parameters)
    for _ in range(200):
        step()
    torch.testing.assert_close(parameters[0].detach(), torch.full((5,), -1.0))


@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [
        ("1x25M", 1, 25_000_000),
        ("1000x1000", 1_000, 1_000_000),
        ("4x2000", 4, 8_000),
        ("resnet50", 161, 25_557_032),  # torchvision's count
        ("gpt2", 148, 124_439_808),  # that of the published checkpoint
        ("lora7b", 128, 32 * 2 * 2 * 16 * 4096),
        ("3x2M", 3, 6_000_000),
    ],
)
def test_shapes(name: str, tensors: int, parameters: int) -> None:
    found = shapes.find(name)
    assert (len(found.shapes), found.parameters) == (tensors, parameters)


@pytest.mark.parametrize("name", ["", "resnet", "4x", "x4", "0x5", "-1x5", "4x4x4", "9999999x9999"])
def test_unknown_shapes_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="shape"):
        shapes.find(name)


def test_turns_rotate_and_warm_up_is_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(clock)))
    called: list[str] = []
    sides: dict[str, Callable[[], object]] = {k: lambda k=k: called.append(k) for k in "abc"}  # type: ignore[misc]
    taken = timing.in_turns(sides, 3)
    assert "".join(called[-9:]) == "abcbcacab"
    assert len(called) > 9
    assert taken == {k: [1.0] * 3 for k in "abc"}  # the clock ticks once a measurement


def test_ratios_are_of_rounds() -> None:
    # One slow round slows both sides, and no ratio.
    found = timing.ratio([1.0, 10.0, 2.0], [3.0, 30.0, 6.0])
    assert (found.median, found.low, found.high) == (3.0, 3.0, 3.0)


def test_a_row() -> None:
    row = measure.measure(rules.adam, TINY, FAST)
    assert (row["rule"], row["tensors"], row["parameters"]) == ("adam", 3, 150)
    names = ["thalweg", "pattern", "copy", "torch loop", "torch foreach", "torch fused"]
    assert list(row["seconds"]) == list(row["bandwidth"]) == list(row["first"]) == names
    assert list(row["against"]) == names[3:]
    assert row["best"] in names[3:]
    assert row["skipped"] == {}
    seconds = row["seconds"]["thalweg"]["median"]
    assert math.isclose(row["bandwidth"]["thalweg"], 28 * 150 / seconds / 1e9)


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package of others, installed, with what there is to go wrong."""

    class Takes(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            super().step()
            self.zero_grad()

    class Fails(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            raise ValueError("no kernel\nand more")

    module = ModuleType("some_peer")
    vars(module).update(Good=torch.optim.SGD, Takes=Takes, Fails=Fails)
    monkeypatch.setitem(sys.modules, "some_peer", module)
    monkeypatch.setattr(peers, "version", lambda package: "1.0")
    found = {
        cls: peers.Peer(cls.lower(), "some-peer", "some_peer", {"sgd": (cls, {"lr": 0.1})})
        for cls in ("Good", "Takes", "Fails")
    }
    monkeypatch.setattr(measure, "PEERS", {p.name: p for p in found.values()})
    return module


@pytest.mark.usefixtures("peer")
def test_peers_run_beside_and_their_failures_are_told() -> None:
    setting = measure.Setting(repeats=1, peers=("good", "takes", "fails"))
    row = measure.measure(rules.sgd, TINY, setting)
    assert "good" in row["against"]
    assert row["skipped"] == {
        "takes": "sets the gradients to None at its step",
        "fails": "ValueError: no kernel",
    }
    row = measure.measure(rules.adam, TINY, setting)
    assert set(row["skipped"].values()) == {"has no such rule"}


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise peers.PackageNotFoundError(package)

    monkeypatch.setattr(peers, "version", missing)
    row = measure.measure(rules.adam, TINY, measure.Setting(repeats=1, peers=("optimi",)))
    assert row["skipped"] == {
        "optimi": "not installed (pip install torch-optimi, or thalweg[peers] for all)"
    }


def test_what_does_not_fit_into_memory_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "available", lambda: 1_000)
    row = measure.measure(rules.adam, TINY, FAST)
    assert "GB are free" in row["skipped"]["thalweg"]
    assert "seconds" not in row


def test_a_limit_of_time() -> None:
    with pytest.raises(TimeoutError, match=r"no step within 0\.01 s"), time_limit.time_limit(0.01):
        time.sleep(30)
    with time_limit.time_limit(60):
        pass


@pytest.mark.parametrize(
    "given", [{"repeats": 0}, {"state_dtype": "int4"}, {"patience": 0.0}, {"patience": math.nan}]
)
def test_settings_that_cannot_be_are_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=next(iter(given))):
        measure.Setting(**given)


def test_torch_options_follow_the_rule() -> None:
    assert contenders.in_torch(rules.nesterov) == (
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True},
    )
    assert contenders.in_torch(rules.lion) is None
    assert contenders.in_torch(rules.find("keras:rmsprop")) is None


def test_the_picture_has_a_bar_for_every_rule() -> None:
    rows = [measure.measure(r, TINY, FAST) for r in (rules.adam, rules.lion)]
    skipped = {**rows[0], "shapes": "huge"}
    skipped.pop("bandwidth")
    made = figure({"rows": [*rows, skipped]})
    (axes,) = made.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["adam", "lion"]
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    assert widths == [row["bandwidth"]["thalweg"] for row in rows]
    assert figure({"rows": []}).axes


def _starts(chosen: Rule) -> dict[str, first_step.Start]:
    return first_step.starts(chosen, "from thalweg.rules import adam as rule", compiled=True)


def test_first_steps_name_the_same_optimizer() -> None:
    found = _starts(rules.nesterov)
    assert found["torch"].construct == "torch.optim.SGD(parameters, momentum=0.9, nesterov=True)"
    assert found["thalweg"].construct == found["torch"].construct.replace("torch.", "thalweg.", 1)
    assert found["torch.compile"].compiled

    @rule
    def own(theta: Any, g: Any, t: Any, *, lr: float = 0.1) -> Any:
        return theta - lr * g

    assert _starts(own)["thalweg"].construct == "thalweg.optim.from_rule(rule)(parameters)"


def test_first_steps_are_taken_in_processes_of_their_own() -> None:
    # Some import with names for the arguments, as torch's compiler does.
    start = first_step.Start('__import__("torch", fromlist=["optim"]).optim.SGD(parameters)')
    cold, warm = first_step.first_steps({"sgd": {"torch": start}}, rounds=1, threads=1)
    assert (cold["cache"], warm["cache"]) == ("cold", "warm")
    for row in (cold, warm):
        parts = {part: row[part]["median"] for part in ("total", "imports", "rest")}
        assert math.isclose(parts["total"], parts["imports"] + parts["rest"])
        assert parts["rest"] > 0


LARGE = 4_000_000
# The kernel adds up pages late, by up to 256 kB a thread; ours are one, torch's pool may be two
# more. A byte per parameter would be four times as much.
TOLERANCE = 1_000_000


@pytest.mark.skipif(
    not peak_memory._CLEAR.exists(), reason="only Linux tells a process's peak memory"
)
@pytest.mark.parametrize("name", ["Adam", "NAdam", "LAMB"])
def test_a_step_needs_no_memory_of_its_own(name: str) -> None:
    p = torch.ones(LARGE, requires_grad=True)
    p.grad = torch.ones(LARGE)
    optimizer = getattr(optim, name)([p])
    optimizer.step()
    assert peak_memory.peak(optimizer.step) < TOLERANCE
    eager = getattr(optim, name)([p], engine="eager")
    eager.step()
    assert peak_memory.peak(eager.step) > 4 * LARGE - TOLERANCE  # a temporary of its size is seen
