"""Data of a person's own in every form: what is taken, what is refused, what is decided."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from thalweg.errors import UsageError
from thalweg.tasks import Metric, Task, datasets, losses

pytestmark = pytest.mark.usefixtures("one_thread")

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 4
NAMES = np.array(["ant", "bee", "cat", "dog"])[Y]


def model() -> nn.Module:
    return nn.Linear(3, 4)


def task(train: Any = (X, Y), **more: Any) -> Task:
    return Task(**{"model": model, "train": train, "batch_size": 10, **more})


def whole(made: Task) -> tuple[Tensor, Tensor]:
    """All samples, in an order of their own."""
    x, y = (torch.cat([p[k] for p in (made.train, made.validation, made.test)]) for k in (0, 1))
    order = x.flatten(1)[:, 0].argsort()
    return x[order], y[order]


class Items(Dataset[tuple[Tensor, int]]):
    def __len__(self) -> int:
        return 40

    def __getitem__(self, k: int) -> tuple[Tensor, int]:
        return torch.tensor(X[k], dtype=torch.float32), int(Y[k])


class Stream(IterableDataset[tuple[Tensor, int]]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Any:
        return (Items()[k % 40] for k in range(self.count))


COLUMNS = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "kind": NAMES}
TENSORS = torch.tensor(X, dtype=torch.float32), torch.tensor(Y)
KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "arrays": lambda _: {"train": (X, Y)},
    "lists": lambda _: {"train": (X.tolist(), Y.tolist())},
    "tensors": lambda _: {"train": TENSORS},
    "text": lambda _: {"train": (X, NAMES)},
    "tensor dataset": lambda _: {"train": TensorDataset(*TENSORS)},
    "dataset": lambda _: {"train": Items()},
    "stream": lambda _: {"train": Stream(40)},
    "loader": lambda _: {"train": DataLoader(Items(), batch_size=7, shuffle=True)},
    "loader of its own": lambda _: {
        "train": DataLoader(
            Items(),
            batch_size=7,
            collate_fn=lambda items: (
                torch.stack([x for x, _ in items]),
                torch.tensor([y for _, y in items]),
            ),
        ),
    },
    "pandas": lambda _: {"train": pandas.DataFrame(COLUMNS), "target": "kind"},
    "pandas categories": lambda _: {
        "train": pandas.DataFrame(COLUMNS).astype({"kind": "category"}),
        "target": "kind",
    },
    "frame and series": lambda _: {
        "train": (pandas.DataFrame(COLUMNS)[["a", "b", "c"]], pandas.Series(NAMES))
    },
    "polars": lambda _: {"train": polars.DataFrame(COLUMNS), "target": "kind"},
    "csv": lambda p: {"train": saved(p / "t.csv"), "target": "kind"},
    "parquet": lambda p: {"train": str(saved(p / "t.parquet")), "target": "kind"},
}


def saved(path: Path) -> Path:
    frame = pandas.DataFrame(COLUMNS)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_the_same_data_is_the_same_task(kind: str, tmp_path: Path) -> None:
    made = task(**KINDS[kind](tmp_path))
    x, y = whole(made)
    order = torch.tensor(X[:, 0].argsort())
    torch.testing.assert_close(x, TENSORS[0][order], rtol=1e-6, atol=0)
    assert torch.equal(y, TENSORS[1][order])
    assert made.loss is losses.cross_entropy
    assert made.metric is losses.ACCURACY
    assert [len(p[0]) for p in (made.train, made.validation, made.test)] == [24, 8, 8]


def test_missing_parts_are_split_off_by_class_alike_every_time_and_said() -> None:
    one, two = task(), task()
    assert one.fingerprint == two.fingerprint
    for part in (one.train, one.validation, one.test):
        assert len(set(part[1].bincount().tolist())) == 1  # every class as often
    assert [n.partition(":")[0] for n in one.notes] == ["validation", "test"]
    given = task(validation=(X[:8], Y[:8]))
    assert [len(p[0]) for p in (given.train, given.validation, given.test)] == [32, 8, 8]
    assert len(given.notes) == 1


def test_whole_numbers_stay_so_for_an_embedding_and_targets_follow_the_loss() -> None:
    ids = np.arange(80).reshape(40, 2) % 5
    embedded = task((ids, Y), model=lambda: nn.Sequential(nn.Embedding(5, 2), nn.Flatten()))
    assert embedded.train[0].dtype == torch.int64
    assert task((ids, Y), model=lambda: nn.Linear(2, 4)).train[0].dtype == torch.float32
    assert task((X, Y), loss="mse").train[1].dtype == torch.float32
    assert task((X, NAMES == "ant"), loss="binary_cross_entropy").train[1].dtype == torch.float32
    assert task((X, np.where(Y > 1, 1, -1))).train[1].unique().tolist() == [0, 1]
    assert task((X, Y / 4)).metric is losses.R_SQUARED
    with pytest.raises(UsageError, match="4 classes; this loss takes two"):
        task((X, NAMES), loss="binary_cross_entropy")


def idx(path: Path, values: np.ndarray) -> Path:
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    raw = head + values.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def test_idx_files(tmp_path: Path) -> None:
    pixels = np.arange(40 * 6, dtype=np.uint8).reshape(40, 2, 3)
    pair = idx(tmp_path / "i.gz", pixels), idx(tmp_path / "l", Y.astype(np.uint8))
    made = task(pair)
    assert made.train[0].shape[1:] == (1, 2, 3)
    assert float(whole(made)[0].max()) == pytest.approx(239 / 255)
    assert made.train[1].dtype == torch.int64
    (tmp_path / "short").write_bytes(pair[1].read_bytes()[:-3])
    with pytest.raises(UsageError, match=r"short says it holds 40 values, but has 37 bytes"):
        task((pair[0], tmp_path / "short"))
    (tmp_path / "no").write_bytes(b"PNG")
    with pytest.raises(UsageError, match="no is not an IDX file"):
        task((tmp_path / "no", pair[1]))


def test_image_folders(tmp_path: Path) -> None:
    for kind in ("ant", "bee"):
        (tmp_path / kind).mkdir()
        for k in range(10):
            Image.new("RGB", (4, 3), (k, 0, 255)).save(tmp_path / kind / f"{k}.png")
    made = task(tmp_path, batch_size=4)
    assert made.train[0].shape[1:] == (3, 3, 4)
    assert made.train[0][:, 2].unique().tolist() == [1.0]
    assert any("ant is 0, bee is 1" in note for note in made.notes)
    Image.new("L", (5, 3)).save(tmp_path / "bee" / "x.png")
    with pytest.raises(UsageError, match=r"x\.png has 5×3 pixels, but .*0\.png has 4×3"):
        task(tmp_path)
    (tmp_path / "bee" / "x.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"x\.png cannot be read as an image"):
        task(tmp_path)
    with pytest.raises(UsageError, match="has no images in folders named after their class"):
        task(tmp_path / "ant")


def gap(**columns: Any) -> pandas.DataFrame:
    return pandas.DataFrame({**COLUMNS, **columns})


HOLE = np.where(np.arange(40) == 7, np.nan, X[:, 1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": gap(b=HOLE), "target": "kind"}, "column 'b' of the inputs contain 1 NaN"),
        ({"train": gap(kind=HOLE), "target": "kind"}, "column 'kind' contain 1 NaN"),
        ({"train": gap(b=NAMES), "target": "kind"}, "column 'b' is no column of numbers"),
        ({"train": gap(kind=[None, *NAMES[1:]]), "target": "kind"}, "column 'kind' contain 1"),
        (
            {"train": polars.DataFrame({**COLUMNS, "b": [None, *X[1:, 1]]}), "target": "kind"},
            "column 'b' of the inputs contain 1 NaN, infinite or missing values, the first in "
            "row 0",
        ),
        ({"train": (np.stack([X[:, 0], HOLE], 1), Y)}, "column 1 of the inputs contain 1 NaN"),
        ({"train": gap()}, "say which is to be learned: target='…'"),
        ({"train": gap(), "target": "kid"}, "has no column 'kid'; it has a, b, c, kind"),
        ({"train": "nowhere.csv", "target": "a"}, "there is no file 'nowhere.csv'"),
        ({"train": 5}, "must be a pair (inputs, targets), inputs alone"),
        ({"train": (X, Y[:9])}, "has 40 inputs but 9 targets"),
        ({"train": None}, "give it data to train on"),
        ({"train": [(1, 2), (3, 4), (5, 6)]}, "must be a pair"),
        ({"train": TensorDataset(TENSORS[0])}, "train has inputs and no targets"),
        ({"loss": "cross_entrop"}, "did you mean cross_entropy or"),
        ({"metrics": "acuracy"}, "did you mean accuracy"),
        ({"step": 3}, "step=3 is no function"),
        ({"train": (X[:3], Y[:3])}, "train has 3 samples, too few to split"),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        task(**given)
    assert message in str(error.value)


def test_a_stream_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "LIMIT", 50)
    with pytest.raises(UsageError, match="does not end within 50 items"):
        task(Stream(51))


def test_a_metric_that_is_a_function_is_taken_and_what_was_assumed_is_said() -> None:
    made = task(metrics=losses.accuracy)
    assert (made.metric.name, made.metric.higher_is_better) == ("accuracy", True)
    assert "higher is taken to be better" in made.notes[0]
    assert task(metrics=[Metric("m", False, losses.mse, 0.1)]).metric.margin == 0.1
