"""What the process of test_triton.py does, in which Triton interprets its kernels."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Interpreted = Callable[..., Any]  # calls a function in the process that interprets


def interpreting() -> None:
    """Before triton is imported."""
    os.environ["TRITON_INTERPRET"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
    np.seterr(all="ignore")  # the interpreter computes masked elements with NumPy, which warns


class Tensors:
    """A rule in the GPU engine over several tensors, the twin of `oracles.Compiled`.

    Args:
        form: the rule.
        dtype: the number type of the tensors.
        thetas: the parameters; copied, to an address `offset` elements past an aligned one.
        hypers: the hyperparameters of each row.
        rows: each tensor's row.
        taken: steps taken before, for each row.
        models: the model of each tensor.
    """

    def __init__(
        self,
        form: Any,
        dtype: str,
        thetas: Sequence[npt.NDArray],
        hypers: Sequence[dict[str, float]],
        rows: Sequence[int],
        taken: Sequence[int] | None = None,
        models: npt.NDArray | None = None,
        offset: int = 0,
    ) -> None:
        from oracles import start
        from thalweg.engines.triton.launch import TritonLaunch
        from thalweg.tape import trace

        self.form, self.program, self.rows = form, trace(form), rows
        shapes = [t.shape for t in thetas]
        numbers = np.array(rows, np.int64)
        self.launch = TritonLaunch(self.program, dtype, shapes, numbers, models, device="cpu")
        self.arrays: list[dict[str, npt.NDArray]] = []
        for theta, row in zip(thetas, rows, strict=True):
            state = {"theta": theta, "g": theta * 0, **start(form, theta * 1.0, hypers[row])}
            own = {}
            for name in self.program.arrays:
                own[name] = np.full(theta.size + offset + 16, 12345.0, dtype)[offset:]
                own[name][: theta.size] = np.ravel(state[name])
            self.arrays.append(own)
        values = []
        for row, hyper in enumerate(hypers):
            full = {**form.defaults, **hyper}
            known = {**{s: form.initial(s, full) for s in form.scalars}, **full}
            known["t"] = (taken or [0] * len(hypers))[row]
            values.append([known[name] for name in self.program.scalars])
        self.launch.write(self.program.scalars[0], np.array(values, np.float64))
        self.launch.pointers[:] = [[a.ctypes.data for a in own.values()] for own in self.arrays]

    def step(self, gradients: Sequence[npt.NDArray]) -> None:
        for own, g in zip(self.arrays, gradients, strict=True):
            own["g"][: g.size] = g.ravel()
        self.launch()

    def result(self, tensor: int = 0, size: int | None = None) -> dict[str, Any]:
        """Parameter and state of a tensor; what lies behind it must be as it was."""
        own, column = dict(self.arrays[tensor]), self.program.scalars.index
        del own["g"]
        size = size if size is not None else len(own["theta"]) - 16
        assert all((a[size:] == 12345.0).all() for a in own.values())
        scalars = self.launch.scalars[self.rows[tensor]].tolist()
        return {k: a[:size] for k, a in own.items()} | {
            s: scalars[column(s)] for s in self.form.scalars
        }


def equals_the_formula(number: int, dtype: str, offset: int) -> None:
    from oracles import EVERY_RULE, TOLERANCE, assert_agree, formula, lively, problem

    form, steps, size = EVERY_RULE[number], 3, 1030
    theta, gradients = problem(dtype, size)
    found = Tensors(form, dtype, [theta], [lively(form)], [0], offset=offset)
    for g in gradients[:steps]:
        found.step([g])
    wide = [g.astype(np.float64) for g in gradients[:steps]]
    expected = formula(form, theta.astype(np.float64), wide, lively(form))
    assert_agree(found.result(size=size), expected, TOLERANCE[dtype])
    assert found.launch.scalars[0, -1] == steps


def one_launch_steps_all(name: str) -> None:
    """Sizes around the chunk's edges; rows differ in learning rate and in steps taken."""
    from oracles import TOLERANCE, assert_agree, lively, start
    from thalweg.engines.triton.launch import CHUNK
    from thalweg.rules import find

    form, taken = find(name), [0, 7, 300]
    sizes, rows = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5], [0, 1, 2, 0, 1, 2]
    hypers = [{**lively(form), "lr": lr} for lr in (1e-3, 0.05, 0.4)]
    random = np.random.default_rng(1)
    thetas = [random.normal(size=n) for n in sizes]
    gradients = [[random.normal(size=n) for n in sizes] for _ in range(2)]
    found = Tensors(form, "float64", thetas, hypers, rows, taken)
    for each in gradients:
        found.step(each)
    for tensor, (theta, row) in enumerate(zip(thetas, rows, strict=True)):
        slots = list(start(form, theta, hypers[row]).values())
        for nth, each in enumerate(gradients, start=1):
            theta, *slots = form(theta, each[tensor], *slots, taken[row] + nth, **hypers[row])
        expected = {"theta": theta, **dict(zip(form.slots, slots, strict=True))}
        assert_agree(found.result(tensor, sizes[tensor]), expected, TOLERANCE["float64"])


