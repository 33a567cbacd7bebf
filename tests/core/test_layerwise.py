"""Rules that measure a whole tensor, and clipping: against their published algorithms."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from oracles import DTYPES, TOLERANCE, Compiled, assert_agree
from published import PUBLISHED, adamp_as_published
from thalweg.engines import eager
from thalweg.engines.numba.launch import NumbaLaunch
from thalweg.engines.tables import CHUNK
from thalweg.rules import (
    Rule,
    RuleError,
    adam,
    adamp,
    clip_layer_norm,
    clip_norm,
    clip_value,
    maximize,
    rule,
    sgd,
)
from thalweg.tape import trace

SHAPES = [(8, 5, 3), (7,), (), (64, 300), (3, 2 * CHUNK + 5), (1, 4), (CHUNK + 9,), (0, 3), (5, 0)]
STEPS = 20


def problem(dtype: str) -> tuple[list[npt.NDArray], list[list[npt.NDArray]]]:
    """Parameters and gradients; a third of these stand upright on their channels, a third on
    the whole parameter, where AdamP projects."""
    random = np.random.default_rng(3)
    thetas = [random.normal(size=shape) for shape in SHAPES]
    steps = []
    for step in range(STEPS):
        gradients = []
        for theta in thetas:
            g = random.normal(size=theta.shape)
            if theta.ndim > 1 and theta.size and step % 3:
                flat = theta.reshape(len(theta) if step % 3 == 1 else 1, -1)
                own = g.reshape(flat.shape)
                along = (own * flat).sum(1, keepdims=True) / (flat * flat).sum(1, keepdims=True)
                g = (own - along * flat).reshape(theta.shape)
            gradients.append(np.asarray(g).astype(dtype))
        steps.append(gradients)
    return [np.asarray(theta).astype(dtype) for theta in thetas], steps


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("form", PUBLISHED, ids=lambda r: r.name)
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_over_many_tensors_is_the_published_algorithm(
    form: Rule, dtype: str, decay: float
) -> None:
    thetas, steps = problem(dtype)
    hyper = {"weight_decay": decay}
    compiled = Compiled(form, dtype, thetas, [hyper], [0] * len(thetas))
    for gradients in steps:
        compiled.step(gradients)
    for k, theta in enumerate(thetas):
        wide = torch.from_numpy(np.asarray(theta).astype(np.float64))
        each = [torch.from_numpy(np.asarray(g[k]).astype(np.float64)) for g in steps]
        expected = PUBLISHED[form](wide, each, decay).numpy().ravel()
        found = {"theta": compiled.pieces[k].theta}
        assert_agree(found, {"theta": expected}, TOLERANCE[dtype])
        assert compiled.pieces[k].untouched()


def test_the_gradients_of_the_test_make_adamp_project() -> None:
    """Else the comparison above would say nothing about the projection."""
    thetas, steps = problem("float64")
    p, g = torch.from_numpy(thetas[3]), [torch.from_numpy(s[3]) for s in steps]
    plain = torch.nn.Parameter(p.clone())
    optimizer = torch.optim.Adam([plain])
    for gradient in g:
        plain.grad = gradient
        optimizer.step()
    assert (adamp_as_published(p, g, 0.0) - plain.detach()).abs().max() > 1e-5


@pytest.mark.parametrize("form", PUBLISHED, ids=lambda r: r.name)
def test_eager_on_torch_and_on_numpy_is_the_published_algorithm(form: Rule) -> None:
    thetas, steps = problem("float64")
    for k in (0, 1, 3, 5):
        each = [g[k] for g in steps]
        expected = PUBLISHED[form](torch.from_numpy(thetas[k]), [*map(torch.from_numpy, each)], 0.1)
        for make in (np.asarray, torch.from_numpy):
            theta = make(thetas[k])
            slots = dict.fromkeys(form.slots, theta * 0)
            for t, g in enumerate(each, start=1):
                theta, slots = eager.step(form, theta, make(g), slots, t, {"weight_decay": 0.1})
            assert_agree({"theta": theta}, {"theta": expected}, TOLERANCE["float64"])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_sums_do_not_depend_on_the_threads(threads: int) -> None:
    thetas, steps = problem("float32")
    one, many = (Compiled(adamp, "float32", thetas, [{}], [0] * len(thetas)) for _ in range(2))
    for gradients in steps:
        one.step(gradients, threads=1)
        many.step(gradients, threads=threads)
    for a, b in zip(one.pieces, many.pieces, strict=True):
        assert np.array_equal(a.theta, b.theta)


def test_clipping_by_norm_is_torchs_over_each_model() -> None:
    """Two models in one launch, each clipped by the norm of its own gradients alone."""
    random = np.random.default_rng(5)
    shapes, models = [(4, 6), (9,), (3, CHUNK), (2, 2), ()], np.array([0, 1, 1, 0, 1])
    form = clip_norm(adam, max_norm=0.7)
    program = trace(form)
    launch = NumbaLaunch(program, "float64", shapes, models, models)
    launch.scalars[:] = [{**form.defaults, "t": 0}[name] for name in program.scalars]
    arrays = [{a: np.zeros(shape) for a in program.arrays} for shape in shapes]
    for k, own in enumerate(arrays):
        own["theta"][...] = random.normal(size=shapes[k])
        launch.pointers[k] = [own[a].ctypes.data for a in program.arrays]
    twins = [torch.nn.Parameter(torch.tensor(own["theta"])) for own in arrays]
    peers = [[p for p, m in zip(twins, models, strict=True) if m == model] for model in (0, 1)]
    optimizers = [torch.optim.Adam(own) for own in peers]
    for scale in (5.0, 0.01, 1.0, 30.0):
        for own, twin in zip(arrays, twins, strict=True):
            own["g"][...] = scale * random.normal(size=own["g"].shape)
            twin.grad = torch.tensor(own["g"])
        launch(2)
        for own, optimizer in zip(peers, optimizers, strict=True):
            torch.nn.utils.clip_grad_norm_(own, 0.7)
            optimizer.step()
    for own, twin in zip(arrays, twins, strict=True):
        assert_agree({"p": own["theta"]}, {"p": twin.detach()}, TOLERANCE["float64"])


def test_a_bundle_is_clipped_as_one_model() -> None:
    random = np.random.default_rng(6)
    thetas = [torch.tensor(random.normal(size=shape)) for shape in ((3, 4), (5,))]
    gradients = [torch.tensor(random.normal(size=t.shape)) for t in thetas]
    form = clip_norm(maximize(adamp), max_norm=0.3)
    slots = {s: eager.Bundle([t * 0 for t in thetas]) for s in form.slots}
    found, _ = eager.step(form, eager.Bundle(thetas), eager.Bundle(gradients), slots, 1, {})
    length = math.sqrt(sum(float((g * g).sum()) for g in gradients))
    for theta, g, got in zip(thetas, gradients, found.members, strict=True):
        clipped = -g * min(1.0, 0.3 / (length + 1e-6))  # the rule is turned uphill after clipping
        expected, *_ = adamp(theta, clipped, theta * 0, theta * 0, 1)
        assert_agree({"p": got}, {"p": expected}, TOLERANCE["float64"])


def test_clipping_by_layer_and_by_value() -> None:
    g = np.array([3.0, -4.0])
    theta = np.zeros(2)
    by_layer = clip_layer_norm(sgd, max_norm=1.0)(theta, g, 1, lr=1.0)[0]
    np.testing.assert_allclose(by_layer, [-0.6, 0.8], rtol=1e-6)  # 1e-6 is added to the norm
    by_value = clip_value(sgd, max_value=3.5)(theta, g, 1, lr=1.0)[0]
    assert by_value.tolist() == [-3.0, 3.5]


def test_what_cannot_be_summed_is_refused_where_it_stands() -> None:
    from thalweg.ops import max, norm

    @rule
    def of_a_scalar(theta, g, t, *, lr=0.1):
        return theta - norm(lr) * g

    @rule
    def of_an_array(theta, g, t, *, lr=0.1):
        return theta - lr * max(g) * g

    with pytest.raises(RuleError, match=r"norm\(lr\).*no elements to sum"):
        trace(of_a_scalar)
    with pytest.raises(RuleError, match=r"max\(g\).*one number per channel"):
        trace(of_an_array)


def test_a_sum_of_what_another_sum_made() -> None:
    """Two passes: the second sum waits for the first."""
    from thalweg.ops import count, norm, sum

    @rule
    def centred(theta, g, t, *, lr=0.1):
        g = g - sum(g) / count(g)
        return theta - lr * g / (norm(g) + 1e-8)

    random = np.random.default_rng(7)
    theta, g = random.normal(size=(2, 5, CHUNK))
    compiled = Compiled(centred, "float64", [theta], [{}], [0])
    assert max(trace(centred).stages.values()) == 2
    compiled.step([g])
    expected = centred(theta, g, 1)[0].ravel()
    assert_agree({"p": compiled.pieces[0].theta}, {"p": expected}, TOLERANCE["float64"])
