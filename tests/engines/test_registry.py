"""Which engine steps: names, order, engines that refuse or fail, and engines that go away."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import thalweg.optim as ours
from thalweg.engines import registry
from thalweg.engines.base import Engine, Launch
from thalweg.engines.formats import resolve_formats
from thalweg.engines.numba import NumbaEngine
from thalweg.errors import UsageError
from thalweg.optim.stepping.batches import arrangement
from thalweg.rules import find
from thalweg.tape import Program, trace
from thalweg.tasks import find as find_task
from thalweg.training.runs import Regime, Run, method
from thalweg.training.train import Session


class Twin(NumbaEngine):
    """Numba's kernels under another name, with what they were asked for."""

    name = "twin"

    def __init__(self, refused: str = "", broken: Sequence[str] = ()) -> None:
        self.refused, self.broken = refused, broken
        self.made: list[str] = []

    def trouble_with_program(self, program: Program, formats: str | Sequence[str]) -> str:
        return f"twin has no {self.refused}" if self.refused in (*formats, program.name) else ""

    def launch(self, program: Program, formats: Any, *args: Any, **more: Any) -> Launch:
        name = resolve_formats(formats, len(program.arrays))[0].name
        if name in self.broken:
            raise OSError(f"no compiler for {name}")
        self.made.append(program.name)
        return super().launch(program, formats, *args, **more)


class Second(Twin):
    """Another one."""

    name = "second"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The engines and the warnings of other tests are what they were."""
    before = dict(registry._engines)
    registry.warn_once.cache_clear()
    yield
    registry._engines.clear()
    registry._engines.update(before)
    registry.warn_once.cache_clear()


def parameters(*dtypes: torch.dtype) -> list[torch.Tensor]:
    made = [torch.arange(4.0, dtype=dtype, requires_grad=True) for dtype in dtypes]
    for p in made:
        p.grad = torch.ones_like(p)
    return made


def stepped(optimizer: Any, times: int = 1) -> list[list[float]]:
    for _ in range(times):
        optimizer.step()
    return [p.tolist() for group in optimizer.param_groups for p in group["params"]]


def expected(times: int = 1, count: int = 1) -> list[list[float]]:
    return [[k - 0.5 * times for k in range(4)]] * count


def test_the_option_names_what_is_registered() -> None:
    assert registry.names() == ("auto", "numba", "triton", "eager")
    with pytest.raises(UsageError, match="engine='twin' is unknown; choose one of auto, numba"):
        ours.SGD(parameters(torch.float32), engine="twin")
    for other in (None, ["numba"], b"numba"):
        with pytest.raises(UsageError, match="is unknown; choose one of auto, numba"):
            ours.SGD(parameters(torch.float32), engine=other)
    registry.register(Twin())
    assert registry.names() == ("auto", "numba", "triton", "twin", "eager")
    assert stepped(ours.SGD(parameters(torch.float32), lr=0.5, engine="twin")) == expected()
    registry.unregister("twin")
    with pytest.raises(UsageError, match="engine='twin' is unknown"):
        registry.unregister("twin")


def test_names_that_mean_something_else_and_engines_for_nothing() -> None:
    class Auto(Twin):
        name = "auto"

    class Eager(Twin):
        name = "eager"

    class Nowhere(Twin):
        name, devices = "nowhere", frozenset()

    for engine, message in ((Auto(), "'auto'"), (Eager(), "'eager'"), (Nowhere(), "no device")):
        with pytest.raises(UsageError, match=message):
            registry.register(engine)
    assert registry.names() == ("auto", "numba", "triton", "eager")


def test_of_two_engines_for_a_device_the_last_is_asked_first() -> None:
    first, second = Twin(), Second()
    registry.register(first)
    registry.register(second)
    assert stepped(ours.SGD(parameters(torch.float32), lr=0.5)) == expected()
    assert (first.made, second.made) == ([], ["sgd"])
    registry.register(first)  # again: it is the last now, and there is one of its name
    assert registry.names().count("twin") == 1
    assert stepped(ours.SGD(parameters(torch.float32), lr=0.5)) == expected()
    assert first.made == ["sgd"]


def test_what_one_engine_refuses_the_next_one_takes() -> None:
    first, second = Twin(), Second(refused="float64")
    registry.register(first)
    registry.register(second)
    both = parameters(torch.float32, torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is slower, so nothing is said
        assert stepped(ours.SGD(both, lr=0.5), times=2) == expected(2, count=2)
    assert (first.made, second.made) == (["sgd"], ["sgd"])
    with pytest.raises(UsageError, match=r"engine='second' cannot step .*: twin has no float64"):
        stepped(ours.SGD(both, engine="second"))


def test_an_engine_that_cannot_compile_is_said_once_and_another_steps() -> None:
    broken = Twin(broken=["float32"])
    registry.register(broken)
    both = parameters(torch.float32, torch.float64)
    optimizer = ours.SGD(both, lr=0.5)
    message = "steps with the numba engine instead: no kernel for sgd: OSError: no compiler for"
    with pytest.warns(RuntimeWarning, match=message) as said:
        assert stepped(optimizer) == expected(count=2)
    assert len(said) == 1
    assert broken.made == ["sgd"]  # of float64
    both[0].grad = None  # which needs another plan, and is not news
    both[1].grad = None
    assert stepped(optimizer) == expected(count=2)
    for p in both:
        p.grad = torch.ones_like(p)
    assert stepped(optimizer) == expected(2, count=2)


def test_where_no_engine_can_compile_the_eager_one_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise NotImplementedError("no such machine")

    monkeypatch.setattr(NumbaEngine, "launch", fail)
    monkeypatch.setattr(arrangement, "_arrangements", {})
    registry.register(Twin(broken=["float32"]))
    optimizer = ours.SGD(parameters(torch.float32), lr=0.5)
    with pytest.warns(RuntimeWarning, match="with the eager engine, which is slower") as said:
        assert stepped(optimizer, times=3) == expected(3)
    assert [str(w.message).split(": ", 2)[2] for w in said] == [
        "OSError: no compiler for float32",
        "NotImplementedError: no such machine",
    ]


def test_an_engine_that_is_asked_for_and_fails_half_way_steps_nothing() -> None:
    """It takes float32 and fails at float64: neither has moved, and the error is the engine's."""
    engine = Twin(broken=["float64"])
    registry.register(engine)
    both = parameters(torch.float32, torch.float64)
    optimizer = ours.Adam(both, lr=0.5, engine="twin")
    for _ in range(2):
        with pytest.raises(OSError, match="no compiler for float64"):
            optimizer.step()
    assert engine.made == ["adam"], "the second step finds what the first has prepared"
    assert [p.tolist() for p in both] == [[0.0, 1.0, 2.0, 3.0]] * 2
    assert all(float(state["step"]) == 0 for state in optimizer.state.values())
    engine.broken = []  # the compiler is back
    twin = [p.detach().clone().requires_grad_() for p in both]
    for p in twin:
        p.grad = torch.ones_like(p)
    assert stepped(optimizer, 2) == stepped(ours.Adam(twin, lr=0.5, engine="eager"), 2)