def only_some_step() -> None:
    from oracles import assert_agree, formula
    from thalweg.rules import find

    form, random = find("adam"), np.random.default_rng(2)
    thetas, gradients = list(random.normal(size=(3, 9))), list(random.normal(size=(3, 9)))
    found = Tensors(form, "float64", thetas, [{}, {}], [0, 0, 1])
    found.launch.only(np.array([1, 0]))
    found.step(gradients)
    found.launch.only(np.array([2]))
    found.step(gradients)
    found.launch.only(np.array([0, 1, 2]))
    found.step(gradients)
    assert found.launch.scalars[:, -1].tolist() == [2, 2]
    for k, theta in enumerate(thetas):
        assert_agree(found.result(k, 9), formula(form, theta, [gradients[k]] * 2, {}), 1e-14)


def published(name: str, dtype: str) -> None:
    """Rules that measure, over tensors of many shapes: channels longer than a chunk, and empty."""
    import torch

    from oracles import TOLERANCE, assert_agree
    from published import PUBLISHED
    from thalweg.engines.triton.launch import CHUNK
    from thalweg.rules import find

    form, random = find(name), np.random.default_rng(3)
    shapes = [(8, 5, 3), (7,), (), (40, 30), (2, 2 * CHUNK + 5), (CHUNK + 9,), (0, 3), (5, 0)]
    thetas = [np.asarray(random.normal(size=s)).astype(dtype) for s in shapes]
    steps = [[np.asarray(random.normal(size=s)).astype(dtype) for s in shapes] for _ in range(3)]
    for gradients in steps[1:]:  # upright on the parameter, where AdamP projects
        for theta, g in zip(thetas, gradients, strict=True):
            if theta.ndim > 1 and theta.size:
                flat, own = theta.reshape(len(theta), -1), g.reshape(len(theta), -1)
                own -= (own * flat).sum(1, keepdims=True) / (flat**2).sum(1, keepdims=True) * flat
    found = Tensors(form, dtype, thetas, [{"weight_decay": 0.1}], [0] * len(shapes))
    for gradients in steps:
        found.step(gradients)
    for k, theta in enumerate(thetas):
        wide = torch.from_numpy(np.asarray(theta, np.float64))
        each = [torch.from_numpy(np.asarray(g[k], np.float64)) for g in steps]
        expected = PUBLISHED[form](wide, each, 0.1).numpy().ravel()
        theta_found = {"theta": found.result(k, theta.size)["theta"]}
        assert_agree(theta_found, {"theta": expected}, TOLERANCE[dtype])


def clipped_by_the_norm_of_its_model() -> None:
    import torch

    from oracles import TOLERANCE, assert_agree
    from thalweg.engines.triton.launch import CHUNK
    from thalweg.rules import adam, clip_norm

    random, models = np.random.default_rng(5), np.array([0, 1, 1, 0, 1])
    shapes = [(4, 6), (9,), (3, CHUNK), (2, 2), ()]
    thetas = [np.asarray(random.normal(size=s)) for s in shapes]
    form = clip_norm(adam, max_norm=0.7)
    found = Tensors(form, "float64", thetas, [{}, {}], models.tolist(), models=models)
    twins = [torch.nn.Parameter(torch.tensor(theta)) for theta in thetas]
    peers = [[p for p, m in zip(twins, models, strict=True) if m == model] for model in (0, 1)]
    optimizers = [torch.optim.Adam(own) for own in peers]
    for scale in (5.0, 0.01, 30.0):
        gradients = [np.asarray(scale * random.normal(size=s)) for s in shapes]
        for twin, g in zip(twins, gradients, strict=True):
            twin.grad = torch.tensor(g)
        found.step(gradients)
        for own, optimizer in zip(peers, optimizers, strict=True):
            torch.nn.utils.clip_grad_norm_(own, 0.7)
            optimizer.step()
    for k, (theta, twin) in enumerate(zip(thetas, twins, strict=True)):
        got = {"p": found.result(k, theta.size)["theta"]}
        assert_agree(got, {"p": twin.detach().ravel()}, TOLERANCE["float64"])


def a_sum_of_what_another_sum_made() -> None:
    from oracles import TOLERANCE, assert_agree
    from thalweg.ops import count, norm, sum
    from thalweg.rules import rule

    @rule
    def centred(theta, g, t, *, lr=0.1):
        g = g - sum(g) / count(g)
        return theta - lr * g / (norm(g) + 1e-8)

    theta, g = np.random.default_rng(7).normal(size=(2, 3, 5000))
    found = Tensors(centred, "float64", [theta], [{}], [0])
    found.step([g])
    expected = {"theta": centred(theta, g, 1)[0].ravel()}
    assert_agree(found.result(0, theta.size), expected, TOLERANCE["float64"])


