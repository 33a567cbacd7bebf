"""More of what the process of test_triton.py does: formats in memory, and the torch face."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

_MEMORY = {"int8": np.int8, "float16": np.float16, "bfloat16": np.uint16}


def kept_as_the_processor_keeps(formats: list[str], offset: int) -> None:
    """The same bits in memory after two steps of both compiled engines, formats of every kind.

    The rule has no product and sum that one engine could fuse and the other not, so that both see
    the same numbers and any difference is one of keeping them.
    """
    from thalweg.engines.formats import BLOCK, resolve_formats
    from thalweg.engines.registry import named
    from thalweg.rules import rule
    from thalweg.tape import trace

    @rule
    def held(theta, g, m, v, t, *, lr=1.0):
        return theta - lr * g, g, abs(g)

    program, kept, sizes = trace(held), resolve_formats(formats, 4), [5, 300, 1024, 5000]

    def memory() -> list[list[npt.NDArray]]:
        counts = [
            (part, -(-n // BLOCK) if form.blockwise and k else n)
            for n in sizes
            for form in kept
            for k, part in enumerate(form.parts)
        ]
        flat = [np.zeros(n + offset, _MEMORY.get(part, part))[offset:] for part, n in counts]
        width = len(flat) // len(sizes)
        return [flat[k : k + width] for k in range(0, len(flat), width)]

    ours, theirs, rows = memory(), memory(), np.array([0, 1, 0, 1])
    gpu = named("triton").launch(
        program, formats, [(n,) for n in sizes], rows, seed=7, device="cpu"
    )
    cpu = named("numba").launch(program, formats, [(n,) for n in sizes], rows, seed=7)
    scalars = np.array([[1.0, 0.0], [0.5, 4.0]])
    for launch in (gpu, cpu):
        launch.write(program.scalars[0], scalars)
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
    from thalweg.engines.formats import BLOCK
    from thalweg.engines.registry import named
    from thalweg.rules import find
    from thalweg.tape import trace

    program, shapes, rows = trace(find("adamp")), [(3, 700), (5, 3, 7), (900,)], np.zeros(3, int)
    random, formats = np.random.default_rng(0), ["float32", "float32", "int8", "int8"]
    hyper = {**find("adamp").defaults, "lr": 0.01, "t": 0}
    scalars = np.array([[hyper[name] for name in program.scalars]], np.float64)
    gpu = named("triton").launch(program, formats, shapes, rows, seed=3, device="cpu")
    cpu = named("numba").launch(program, formats, shapes, rows, seed=3)
    for launch in (gpu, cpu):
        launch.write(program.scalars[0], scalars)
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


def batch_steps_as_torch(name: str, capturable: bool, changed: str) -> None:
    """The torch face on tensors that the interpreter reaches, options and state as on a GPU."""
    import torch

    import thalweg
    from oracles import TOLERANCE, assert_agree
    from thalweg.engines.registry import named
    from thalweg.optim.stepping.batches.gpu import DeviceBatch
    from thalweg.optim.stepping.dispatch import trouble_with
    from thalweg.optim.stepping.plan import begin

    torch.manual_seed(0)
    shapes = [(7, 5), (1300,), (), (3, 2, 4, 4)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    with torch.no_grad():
        ours[3].data = ours[3].data.contiguous(memory_format=torch.channels_last)
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    engine = named("triton")
    assert [trouble_with(engine, p) for p in ours] == [""] * 4
    mine = getattr(thalweg.optim, name)(ours, lr=0.01)
    torchs = getattr(torch.optim, name)(theirs, lr=0.01)
    form, hyper = mine.rule(mine.param_groups[0]), mine.hyper(mine.param_groups[0])
    for p in ours:
        p.grad = torch.zeros_like(p)
    items = [begin(mine, p, 0, form, hyper) for p in ours]
    batch = DeviceBatch(engine, form, items, [hyper], mine.precision, True, capturable)
    live = torch.tensor(0.05)
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
        if step == 3:  # the second one rests
            ours[1].grad = theirs[1].grad = None
        versions = [p._version for p in ours]
        gradients = batch.gather()
        assert gradients is not None
        batch.run(gradients)
        torchs.step()
        assert [p._version for p in ours] == [
            v + (p.grad is not None) for p, v in zip(ours, versions, strict=True)
        ]
    for p, q in zip(ours, theirs, strict=True):
        state = {key: torchs.state[q][key] for key in mine.state[p]}
        found = {"p": p.detach(), **mine.state[p]}
        assert_agree(found, {"p": q.detach(), **state}, TOLERANCE["float32"])
    if "step" in mine.state[ours[0]]:
        mine.state[ours[0]]["step"].fill_(100.0)  # as one who loads a state might
        assert batch.gather() is None
    else:
        ours[0].data = ours[0].data.clone()
        assert batch.gather() is not None
        assert ours[0].data_ptr() in batch.launch.pointers[0]


def what_the_engine_refuses() -> None:
    import pytest
    import torch

    from thalweg.engines.registry import named
    from thalweg.engines.triton.launch import TritonLaunch
    from thalweg.errors import UsageError
    from thalweg.optim.stepping.dispatch import trouble_with
    from thalweg.rules import find
    from thalweg.tape import trace

    with pytest.raises(UsageError, match=r"device='cuda' needs TRITON_INTERPRET unset"):
        TritonLaunch(trace(find("sgd")), "float32", [(3,)], np.array([0]), device="cuda")
    with pytest.raises(UsageError, match="device='meta' is unknown to Triton"):
        TritonLaunch(trace(find("sgd")), "float32", [(3,)], np.array([0]), device="meta")
    engine = named("triton")
    troubles = {
        "it is on meta": torch.nn.Parameter(torch.zeros(3, device="meta")),
        "its dtype is torch.float8_e5m2": torch.zeros(3).to(torch.float8_e5m2),
        "leave gaps": torch.zeros(6)[::2],
        "negates": torch._neg_view(torch.zeros(3)),
        "read-only": _inferred(),
        "it is a Strange": torch.zeros(3).as_subclass(type("Strange", (torch.Tensor,), {})),
    }
    for text, x in troubles.items():
        assert text in trouble_with(engine, x), text
    del os.environ["TRITON_INTERPRET"]
    assert trouble_with(engine, torch.zeros(3)) == "it is on cpu"
    os.environ["TRITON_INTERPRET"] = "1"


def _inferred() -> Any:
    import torch

    with torch.inference_mode():
        return torch.zeros(3)