@pytest.mark.parametrize("option", ["auto", "twin"])
def test_an_engine_that_goes_away_while_optimizers_live(option: str) -> None:
    """It steps on until a step has to be planned anew."""
    engine = Twin()
    registry.register(engine)
    optimizer = ours.SGD(parameters(torch.float32), lr=0.5, engine=option)
    assert stepped(optimizer) == expected()
    registry.unregister("twin")
    assert stepped(optimizer) == expected(2)
    assert engine.made == ["sgd"]
    again = pickle.loads(pickle.dumps(optimizer))
    again.param_groups[0]["params"][0].grad = torch.ones(4)
    if option == "auto":
        assert stepped(again) == expected(3)
        assert engine.made == ["sgd"]
    else:
        with pytest.raises(UsageError, match="engine='twin' is unknown; choose one of auto"):
            stepped(again)


def test_which_engine_is_for_a_device() -> None:
    assert registry.engine_for("cpu").name == "numba"
    assert registry.engine_for(torch.device("cpu")) is registry.named("numba")
    assert [e.name for e in registry.engines_for("cuda:1")] == ["triton"]
    with pytest.raises(UsageError, match="on device='meta': there is none for such a device"):
        registry.engine_for("meta")
    registry.register(Second(refused="adam"))
    assert registry.engine_for("cpu", trace(find("adam"))).name == "numba"
    assert registry.engine_for("cpu", trace(find("sgd"))).name == "second"


def test_the_reasons_of_all_engines_are_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NumbaEngine, "trouble_with_program", lambda *_: "it is tired")
    registry.register(Second(refused="sgd"))
    with pytest.raises(UsageError, match="second: twin has no sgd; numba: it is tired"):
        registry.engine_for("cpu", trace(find("sgd")))


def test_lanes_are_left_to_the_next_engine_where_one_cannot_compile() -> None:
    runs = [Run(method("sgd"), {"lr": lr}, seed=0) for lr in (0.01, 0.1)]
    regime = Regime(epochs=1, batch_size=64, evaluations=1)
    registry.register(Twin(broken=["float32"]))
    with pytest.warns(RuntimeWarning, match="with the numba engine instead: .* OSError: no comp"):
        session = Session(find_task("wine-mlp"), runs, regime)
    assert list(session)
    with pytest.raises(OSError, match="no compiler"):
        Session(find_task("wine-mlp"), runs, regime, engine="twin")


def test_where_no_engine_compiles_a_launch_the_error_has_all_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise NotImplementedError("no such machine")

    monkeypatch.setattr(NumbaEngine, "launch", fail)
    registry.register(Twin(broken=["float32"]))
    reasons = "twin: no kernel for sgd: OSError: .*; numba: no kernel for sgd: NotImplementedError"
    with pytest.raises(UsageError, match=reasons):
        registry.launch_for("cpu", trace(find("sgd")), "float32", [(3,)], np.array([0]))


def test_engines_are_abstract_until_they_compile() -> None:
    class Half(Engine):
        name, devices = "half", frozenset({"cpu"})

        def source(self, program: Program, formats: Any) -> str:
            return ""

    with pytest.raises(TypeError, match="abstract"):
        Half()  # type: ignore[abstract]
