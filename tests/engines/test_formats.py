"""Numbers kept in fewer bytes: what memory holds, by the definition of each format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from oracles import RULES, formula, lively, problem, start
from thalweg.engines.formats import BLOCK, FORMATS, resolve_formats
from thalweg.engines.numba.launch import NumbaLaunch
from thalweg.engines.tables import CHUNK
from thalweg.errors import UsageError
from thalweg.optim.stepping.precision import StoragePrecision, decode, encode, rounded
from thalweg.rules import Rule, find, rule
from thalweg.tape import trace

_MEMORY = {"bfloat16": np.uint16}


class Kept:
    """A rule in the compiled engine, with arrays in memory as their formats have it."""

    def __init__(self, form: Rule, formats: Sequence[str], theta: Any, hyper: Any, seed: int = 0):
        program = trace(form)
        self.formats = dict(zip(program.arrays, formats, strict=True))
        self.launch = NumbaLaunch(program, formats, [theta.shape], np.zeros(1, np.int64), seed=seed)
        first = start(form, theta, hyper)
        self.memory = {
            array: make(first.get(array, theta), FORMATS[name])
            for array, name in self.formats.items()
        }
        parts = [part for own in self.memory.values() for part in own]
        self.launch.pointers[0] = [part.ctypes.data for part in parts]
        values = {**form.defaults, **hyper, "t": 0}
        values |= {s: first[s] for s in form.scalars}
        self.launch.scalars[0] = [values[name] for name in program.scalars]

    def step(self, g: Any, threads: int = 1) -> None:
        for part, new in zip(self.memory["g"], make(g, FORMATS[self.formats["g"]]), strict=True):
            part[...] = new
        self.launch(threads)

    def value(self, array: str) -> Any:
        return worth(self.memory[array], FORMATS[self.formats[array]])


def make(values: Any, form: Any) -> list[Any]:
    """The memory that holds these numbers, to the nearest."""
    values = np.asarray(values, np.float32)
    if form.blockwise:
        codes, scales = encode(torch.from_numpy(values), 0.5)
        return [codes.numpy(), scales.numpy()]
    if form.parts[0] != "bfloat16":
        return [values.astype(form.parts[0])]
    high = torch.from_numpy(values).bfloat16()
    low = (torch.from_numpy(values) - high.float()).bfloat16()
    parts = [high, low] if form.compensated else [high]
    return [np.array(part.view(torch.int16).numpy().view(np.uint16)) for part in parts]


def worth(parts: Sequence[Any], form: Any) -> Any:
    """The numbers in memory, worked out in float64 from the definition of the format."""
    if form.blockwise:
        scale = np.repeat(parts[1].astype(float), BLOCK)[: parts[0].size].reshape(parts[0].shape)
        signed = np.sign(parts[0]) * (np.abs(parts[0].astype(float)) / 127) ** 4
        positive = (parts[0].view(np.uint8) / 255.0) ** 4
        return np.where(np.signbit(scale), signed, positive) * np.abs(scale)
    if form.parts[0] != "bfloat16":
        return parts[0].astype(float)
    return sum((part.astype(np.uint32) << 16).view(np.float32).astype(float) for part in parts)


def spacing(value: Any, form: Any) -> Any:
    """How far a number that is kept may be from the true one: one step of the format's grid."""
    size = np.abs(np.asarray(value, float))
    if form.blockwise:  # (c+1)^4 - c^4 of the scale, for the coarser of the two grids
        top = np.maximum.reduceat(size, np.arange(0, size.size, BLOCK)).repeat(BLOCK)[: size.size]
        code = np.floor(127 * (size / top) ** 0.25)
        return ((code + 1) ** 4 - code**4) / 127**4 * top
    bits = {"float16": 10, "bfloat16": 7, "bfloat16~": 7, "bfloat16+": 15, "float32": 23}
    return 2.0 ** -bits.get(form.name, 52) * size


