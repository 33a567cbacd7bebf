"""Slices of a model's loss: against closed forms, the SVD, and what a model may not lose."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thalweg as tw
from thalweg.errors import UsageError
from thalweg.landscapes.directions import random_plane
from thalweg.plotting import looks

DATA = np.random.default_rng(0)


class Quadratic(nn.Module):
    """A loss of 0.5 wᵀAw + bᵀw in a matrix w, whatever the data."""

    def __init__(self, rows=3, columns=4):
        super().__init__()
        draw = np.random.default_rng(1)
        root = torch.from_numpy(draw.standard_normal((rows * columns, rows * columns)))
        self.register_buffer("a", root @ root.T)
        self.register_buffer("b", torch.from_numpy(draw.standard_normal(rows * columns)))
        self.weight = nn.Parameter(torch.from_numpy(draw.standard_normal((rows, columns))))

    def value(self, w):
        return 0.5 * w @ self.a @ w + self.b @ w

    def forward(self, x):
        return self.value(self.weight.flatten()).expand(len(x))


ANY = (torch.zeros(5, 1, dtype=torch.float64), torch.zeros(5, dtype=torch.float64))


def outputs_alone(outputs, targets):
    return outputs.mean()


def flat(weights):
    return torch.cat([value.flatten() for value in weights.values()])


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(),
        nn.Flatten(),
        nn.Linear(27, 2),
    )


def images(count=20):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, 5, 5, generator=draw), torch.arange(count) % 2


def trained(model, rule, steps, data, lr):
    """A path with every step recorded."""
    path = tw.WeightPath(model)
    optimizer = rule(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()
        path.record()
    return path


def test_a_slice_of_a_quadratic_is_the_closed_form():
    model = Quadratic()
    found = tw.landscape(model, outputs_alone, ANY, size=5, span=0.7, seed=3)
    centre, (d1, d2) = flat(found.plane.centre), map(flat, found.plane.directions)
    for i, beta in enumerate(found.betas):
        for j, alpha in enumerate(found.alphas):
            expected = model.value(centre + alpha * d1 + beta * d2).item()
            assert found.losses[i, j] == pytest.approx(expected, rel=1e-12)
    assert found.alphas[[0, -1]].tolist() == [-0.7, 0.7]
    assert found.losses[2, 2] == pytest.approx(model.value(model.weight.flatten()).item())


def test_every_filter_of_a_direction_has_the_length_of_the_weights():
    model = network()
    model(images()[0])
    parameters = dict(model.named_parameters())
    plane = random_plane(model, parameters, seed=0)
    first, second = plane.directions
    for direction in (first, second):
        for name in ("0.weight", "5.weight"):
            lengths = direction[name].flatten(1).norm(dim=1)
            assert torch.allclose(lengths, parameters[name].flatten(1).norm(dim=1), rtol=1e-5)
        for name in ("0.bias", "1.weight", "1.bias", "5.bias"):
            assert not direction[name].any()
    assert not torch.equal(first["0.weight"], second["0.weight"])
    again = random_plane(model, parameters, seed=0).directions[0]
    assert all(torch.equal(again[name], first[name]) for name in first)
    other = random_plane(model, parameters, seed=1).directions[0]
    assert not torch.equal(other["0.weight"], first["0.weight"])


def test_normalization_of_several_dimensions_does_not_vary():
    model = nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.LayerNorm((2, 3)))
    plane = random_plane(model, dict(model.named_parameters()), seed=0)
    assert not plane.directions[0]["2.weight"].any()
    assert plane.directions[0]["0.weight"].any()


def test_a_model_comes_back_bit_for_bit_and_so_do_random_states():
    model = network()
    data = images()
    path = trained(model, tw.optim.Adam, 4, data, 0.05)
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    gradients = [p.grad.clone() for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    momentum = model[1].momentum
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    for statistics in ("recomputed", "kept"):
        tw.landscape(model, "cross_entropy", data, paths=path, size=3, batch_norm=statistics)
        tw.landscape(model, "cross_entropy", data, size=3, batch_norm=statistics)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert [module.training for module in model.modules()] == modes
    assert model[1].momentum == momentum
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


def test_a_model_comes_back_after_an_error_half_way():
    model = network()
    data = images()
    model(data[0])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    calls = iter([1.0, 1.0])

    def failing(outputs, targets):
        return outputs.mean() * next(calls)

    with pytest.raises((StopIteration, RuntimeError)):
        tw.landscape(model, failing, data, size=3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_the_plane_of_paths_is_that_of_the_svd():
    data = torch.from_numpy(DATA.standard_normal((30, 4))), torch.arange(30) % 3
    paths = {}
    for name, rule in {"sgd": tw.optim.SGD, "adam": tw.optim.Adam}.items():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
        paths[name] = trained(model, rule, 12, data, 0.1)
    found = tw.landscape(model, "cross_entropy", data, paths=paths, size=4)
    points = torch.stack([flat(p) for path in paths.values() for p in path.points]).numpy()
    centred = points - points.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    shares = singular**2 / (singular**2).sum()
    assert found.explained == pytest.approx(shares[:2], rel=1e-9)
    centre = (points[12] + points[25]) / 2
    expected = (points - centre) @ axes[:2].T
    drawn = np.concatenate([path.points for path in found.paths.values()])
    assert np.abs(drawn) == pytest.approx(np.abs(expected), rel=1e-7, abs=1e-9)
    off = np.linalg.norm(points - centre - expected @ axes[:2], axis=1)
    distances = np.concatenate([path.distances for path in found.paths.values()])
    # Distances are roots of differences of squares, which keep half of the digits.
    assert distances == pytest.approx(off, abs=1e-6)
    for direction in found.plane.directions:
        assert float(flat(direction).norm()) == pytest.approx(1)
    assert (found.paths["sgd"].points[0] <= 0).all()


def test_losses_of_a_path_are_those_of_its_weights_and_of_its_places_in_the_plane():
    data = torch.from_numpy(DATA.standard_normal((30, 4))), torch.arange(30) % 3
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    path = trained(model, tw.optim.Adam, 10, data, 0.1)
    found = tw.landscape(model, "cross_entropy", data, paths={"adam": path}, size=7, batch_size=7)
    seen = found.paths["adam"]
    for k, point in enumerate(path.points):
        scores = torch.func.functional_call(model, dict(point), data[0])
        true = nn.functional.cross_entropy(scores, data[1]).item()
        assert seen.losses[k] == pytest.approx(true, rel=1e-12)
        projected = found.plane.at(*seen.points[k])
        scores = torch.func.functional_call(model, projected, data[0])
        assert seen.plane_losses[k] == pytest.approx(
            nn.functional.cross_entropy(scores, data[1]).item(), rel=1e-12
        )
    # One path: the plane goes through its last point.
    assert seen.points[-1] == pytest.approx([0, 0], abs=1e-12)
    assert seen.distances[-1] == pytest.approx(0, abs=1e-6)
    assert seen.plane_losses[-1] == pytest.approx(seen.losses[-1], rel=1e-9)
    assert np.abs(seen.plane_losses - seen.losses).max() > 1e-6, "the plane leaves something out"
    low, high = seen.points.min(axis=0), seen.points.max(axis=0)
    assert found.alphas[0] < low[0] < high[0] < found.alphas[-1]
    assert found.betas[0] < low[1] < high[1] < found.betas[-1]


def test_the_mean_is_over_samples_whatever_the_batches():
    model = network()
    data = images(20)
    model(data[0])
    whole = tw.landscape(model, "cross_entropy", data, size=3, batch_norm="kept")
    parts = tw.landscape(model, "cross_entropy", data, size=3, batch_size=7, batch_norm="kept")
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    arrays = tuple(each.numpy() for each in data)
    assert np.array_equal(
        tw.landscape(model, "cross_entropy", arrays, size=3, batch_norm="kept").losses, whole.losses
    )
    loader = DataLoader(TensorDataset(*data), batch_size=6, shuffle=True)
    loaded = tw.landscape(model, nn.CrossEntropyLoss(), loader, size=3, batch_norm="kept")
    assert loaded.losses == pytest.approx(whole.losses, rel=1e-5)


def test_statistics_of_batchnorm_are_recomputed_or_kept():
    model = network()
    data = images()
    model(data[0])
    recomputed = tw.landscape(model, "cross_entropy", data, size=3)
    kept = tw.landscape(model, "cross_entropy", data, size=3, batch_norm="kept")
    expected = model.eval()(data[0])
    assert kept.losses[1, 1] == pytest.approx(
        nn.functional.cross_entropy(expected, data[1]).item(), rel=1e-6
    )
    # Statistics of one batch: those of training, but for the variance's n − 1.
    normal = model[1]
    convolved = model[0](data[0])
    normal.running_mean.copy_(convolved.mean((0, 2, 3)))
    normal.running_var.copy_(convolved.transpose(0, 1).flatten(1).var(dim=1))
    with torch.no_grad():
        expected = nn.functional.cross_entropy(model(data[0]), data[1]).item()
    assert recomputed.losses[1, 1] == pytest.approx(expected, rel=1e-5)
    assert recomputed.losses[1, 1] != pytest.approx(kept.losses[1, 1], rel=1e-3)


def test_a_diverged_path_ends_where_it_is_no_longer_finite():
    data = (
        torch.from_numpy(DATA.standard_normal((10, 2))),
        torch.from_numpy(DATA.standard_normal((10, 2))),
    )
    model = nn.Linear(2, 2).double()
    path = tw.WeightPath(model)
    optimizer = tw.optim.Adam(model.parameters(), lr=0.1)
    for step in (10, 20, 30):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(data[0]), data[1]).backward()
        optimizer.step()
        path.record(step)
    with torch.no_grad():
        model.weight[0, 0] = math.nan
    path.record(40)
    path.record(50)
    found = tw.landscape(model, "mse", data, paths={"adam": path}, size=3).paths["adam"]
    assert found.diverged_at == 40
    assert found.steps.tolist() == [0, 10, 20, 30]
    assert np.isfinite(found.losses).all()


def test_state_dicts_are_a_path_and_frozen_weights_stay():
    data = images()
    model = network()
    model(data[0])
    model[0].weight.requires_grad_(False)
    states = []
    for k in range(4):
        with torch.no_grad():
            model[5].weight.add_(0.1 * k)
            model[5].bias.sub_(0.1 * k * k)
        states.append({name: v.clone() for name, v in model.state_dict().items()})
    found = tw.landscape(model, "cross_entropy", data, paths={"loaded": states}, size=3)
    assert "0.weight" not in found.plane.centre
    assert found.paths["loaded"].steps.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "m"}, "no torch.nn.Module"),
        ({"loss": "cross_entropi"}, "did you mean cross_entropy"),
        ({"loss": 3}, "must be a name"),
        ({"loss": lambda outputs, targets: outputs}, "must be one number"),
        ({"data": (torch.zeros(3, 4), torch.zeros(2))}, "3 inputs and 2 targets"),
        ({"data": 5}, "must be (inputs, targets)"),
        ({"data": []}, "no batch"),
        ({"data": [torch.zeros(3, 4)]}, "has a batch of Tensor"),
        ({"size": 2}, "size=2"),
        ({"span": 0}, "span=0"),
        ({"span": math.inf}, "span=inf"),
        ({"seed": -1}, "seed=-1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_norm": "none"}, "batch_norm='none'"),
        ({"paths": {}}, "tw.WeightPath"),
        ({"paths": {"a": []}}, "paths['a'] is empty"),
        ({"paths": {"a": [1]}}, "neither a tw.WeightPath nor"),
        ({"paths": {"a": [{}]}}, "paths['a'][0] has no parameter 'weight'"),
        ({"paths": {"a": [nn.Linear(3, 3).state_dict()]}}, "has shape (3, 3)"),
        ({"paths": {"a": [nn.Linear(4, 3).state_dict()] * 5}}, "lie on a line"),
        ({"model": nn.BatchNorm1d(4)}, "no weight of the model can vary"),
        ({"model": nn.Linear(4, 3).requires_grad_(False)}, "requires_grad_(True)"),
        ({"model": nn.LazyLinear(3)}, "call it on a batch"),
    ],
)
def test_what_cannot_work_is_refused_in_words(change, words):
    data = torch.zeros(3, 4), torch.zeros(3, dtype=torch.long)
    given = {"model": nn.Linear(4, 3), "loss": "cross_entropy", "data": data, "size": 3, **change}
    with pytest.raises(UsageError) as caught:
        tw.landscape(given.pop("model"), given.pop("loss"), given.pop("data"), **given)
    assert words in str(caught.value)


def test_a_landscape_is_drawn_and_saved(tmp_path):
    data = images()
    model = network()
    path = trained(model, tw.optim.Adam, 6, data, 0.05)
    found = tw.landscape(model, "cross_entropy", data, paths={"adam": path}, size=6)
    ax = Figure().add_subplot()
    assert found.plot(ax) is ax
    (line,) = [each for each in ax.get_lines() if each.get_label() == "adam"]
    assert np.array_equal(line.get_xydata(), found.paths["adam"].points)
    assert line.get_color() == looks(["adam"])["adam"].light
    assert f"{sum(found.explained):.0%}" in ax.get_title()
    right = found.figure().axes[1]
    drawn = [each.get_ydata() for each in right.get_lines()]
    assert any(np.array_equal(each, found.paths["adam"].losses) for each in drawn)
    assert any(np.array_equal(each, found.paths["adam"].plane_losses) for each in drawn)
    assert "adam: ends at loss" in str(found)
    assert found.save(tmp_path / "a.png").stat().st_size > 0
    with np.load(found.save(tmp_path / "a.npz")) as arrays:
        assert np.array_equal(arrays["losses"], found.losses)
        assert np.array_equal(arrays["adam/points"], found.paths["adam"].points)
    around = tw.landscape(model, "cross_entropy", data, size=3)
    assert "two random directions" in str(around)
    assert around.save(tmp_path / "b.svg").stat().st_size > 0
    with pytest.raises(UsageError, match="must end in"):
        found.save(tmp_path / "a.txt")


def test_losses_that_are_not_finite_are_left_blank(tmp_path):
    model = nn.Linear(4, 3)
    data = torch.zeros(3, 4), torch.zeros(3)
    found = tw.landscape(model, lambda o, t: o.sum() + math.nan, data, size=3)
    assert np.isnan(found.losses).all()
    assert "none finite" in str(found)
    assert found.save(tmp_path / "a.png").stat().st_size > 0


def test_steps_of_a_path_rise():
    path = tw.WeightPath(nn.Linear(2, 2))
    path.record(5)
    path.record()
    assert path.steps == [0, 5, 6]
    with pytest.raises(UsageError, match="step=6"):
        path.record(6)
    with pytest.raises(UsageError, match="call it on a batch"):
        tw.WeightPath(nn.LazyLinear(2))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_landscape():
    data = images()
    model = network()
    path = trained(model, tw.optim.Adam, 4, data, 0.05)
    for options in ({}, {"paths": {"adam": path}}):
        here = tw.landscape(model.cpu(), "cross_entropy", data, size=3, **options)
        there = tw.landscape(model.cuda(), "cross_entropy", data, size=3, **options)
        # Convolutions on a GPU may round their inputs to 10 bits.
        assert there.losses == pytest.approx(here.losses, rel=1e-2)
