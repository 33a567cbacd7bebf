"""The engines against the rule itself: same formula, other arithmetic, equal numbers."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import thalweg.engines
import thalweg.tape
from oracles import (
    DTYPES,
    EVERY_RULE,
    FORMS,
    RULES,
    STEPS,
    TOLERANCE,
    Compiled,
    assert_agree,
    formula,
    lively,
    problem,
    start,
)
from thalweg.engines import eager, tables
from thalweg.engines.numba import store, text
from thalweg.engines.numba.launch import KERNELS
from thalweg.engines.numba.lift import source
from thalweg.engines.tables import CHUNK, cut
from thalweg.rules import Rule, find, maximize, registry, rule
from thalweg.tape import trace

NAMES = [r.name for r in EVERY_RULE]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", EVERY_RULE, ids=NAMES)
def test_compiled_equals_the_formula(form: Rule, dtype: str) -> None:
    theta, gradients = problem(dtype)
    hyper = lively(form)
    compiled = Compiled(form, dtype, [theta], [hyper], [0])
    for g in gradients:
        compiled.step([g])
    wide = [g.astype(np.float64) for g in gradients]
    expected = formula(form, theta.astype(np.float64), wide, hyper)
    assert_agree(compiled.result(), expected, TOLERANCE[dtype])
    assert compiled.pieces[0].untouched()
    assert compiled.scalar("t") == STEPS


@pytest.mark.parametrize(
    "form", [r for r in EVERY_RULE if not trace(r).middle], ids=lambda r: r.name
)
def test_python_floats_equal_numpy(form: Rule) -> None:
    theta, gradients = problem("float64", size=5)
    expected = formula(form, theta, gradients, lively(form))
    each = [
        formula(form, float(x), [float(g[k]) for g in gradients], lively(form))
        for k, x in enumerate(theta)
    ]
    found = {
        key: each[0][key] if key in form.scalars else [one[key] for one in each] for key in expected
    }
    assert_agree(found, expected, TOLERANCE["float64"])


@pytest.mark.parametrize("form", EVERY_RULE, ids=NAMES)
def test_eager_on_torch_equals_numpy(form: Rule) -> None:
    theta, gradients = problem("float64")
    hyper = lively(form)
    x = torch.from_numpy(theta.copy())
    kept = x.clone()
    slots = start(form, x, hyper)
    state: tuple[Any, dict[str, Any]] = (x, slots)
    for t, g in enumerate(gradients, start=1):
        state = eager.step(form, state[0], torch.from_numpy(g), state[1], t, hyper)
    expected = formula(form, theta, gradients, hyper)
    assert torch.equal(x, kept), "the eager engine changes nothing in place"
    assert_agree({"theta": state[0], **state[1]}, expected, TOLERANCE["float64"])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("name", ["adam", "nadam", "asgd", "rprop"])
def test_one_launch_steps_all_tensors_and_rows(name: str, threads: int) -> None:
    """Sizes around the chunk's edges; rows differ in learning rate and in steps taken."""
    form, taken = find(name), [0, 7, 300]
    sizes = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7, 5]
    rows = [0, 1, 2, 0, 1, 2, 1]
    hypers = [{**lively(form), "lr": lr} for lr in (1e-3, 0.05, 0.4)]
    random = np.random.default_rng(1)
    thetas = [random.normal(size=n) for n in sizes]
    gradients = [[random.normal(size=n) for n in sizes] for _ in range(3)]
    compiled = Compiled(form, "float64", thetas, hypers, rows, taken)
    for each in gradients:
        compiled.step(each, threads)
    for tensor, (theta, row) in enumerate(zip(thetas, rows, strict=True)):
        slots = list(start(form, theta, hypers[row]).values())
        for nth, each in enumerate(gradients, start=1):
            theta, *slots = form(theta, each[tensor], *slots, taken[row] + nth, **hypers[row])
        expected = {"theta": theta, **dict(zip(form.slots, slots, strict=True))}
        assert_agree(compiled.result(tensor), expected, TOLERANCE["float64"])
        assert compiled.pieces[tensor].untouched()


