"""Units of training, and the settings that were tuned, wherever a race is shown."""

from __future__ import annotations

import re

import pytest

from thalweg.racing import race
from thalweg.racing.notebook import html as notebook
from thalweg.records import OptimizerResult, RaceDocument, as_race
from thalweg.report import html, markdown, pictures, terminal, units


@pytest.fixture(scope="module")
def document() -> RaceDocument:
    """A race in which optimizers chose different batch sizes."""
    found = race(
        "wine-mlp",
        optimizers=["adam", "momentum", "sgd", "lion"],
        tune=["batch_size"],
        budget=4,
        seeds=2,
        epochs=4,
    )
    sizes = {e["settings"]["batch_size"] for e in found.optimizers}
    assert len(sizes) > 1, sizes  # or nothing is shown below
    return as_race(found.document)


def test_a_step_is_counted_in_what_batch_sizes_do_not_change(document: RaceDocument) -> None:
    train, epochs = document.setting.train, document.setting.epochs
    assert train is not None
    assert epochs is not None
    for e in document.optimizers:
        assert e.per_step is not None
        assert e.by_seed is not None
        batches = -(-train // int(str(e.settings["batch_size"])))
        assert e.by_seed.steps == epochs * batches
        assert e.per_step.epochs == pytest.approx(1 / batches)
        # Over a whole run: every sample once per epoch.
        assert e.by_seed.steps * (e.per_step.samples or 0) == pytest.approx(epochs * train)
        assert e.per_step.seconds == pytest.approx((e.ms_per_step or 0) / 1e3)


def test_the_target_is_met_at_one_time_in_all_units(document: RaceDocument) -> None:
    met = [e for e in document.optimizers if e.steps_to_target is not None]
    assert met
    for e in met:
        for name in units.UNITS:
            expected = (e.steps_to_target or 0) * (units.per_step(e, name) or 0)
            assert units.to_target(e, name) == pytest.approx(expected)


def test_all_tuned_settings_stand_in_every_table(document: RaceDocument) -> None:
    assert units.unit(document.optimizers) == "epochs"
    shown = [
        terminal.table(document),
        markdown.summary(document),
        html.render(document),
        notebook(document),
    ]
    for e in document.optimizers:
        assert set(e.settings) == {"lr", "batch_size"}
        size = e.settings["batch_size"]
        for text in shown:
            assert re.search(rf"batch\\?_size.{size}\b", text), (e.name, size)
    table, text, page, _ = shown
    assert re.search(r"\bepochs to\b", table)
    assert "epochs to target" in text
    assert '<span id="unit">epochs</span>' in page
    for name in units.UNITS:
        assert f'name="unit" value="{name}"' in page
    assert "seconds (estimated)" in page


def test_where_learning_rates_alone_are_tuned_steps_are_compared() -> None:
    found = race("wine-mlp", optimizers=["adam", "sgd"], budget=2, seeds=1, epochs=1)
    document = as_race(found.document)
    assert units.unit(document.optimizers) == "steps"
    assert not units.more_than_rates(document.optimizers)
    assert "chosen" not in terminal.table(document).split("On wine-mlp")[0]
    assert '<span id="unit">steps</span>' in html.render(document)


def test_a_document_that_counts_steps_alone_is_shown_in_steps() -> None:
    old = OptimizerResult(name="adam", steps_to_target=40.0, configuration={"lr": 0.1})
    assert units.unit([old]) == "steps"
    assert units.to_target(old, "steps") == 40.0
    assert units.to_target(old, "epochs") is None
    assert units.per_step(old, "epochs") is None
    assert units.chosen(old) == {"lr": 0.1}


def test_figures_have_epochs_where_batch_sizes_differ(document: RaceDocument) -> None:
    figure = pictures.curves(document)
    assert figure is not None
    ax = figure.axes[0]
    assert ax.get_xlabel() == "epochs"
    named = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    assert [line.get_xdata()[-1] for line in named] == [pytest.approx(4.0)] * 4
