"""What the process of test_triton.py does, in which Triton interprets its kernels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


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
        from thalweg.engines.triton import Launch
        from thalweg.tape import trace

        self.form, self.program, self.rows = form, trace(form), rows
        shapes = [t.shape for t in thetas]
        numbers = np.array(rows, np.int64)
        self.launch = Launch(self.program, dtype, shapes, numbers, models, device="cpu")
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
        self.launch.write(0, np.array(values, np.float64))
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
    from thalweg.ops import count, norm, total
    from thalweg.rules import rule

    @rule
    def centred(theta, g, t, *, lr=0.1):
        g = g - total(g) / count(g)
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


_MEMORY = {"int8": np.int8, "float16": np.float16, "bfloat16": np.uint16}


def kept_as_the_processor_keeps(formats: list[str], offset: int) -> None:
    """The same bits in memory after two steps of both compiled engines, formats of every kind.

    The rule has no product and sum that one engine could fuse and the other not, so that both see
    the same numbers and any difference is one of keeping them.
    """
    from thalweg.engines import numba, triton
    from thalweg.engines.formats import BLOCK, spread
    from thalweg.rules import rule
    from thalweg.tape import trace

    @rule
    def held(theta, g, m, v, t, *, lr=1.0):
        return theta - lr * g, g, abs(g)

    program, kept, sizes = trace(held), spread(formats, 4), [5, 300, 1024, 5000]

    def memory() -> list[list[npt.NDArray]]:
        counts = [
            (part, -(-n // BLOCK) if form.blockwise and k else n)
            for n in sizes for form in kept for k, part in enumerate(form.parts)
        ]  # fmt: skip
        flat = [np.zeros(n + offset, _MEMORY.get(part, part))[offset:] for part, n in counts]
        width = len(flat) // len(sizes)
        return [flat[k : k + width] for k in range(0, len(flat), width)]

    ours, theirs, rows = memory(), memory(), np.array([0, 1, 0, 1])
    gpu = triton.Launch(program, formats, [(n,) for n in sizes], rows, seed=7, device="cpu")
    cpu = numba.Launch(program, formats, [(n,) for n in sizes], rows, seed=7)
    scalars = np.array([[1.0, 0.0], [0.5, 4.0]])
    gpu.write(0, scalars)
    cpu.scalars[:] = scalars
    for launch, arrays in ((gpu, ours), (cpu, theirs)):
        launch.pointers[:] = [[a.ctypes.data for a in own] for own in arrays]
    random, place = np.random.default_rng(0), len(kept[0].parts)
    for _ in range(2):
        for own, twin in zip(ours, theirs, strict=True):
            g = random.normal(size=own[place].size) * 10.0 ** random.integers(
                -6, 3, own[place].size
            )
            if g.size > 300:  # a block without signs; then zeros, both kinds, and infinity
                g[:256], g[256:280], g[280:290] = abs(g[:256]), 0.0, -0.0
            if g.size > 2000:
                g[2000] = np.inf
            if formats[1] == "bfloat16":
                g = (g.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
            own[place][:] = twin[place][:] = g
        gpu()
        cpu(1)
    for own, twin in zip(ours, theirs, strict=True):
        for a, b in zip(own, twin, strict=True):
            assert a.tobytes() == b.tobytes()
    assert gpu.scalars.tolist() == cpu.scalars.tolist()


def codes_and_channels_at_once() -> None:
    """A rule that measures channels, with its state in codes whose blocks are not of channels."""
    from thalweg.engines import numba, triton
    from thalweg.engines.formats import BLOCK
    from thalweg.rules import find
    from thalweg.tape import trace

    program, shapes, rows = trace(find("adamp")), [(3, 700), (5, 3, 7), (900,)], np.zeros(3, int)
    random, formats = np.random.default_rng(0), ["float32", "float32", "int8", "int8"]
    hyper = {**find("adamp").defaults, "lr": 0.01, "t": 0}
    scalars = np.array([[hyper[name] for name in program.scalars]], np.float64)
    gpu = triton.Launch(program, formats, shapes, rows, seed=3, device="cpu")
    cpu = numba.Launch(program, formats, shapes, rows, seed=3)
    gpu.write(0, scalars)
    cpu.scalars[:] = scalars
    ours = []
    for shape in shapes:
        n = int(np.prod(shape))
        kinds = ("f4", "f4", "i1", "f4", "i1", "f4")
        lengths = (n, n, n, -(-n // BLOCK), n, -(-n // BLOCK))
        ours.append([np.zeros(m, k) for k, m in zip(kinds, lengths, strict=True)])
        ours[-1][0][:] = random.normal(size=n)
    theirs = [[a.copy() for a in own] for own in ours]
    for launch, arrays in ((gpu, ours), (cpu, theirs)):
        launch.pointers[:] = [[a.ctypes.data for a in own] for own in arrays]
    for _ in range(3):
        for own, twin in zip(ours, theirs, strict=True):
            own[1][:] = twin[1][:] = random.normal(size=own[1].size)
        gpu()
        cpu(1)
    for own, twin in zip(ours, theirs, strict=True):
        # A number that was rounded otherwise may rarely fall to the other of two codes.
        same = [np.mean(a == b) for a, b in ((own[2], twin[2]), (own[4], twin[4]))]
        assert min(same) > 0.99
        close = np.isclose(own[0], twin[0], rtol=0, atol=1e-6)
        assert close.mean() > 0.99
        assert np.abs(own[0] - twin[0]).max() < 0.01  # lr


def sources_are_readable_and_never_run_from_disk() -> None:
    from pathlib import Path

    from thalweg.engines import triton
    from thalweg.engines.cache import folder
    from thalweg.rules import find, rule
    from thalweg.tape import trace

    program = trace(find("radam"))
    text = triton.source(program, "float32")
    assert all(len(line) <= 100 for line in text.splitlines())
    triton.kernels(program, "float32")
    (place,) = [p for p in folder().glob("radam-float32-gpu-*.py") if p.read_text() == text]

    @rule
    def another(theta, g, t, *, lr=0.25):
        return theta - lr * g * 1.125

    foreign = folder() / "another-float64-gpu-0123456789abcdef.py"
    foreign.write_text("raise SystemExit('run')")
    triton.kernels(trace(another), "float64")
    (own,) = [p for p in folder().glob("another-float64-gpu-*.py") if p != foreign]
    own.write_text("raise SystemExit('run')")
    triton._kernels.clear()
    triton.kernels(trace(another), "float64")
    assert "GPU kernels of another" in Path(own).read_text()
    own.write_text("raise SystemExit('run')")  # after it was loaded, before Triton asks for it
    found = Tensors(another, "float64", [np.ones(3)], [{}], [0])
    found.step([np.ones(3)])
    assert found.result(0, 3)["theta"].tolist() == [1 - 0.25 * 1.125] * 3
    assert place.exists()


def batch_steps_as_torch(name: str, capturable: bool, changed: str) -> None:
    """The torch face on tensors that the interpreter reaches, options and state as on a GPU."""
    import torch

    import thalweg
    from oracles import TOLERANCE, assert_agree
    from thalweg.optim.device import OnDevice, trouble_with_device
    from thalweg.optim.plan import begin

    torch.manual_seed(0)
    shapes = [(7, 5), (1300,), (), (3, 2, 4, 4)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    with torch.no_grad():
        ours[3].data = ours[3].data.contiguous(memory_format=torch.channels_last)
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    assert [trouble_with_device(p) for p in ours] == [""] * 4
    mine = getattr(thalweg.optim, name)(ours, lr=0.01)
    torchs = getattr(torch.optim, name)(theirs, lr=0.01)
    form, hyper = mine.rule(mine.param_groups[0]), mine.hyper(mine.param_groups[0])
    for p in ours:
        p.grad = torch.zeros_like(p)
    items = [begin(mine, p, 0, form, hyper) for p in ours]
    batch, live = OnDevice(form, items, [hyper], mine.keeping, capturable), torch.tensor(0.05)
    for step in range(5):
        if step == 2 and changed:
            torchs.param_groups[0]["lr"] = 0.05
            batch.follow(0, {**hyper, "lr": live if changed == "tensor" else 0.05})
        if step == 4 and changed == "tensor":
            live.fill_(0.2)
            torchs.param_groups[0]["lr"] = 0.2
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        versions = [p._version for p in ours]
        gradients = batch.gather()
        assert gradients is not None
        batch.run(gradients)
        torchs.step()
        assert [p._version for p in ours] == [v + 1 for v in versions]
    for p, q in zip(ours, theirs, strict=True):
        state = {key: torchs.state[q][key] for key in mine.state[p]}
        found = {"p": p.detach(), **mine.state[p]}
        assert_agree(found, {"p": q.detach(), **state}, TOLERANCE["float32"])
    if "step" in mine.state[ours[0]]:
        mine.state[ours[0]]["step"].fill_(100.0)  # as one who loads a state might
        assert batch.gather() is None
    else:
        ours[0].data = ours[0].data.clone()
        assert batch.gather() is None


def what_the_engine_refuses() -> None:
    import pytest
    import torch

    from thalweg.engines.triton import Launch
    from thalweg.errors import UsageError
    from thalweg.optim.device import trouble_with_device
    from thalweg.rules import find
    from thalweg.tape import trace

    with pytest.raises(UsageError, match=r"device='cuda' needs TRITON_INTERPRET unset"):
        Launch(trace(find("sgd")), "float32", [(3,)], np.array([0]), device="cuda")
    with pytest.raises(UsageError, match="device='meta' is unknown to Triton"):
        Launch(trace(find("sgd")), "float32", [(3,)], np.array([0]), device="meta")
    troubles = {
        "it is on meta": torch.nn.Parameter(torch.zeros(3, device="meta")),
        "its dtype is torch.float8_e5m2": torch.zeros(3).to(torch.float8_e5m2),
        "leave gaps": torch.zeros(6)[::2],
        "negates": torch._neg_view(torch.zeros(3)),
        "read-only": _inferred(),
        "it is a Strange": torch.zeros(3).as_subclass(type("Strange", (torch.Tensor,), {})),
    }
    for text, x in troubles.items():
        assert text in trouble_with_device(x), text
    del os.environ["TRITON_INTERPRET"]
    assert trouble_with_device(torch.zeros(3)) == "it is on cpu"
    os.environ["TRITON_INTERPRET"] = "1"


def _inferred() -> Any:
    import torch

    with torch.inference_mode():
        return torch.zeros(3)