def test_chunks_cover_every_element_once() -> None:
    sizes = np.array([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
    starts = np.array([5, 0, 100, 0, 3, 11])
    chunks = cut(np.arange(6), starts, sizes, np.arange(6) % 2)
    assert (chunks[:, 2] - chunks[:, 1]).max() <= CHUNK
    assert (chunks[:, 3] == chunks[:, 0] % 2).all()
    for tensor, (begin, size) in enumerate(zip(starts, sizes, strict=True)):
        own = chunks[chunks[:, 0] == tensor]
        elements = [np.arange(first, last) for _, first, last, _ in own]
        covered = np.concatenate([*elements, np.arange(0)])
        assert np.array_equal(covered, np.arange(begin, begin + size))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", RULES, ids=lambda r: r.name)
def test_nan_and_infinity_mean_what_they_mean(form: Rule, dtype: str) -> None:
    """Elements with a bad gradient end as the formula says, and their neighbours as ever."""
    theta, gradients = problem(dtype, size=70)
    gradients = gradients[:3]
    gradients[1][[3, 20, 41]] = [np.nan, np.inf, -np.inf]
    gradients[1][50] = 0.0
    compiled = Compiled(form, dtype, [theta], [lively(form)], [0])
    for g in gradients:
        compiled.step([g])
    wide = [g.astype(np.float64) for g in gradients]
    with np.errstate(invalid="ignore", over="ignore"):
        expected = formula(form, theta.astype(np.float64), wide, lively(form))
    assert_agree(compiled.result(), expected, TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["nadam", "asgd", "adam"])
def test_frozen_pieces_stay_bit_for_bit(name: str) -> None:
    """Neither arrays, nor scalar slots, nor the step number of a row without chunks move."""
    form = find(name)
    random = np.random.default_rng(2)
    thetas = [random.normal(size=n) for n in (40, CHUNK + 3, 9)]
    hypers = [{**lively(form), "lr": lr} for lr in (0.01, 0.02, 0.03)]
    compiled = Compiled(form, "float64", thetas, hypers, [0, 1, 2])
    compiled.launch.only(np.array([0, 2]))  # row 1 never moves, row 0 not for ever
    first = {k: np.copy(v) for k, v in compiled.result(1).items()}
    gradients = [random.normal(size=t.size) for t in thetas]
    compiled.step(gradients)
    compiled.launch.only(np.array([2]))
    after_one = {k: np.copy(v) for k, v in compiled.result(0).items()}
    compiled.step(gradients)
    compiled.launch.only(np.array([], np.int64))
    compiled.step(gradients)
    assert_agree(compiled.result(1), first, 0.0)
    assert_agree(compiled.result(0), after_one, 0.0)
    assert [compiled.scalar("t", row) for row in range(3)] == [1, 0, 2]
    expected = formula(form, thetas[2], [gradients[2]] * 2, hypers[2])
    assert_agree(compiled.result(2), expected, TOLERANCE["float64"])


OWN = '''
from thalweg import ops, rule

@rule
def drift(theta, g, m, t, *, lr=0.1, beta=0.5):
    """Own: a rule of somebody's own, with \\\\beta and a \\"quote\\"."""
    m = beta * m + ops.tanh(g)
    return theta - lr / t * ops.where((m > 0) & (g < 1), m, -0.5 * m), m
'''


def _imported(path: Path, text: str) -> Rule:
    path.write_text(text)
    module = ModuleType("own")
    module.__file__ = str(path)
    exec(compile(text, str(path), "exec"), module.__dict__)
    return module.drift


def _typed(path: Path, text: str) -> Rule:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(text, scope)  # as a notebook's cell: no file, no module
    return scope["drift"]


@pytest.mark.parametrize("obtain", [_imported, _typed])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rule_of_ones_own(obtain: Any, dtype: str, tmp_path: Path) -> None:
    own = obtain(tmp_path / "own.py", OWN)
    theta, gradients = problem(dtype)
    compiled = Compiled(own, dtype, [theta], [{"lr": 0.3}], [0])
    for g in gradients:
        compiled.step([g])
    expected = formula(own, theta.astype(float), [g.astype(float) for g in gradients], {"lr": 0.3})
    assert_agree(compiled.result(), expected, TOLERANCE[dtype])


def test_names_that_the_kernel_uses_itself() -> None:
    """Slots and hyperparameters may be called as the kernel's own functions and variables."""

    @rule(scalars=("stop", "range"))
    def kernel(
        theta,
        g,
        m,
        load_m,
        at_m,
        row,
        float32,
        x1,
        s0,
        stop,
        range,
        c_lr,
        t,
        *,
        lr=0.1,
        start=0.2,
        i=0.3,
        chunk=0.4,
        exp=0.5,
        sqrt=0.6,
        row_=0.7,
        load_=0.8,
        pointers=0.9,
        store_g=1.1,
        v_load_m=1.2,
        nan=1.3,
        fabs=1.4,
        β=1.5,
    ):
        m = m + lr * g + start
        load_m = load_m * i + chunk * m
        at_m = at_m + exp * load_m - row_
        row = row + at_m * load_ + sqrt
        float32 = float32 - store_g * g
        x1 = x1 + float32 * v_load_m - nan
        s0 = s0 + x1 * fabs + β
        stop = stop + pointers
        range = range + stop * lr
        c_lr = c_lr + g * range
        return theta - lr * s0 + c_lr, m, load_m, at_m, row, float32, x1, s0, stop, range, c_lr

    theta, gradients = problem("float64")
    compiled = Compiled(kernel, "float64", [theta], [{}], [0])
    for g in gradients:
        compiled.step([g])
    assert_agree(compiled.result(), formula(kernel, theta, gradients, {}), TOLERANCE["float64"])


def test_slots_may_change_places() -> None:
    @rule(scalars=("p", "q"), init={"p": 1.0, "q": 2.0, "b": 3.0})
    def swap(theta, g, a, b, p, q, t, *, lr=0.1):
        return theta - lr * g * p, b, a + g, q, p

    theta, gradients = problem("float64")
    compiled = Compiled(swap, "float64", [theta], [{}], [0])
    for g in gradients[:3]:
        compiled.step([g])
    assert_agree(compiled.result(), formula(swap, theta, gradients[:3], {}), 1e-15)


@pytest.mark.parametrize(
    ("form", "dtype"),
    [*((form, "float32") for form in FORMS), *((form, "float64") for form in RULES)],
    ids=lambda x: x if isinstance(x, str) else x.name,
)
def test_every_kernel_vectorizes(form: Rule, dtype: str) -> None:
    """The compiler's own text has a packed store for every array that the rule writes."""
    program = trace(form)
    scope: dict[str, Any] = {}
    exec(source(program, dtype), scope)
    number = {"float32": "float", "float64": "double"}[dtype]
    text = scope["kernel"].inspect_llvm()
    assert "memcheck" not in text, "the arrays are known not to overlap"
    assert "atomicrmw add" in text, "no two threads may claim the same chunk"
    found = re.findall(rf"store <(\d+) x {number}>", text)
    packed = [int(width) for width in found]
    assert packed
    assert packed.count(max(packed)) >= len(program.outputs)
    assert max(packed) * np.dtype(dtype).itemsize >= 16  # bytes, the narrowest vector there is
    if platform.machine() in ("x86_64", "AMD64"):
        machine = scope["kernel"]._library.get_asm_str()
        kind = {"float32": "ps", "float64": "pd"}[dtype]
        arithmetic = (
            rf"\sv?(?:add|sub|mul|div|sqrt|fn?m\w+\d+|max|min|and|xor){kind}\s[^\n]*[xyz]mm"
        )
        assert len(re.findall(arithmetic, machine)) >= 1, "packed instructions in the machine code"
        assert re.search(rf"\sv?mov[ua]{kind}\s+%[xyz]mm\d+, [^%\n]*\(", machine), "packed stores"


def test_engines_know_no_optimizer() -> None:
    code = [*Path(thalweg.engines.__path__[0]).rglob("*.py"), Path(thalweg.tape.__file__)]
    words = {path: set(re.findall(r"\w+", path.read_text().lower())) for path in code}
    assert len(words) >= 8
    assert not {
        (path.name, name) for path, known in words.items() for name in known & {*registry()}
    }


def test_any_name_and_title_make_a_kernel() -> None:
    strange = maximize(find("sgd"), name='in\n"""two lines\\N', title='\\x and\r\n"""')
    theta, gradients = problem("float64")
    compiled = Compiled(strange, "float64", [theta], [{}], [0])
    compiled.step(gradients[:1])
    assert_agree(compiled.result(), formula(strange, theta, gradients[:1], {}), 1e-15)


def test_no_chunk_is_stepped_twice_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads scramble for chunks of a single element."""
    theta, g = np.zeros(100_000), np.ones(100_000)
    monkeypatch.setattr(tables, "CHUNK", 1)
    compiled = Compiled(find("sgd"), "float64", [theta], [{"lr": 1.0}], [0])
    for _ in range(20):
        compiled.step([g], threads=8)
    assert set(compiled.pieces[0].theta) == {-20.0}


def test_equal_programs_share_a_kernel() -> None:
    @rule
    def another(theta, g, t, *, lr=1e-3):
        """The same computation under another name."""
        return theta - lr * g

    assert KERNELS.get(trace(another), "float32") is KERNELS.get(trace(find("sgd")), "float32")
    assert KERNELS.get(trace(another), "float32") is not KERNELS.get(trace(another), "float64")


def test_new_hyperparameters_compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    form = find("adam")
    theta, gradients = problem("float64")
    compiled = Compiled(form, "float64", [theta], [{}], [0])

    def refuse(*_: object) -> None:
        raise AssertionError("a kernel was loaded or compiled")

    monkeypatch.setattr(store, "load", refuse)
    for t, g in enumerate(gradients, start=1):
        hyper = {"lr": 0.1 / t, "beta1": 0.5 + 0.01 * t, "beta2": 0.9, "eps": 10.0**-t}
        for name, value in hyper.items():
            compiled.launch.scalars[:, compiled.launch.program.scalars.index(name)] = value
        slots = {k: v.copy() for k, v in compiled.result().items()}
        compiled.step([g])
        new = form(slots["theta"], g, slots["m"], slots["v"], t, **hyper)
        expected = dict(zip(("theta", "m", "v"), new, strict=True))
        assert_agree(compiled.result(), expected, TOLERANCE["float64"])
    Compiled(form, "float64", [theta[:9]], [{"lr": 1.0}, {"lr": 2.0}], [1])


def test_the_kernels_source_can_be_read() -> None:
    program = trace(find("nadam"))
    text = source(program, "float32")
    assert "# NAdam: Adam with Nesterov momentum" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    KERNELS.get(program, "float32")
    kept = [p for p in store.folder().glob("nadam-float32-*.py") if p.read_text() == text]
    assert len(kept) == 1


def test_every_operation_of_the_vocabulary_compiles() -> None:
    """The op table has all that a tape can hold, and each entry computes what ops says."""
    from thalweg import ops

    @rule
    def all_of_it(theta, g, a, b, c, d, e, f, t, *, lr=0.3):
        a = ops.sqrt(ops.abs(g)) + ops.exp(-g) - ops.log(ops.abs(g) + 1) / 2
        b = ops.sin(g) * ops.cos(theta) + ops.tanh(g * lr)
        c = ops.maximum(g, ops.minimum(theta, 0.5)) + ops.clamp(g, -0.3, 0.3) + ops.sign(g)
        d = ops.where((g >= 0) & (theta <= 1) | (g == theta), abs(g) ** 1.5, 2**theta)
        e = ops.where(g != theta, +(g**2) + g**3 - theta**4, 0.0) + ops.where(t > 2, lr, -lr)
        f = ops.where((g > 0) == (theta > 0), 1 / (2 + g * g), theta ** (2 * lr / lr))
        return theta - lr * g, a, b, c, d, e, f

    program = trace(all_of_it)
    used = {line.operation for line in (*program.prologue, *program.body)}
    assert used == set(text._OPERATIONS)
    theta, gradients = problem("float64")
    compiled = Compiled(all_of_it, "float64", [theta], [{}], [0])
    for g in gradients:
        compiled.step([g])
    expected = formula(all_of_it, theta, gradients, {})
    assert_agree(compiled.result(), expected, TOLERANCE["float64"])


def test_the_chunk_fits_a_second_level_cache() -> None:
    widest = max(len(trace(r).arrays) for r in EVERY_RULE)
    assert tables.CHUNK * widest * 8 <= 1 << 20