def every_operation() -> None:
    """The op table has all that a tape can hold, and each entry computes what ops says."""
    from oracles import TOLERANCE, assert_agree, formula, problem
    from thalweg import ops
    from thalweg.engines.triton.text import OPERATIONS
    from thalweg.rules import rule
    from thalweg.tape import trace

    @rule
    def all_of_it(theta, g, a, b, c, d, e, f, t, *, lr=0.3):
        a = ops.sqrt(ops.abs(g)) + ops.exp(-g) - ops.log(ops.abs(g) + 1) / 2
        b = ops.sin(g) * ops.cos(theta) + ops.tanh(g * lr) + ops.tanh(g / 100) + (lr - 0.7) ** t
        c = ops.maximum(g, ops.minimum(theta, 0.5)) + ops.clamp(g, -0.3, 0.3) + ops.sign(g)
        d = ops.where((g >= 0) & (theta <= 1) | (g == theta), abs(g) ** 1.5, 2**theta)
        e = ops.where((g != theta) & (t > 1), +(g**2) + g**3 - theta**4, 0.0) + ops.where(
            t > 2, lr, -lr
        )
        f = ops.where((g > 0) == (theta > 0), 1 / (2 + g * g), theta ** (2 * lr / lr))
        return theta - lr * g, a, b, c, d, e, f

    program = trace(all_of_it)
    used = {line.operation for line in (*program.prologue, *program.body)}
    assert used == set(OPERATIONS)
    for dtype in ("float32", "float64"):
        theta, gradients = problem(dtype)
        found = Tensors(all_of_it, dtype, [theta], [{}], [0])
        for g in gradients[:4]:
            found.step([g])
        wide = [g.astype(np.float64) for g in gradients[:4]]
        expected = formula(all_of_it, theta.astype(np.float64), wide, {})
        assert_agree(found.result(0, theta.size), expected, TOLERANCE[dtype])


def powers() -> None:
    """x**y as Python has it: signs, zeros, infinities."""
    from thalweg.rules import rule

    @rule(scalars=("p",))
    def raised(theta, g, p, t, *, x=1.0, y=1.0):
        return theta, x**y

    values = [-3.0, -1.0, -0.5, -0.0, 0.0, 0.3, 1.0, 0.999, 2.0, np.inf]
    exponents = [-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 1e4, np.inf]
    hypers = [{"x": x, "y": y} for x in values for y in exponents]
    thetas = [np.zeros(1)] * len(hypers)
    found = Tensors(raised, "float64", thetas, hypers, range(len(hypers)))
    found.step(thetas)
    got = found.launch.scalars[:, found.program.scalars.index("p")].numpy()
    x, y = np.array([list(h.values()) for h in hypers]).T
    wanted = np.float64(np.abs(np.float_power(x.astype(complex), 0).real)) * 0 + np.power(x, y)
    unusual = (x <= 0) & ((y < 0) | np.isinf(y))  # where zeros and infinities have signs
    np.testing.assert_allclose(got[~unusual], wanted[~unusual], rtol=1e-11)
    finite = unusual & (x < 0) & np.isfinite(y)
    np.testing.assert_allclose(got[finite], wanted[finite], rtol=1e-11)


def sources_are_readable_and_never_run_from_disk() -> None:
    from pathlib import Path

    from thalweg.engines.cache import folder
    from thalweg.engines.triton.launch import KERNELS
    from thalweg.engines.triton.lift import source
    from thalweg.rules import find, rule
    from thalweg.tape import trace

    program = trace(find("radam"))
    text = source(program, "float32")
    assert all(len(line) <= 100 for line in text.splitlines())
    KERNELS.get(program, "float32")
    (place,) = [p for p in folder().glob("radam-float32-gpu-*.py") if p.read_text() == text]

    @rule
    def another(theta, g, t, *, lr=0.25):
        return theta - lr * g * 1.125

    foreign = folder() / "another-float64-gpu-0123456789abcdef.py"
    foreign.write_text("raise SystemExit('run')")
    KERNELS.get(trace(another), "float64")
    (own,) = [p for p in folder().glob("another-float64-gpu-*.py") if p != foreign]
    own.write_text("raise SystemExit('run')")
    KERNELS.clear()
    KERNELS.get(trace(another), "float64")
    assert "GPU kernels of another" in Path(own).read_text()
    own.write_text("raise SystemExit('run')")  # after it was loaded, before Triton asks for it
    found = Tensors(another, "float64", [np.ones(3)], [{}], [0])
    found.step([np.ones(3)])
    assert found.result(0, 3)["theta"].tolist() == [1 - 0.25 * 1.125] * 3
    assert place.exists()