REDUCED = [
    ("float32", "int8"),
    ("float32", "bfloat16~"),
    ("bfloat16+", "int8"),
    ("bfloat16~", "float32"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("float64", "int8"),
    ("float64", "bfloat16~"),
]


@pytest.mark.parametrize(
    ("form", "parameter", "state"),
    [
        *((form, *REDUCED[0]) for form in RULES),
        *((find(name), *REDUCED[2]) for name in ("sgd", "nadam", "adamp", "lars")),
        *((find("adam"), *kinds) for kinds in REDUCED[1:]),
    ],
    ids=lambda x: getattr(x, "name", x),
)
def test_a_step_ends_within_one_grid_step_of_the_formula(
    form: Rule, parameter: str, state: str
) -> None:
    """From what memory holds, the formula in float64 gives what memory holds next, rounded once."""
    theta, gradients = problem("float32", size=3 * BLOCK + 41)
    theta, hyper = theta.reshape(-1, 1), lively(form)
    gradients = [g.reshape(-1, 1) for g in gradients]
    gradient = {"bfloat16+": "bfloat16", "bfloat16~": "bfloat16"}.get(parameter, parameter)
    kept = Kept(form, [parameter, gradient, *[state] * len(form.array_slots)], theta, hyper)
    scalars = {s: start(form, theta, hyper)[s] for s in form.scalars}
    for t, g in enumerate(gradients[:4], start=1):
        kept.step(g)
        if t == 1:  # from the second step on, the state is one that rounding has made
            scalars = {s: _scalar(kept, s) for s in scalars}
            before = {a: kept.value(a) for a in kept.formats}
            continue
        state_now = {s: scalars.get(s, before.get(s)) for s in form.slots}
        wide = {s: np.reshape(x, theta.shape) if s in before else x for s, x in state_now.items()}
        exact = form(
            before["theta"].reshape(theta.shape),
            kept.value("g").reshape(theta.shape),
            *wide.values(),
            t,
            **hyper,
        )
        for name, new in zip(("theta", *form.slots), exact, strict=True):
            if name in kept.formats:
                new = np.broadcast_to(new, theta.shape).ravel()
                grid = spacing(new, FORMATS[kept.formats[name]])
                # Arithmetic is float32's: a few roundings of the largest number.
                slack = 2e-5 * np.abs(new).max()
                assert (np.abs(kept.value(name).ravel() - new) <= grid + slack).all(), name
        scalars = {s: _scalar(kept, s) for s in scalars}
        before = {a: kept.value(a).ravel() for a in kept.formats}


def _scalar(kept: Kept, slot: str) -> float:
    return float(kept.launch.scalars[0, kept.launch.program.scalars.index(slot)])


@rule
def hold(theta, g, m, t, *, lr=0.0):
    """A state that is the gradient."""
    return theta, g


@pytest.mark.parametrize("state", ["bfloat16~", "int8"])
def test_rounding_is_right_on_average(state: str) -> None:
    """The mean over 4,096 steps is within 5 standard errors of the number, for every number."""
    random = np.random.default_rng(0)
    g = (random.normal(size=BLOCK) * 10.0 ** random.uniform(-3, 0, BLOCK)).astype(np.float32)
    kept, steps = Kept(hold, ["float32", "float32", state], np.zeros(BLOCK), {}), 4096
    total, squares = np.zeros(BLOCK), np.zeros(BLOCK)
    for _ in range(steps):
        kept.step(g)
        error = kept.value("m") - g.astype(float)
        total, squares = total + error, squares + error**2
    deviation = np.sqrt(squares / steps)
    assert (deviation > 0).mean() > 0.9, "most numbers are between two of the grid"
    floor = 1e-7 * np.abs(g).max()  # what float32 makes of the grid itself
    assert (np.abs(total / steps) <= 5 * deviation / np.sqrt(steps) + floor).all()


def test_random_bits_are_those_of_seed_and_step() -> None:
    g = np.random.default_rng(1).normal(size=5000).astype(np.float32)

    def states(seed: int, threads: int = 1) -> list[Any]:
        kept = Kept(hold, ["float32", "float32", "int8"], np.zeros(5000), {}, seed)
        found = []
        for _ in range(2):
            kept.step(g, threads)
            found.append(kept.value("m").copy())
        return found

    once, again, other = states(1), states(1, threads=3), states(2)
    assert all(np.array_equal(x, y) for x, y in zip(once, again, strict=True))
    differs = [(x != y).mean() for x, y in ((once[0], once[1]), (once[0], other[0]))]
    assert min(differs) > 0.2


def test_random_bits_look_random() -> None:
    """Each of the 32 bits is set half of the time, and neighbours agree half of the time."""
    draws = StoragePrecision(seed=5).noise(torch.zeros(1 << 16), 3, 0, 2).numpy()
    bits = (draws[:, None] >> np.arange(32)) & 1
    tolerance = 5 * 0.5 / np.sqrt(draws.size)  # five standard errors of a fair coin
    assert np.abs(bits.mean(0) - 0.5).max() < tolerance
    assert np.abs((bits[1:] == bits[:-1]).mean(0) - 0.5).max() < tolerance
    step = StoragePrecision(seed=5).noise(torch.zeros(1 << 16), 4, 0, 2).numpy()
    assert np.abs((((draws ^ step)[:, None] >> np.arange(32)) & 1).mean(0) - 0.5).max() < tolerance


@pytest.mark.parametrize("scale", [1.0, 1e-30, 3e-7, 123.456, 1e30])
def test_codes_survive_being_decoded(scale: float) -> None:
    """Encoding what codes stand for gives the codes, by whatever random bits."""
    bits = torch.randint(0, 1 << 32, (2 * BLOCK,), generator=torch.Generator().manual_seed(0))
    codes = torch.arange(2 * BLOCK).remainder(256).to(torch.uint8).view(torch.int8)
    codes[BLOCK:] = codes[BLOCK:].clamp(-127, 127)
    scales = torch.tensor([scale, -scale])
    values = decode(codes, scales)
    for draw in (0.5, bits):
        again, same = encode(values, draw)
        assert torch.equal(again, codes)
        assert torch.equal(same, scales)


def test_signs_survive_where_every_code_is_zero() -> None:
    """A block whose only negative number became zero is still one with signs."""
    values = torch.full((BLOCK,), 1e-20)
    values[0], values[1] = 1.0, -1e-20
    codes, scales = encode(values, 0.5)
    assert (codes[1].item(), scales.item()) == (0, -1.0)
    again, same = encode(decode(codes, scales), 0.5)
    assert torch.equal(again, codes)
    assert torch.equal(same, scales)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden(bad: float) -> None:
    """It spoils its own block of codes, and its own number of bfloat16."""
    g = np.ones(3 * BLOCK, np.float32)
    g[BLOCK + 5] = bad
    coded = Kept(hold, ["float32", "float32", "int8"], np.zeros(3 * BLOCK), {})
    brain = Kept(hold, ["float32", "float32", "bfloat16~"], np.zeros(3 * BLOCK), {})
    for kept in (coded, brain):
        kept.step(g)
    assert not np.isfinite(coded.memory["m"][1][1])
    with np.errstate(invalid="ignore"):
        values = coded.value("m")
    assert not np.isfinite(values[BLOCK + 5])
    assert (values[:BLOCK] == 1).all()
    assert (values[2 * BLOCK :] == 1).all()
    np.testing.assert_array_equal(brain.value("m")[BLOCK + 5], bad)
    assert np.isfinite(np.delete(brain.value("m"), BLOCK + 5)).all()


def test_bfloat16_rounds_up_as_often_as_its_place() -> None:
    """Against every one of the 65,536 random numbers: exactly as many carry as are left over."""
    value = torch.tensor([1.0 + 300 * 2.0**-23, -2.5 - 77 * 2.0**-22, 1e-40, 3.0])
    bits = torch.arange(1 << 16)
    for x in value:
        word = int(x.view(torch.int32)) & 0xFFFF
        kept = rounded(x.expand(1 << 16).contiguous(), bits)
        low = torch.tensor(int(x.view(torch.int32)) >> 16, dtype=torch.int16).view(torch.bfloat16)
        assert int((kept != low).sum()) == word


@pytest.mark.parametrize("form", [find("adamp"), find("lamb")], ids=lambda r: r.name)
def test_channels_and_blocks_need_not_fit(form: Rule) -> None:
    """Rules that measure channels step 8-bit states whose blocks lie across these."""
    random = np.random.default_rng(0)
    theta = random.normal(size=(37, 1000)).astype(np.float32)  # two chunks, channels of 1,000
    assert theta.size > 2 * CHUNK
    g, hyper = random.normal(size=theta.shape).astype(np.float32), lively(form)
    formats = ["float32", "float32", *["int8"] * len(form.array_slots)]
    kept = Kept(form, formats, theta, hyper)
    kept.step(g, threads=2)
    exact = formula(form, theta.astype(float), [g.astype(float)], hyper)
    # The first step's arithmetic reads no rounded state: the parameter is as exact as ever.
    np.testing.assert_allclose(kept.value("theta").reshape(theta.shape), exact["theta"], atol=2e-6)
    for slot in form.array_slots:
        grid = spacing(exact[slot].ravel(), FORMATS["int8"])
        assert (np.abs(kept.value(slot).ravel() - exact[slot].ravel()) <= grid + 1e-6).all()


def test_bytes_of_the_formats() -> None:
    assert {name: form.bytes for name, form in FORMATS.items()} == {
        "float16": 2,
        "bfloat16": 2,
        "float32": 4,
        "float64": 8,
        "bfloat16~": 2,
        "bfloat16+": 4,
        "int8": 1 + 4 / 256,
    }


@pytest.mark.parametrize("formats", ["int4", ["float32"], ["float32", "float32", "fp8"]])
def test_unknown_formats_are_named(formats: Any) -> None:
    with pytest.raises(UsageError, match="format"):
        resolve_formats(formats, 3)
