"""The state of the page and its hash: what cannot be is said, and the rest is taken."""

from __future__ import annotations

import json

import pytest

from browsers import answer, needs_node
from thalweg.playground.generated import named_rules
from thalweg.surfaces import registry

pytestmark = needs_node

FIRST = {
    "surface": "bowl",
    "text": "",
    "start": None,
    "rules": ["sgd"],
    "transforms": [],
    "hyper": {},
    "steps": 100,
    "step": 0,
    "noise": 0,
    "seed": 0,
    "batch": 0,
    "schedule": "constant",
}


def after(given):
    """The state, what was said, and the hash after one `set`."""
    return answer(f"[T.set({json.dumps(given)}), T.state(), T.hash()]")


def test_a_page_begins_with_the_first_of_everything():
    assert answer("[T.state(), T.hash()]") == [FIRST, ""]


FULL = {
    "surface": "beale",
    "text": "x^2 + 3*y^2 & <b>",
    "start": [-1.25, 1e-3],
    "rules": ["adam", "keras:rmsprop"],
    "transforms": ["clip_norm"],
    "hyper": {"adam": {"lr": 0.05, "max_norm": 2}, "keras:rmsprop": {"lr": 0.5}},
    "steps": 2000,
    "step": 17,
    "noise": 0.25,
    "seed": 4294967295,
    "batch": 8,
    "schedule": "cosine",
}


def test_the_hash_brings_the_state_back():
    full = {**FULL, "text": "x^2 + 3*y^2"}
    notes, state, words = after(full)
    assert notes == []
    assert state == full
    again = answer(f"[T.set({json.dumps(words)}), T.state(), T.hash()]")
    assert again == [[], full, words]
    assert " " not in words
    # A hash that leaves a field out means its first value, whatever is set now.
    reset = answer(f"[T.set({json.dumps(full)}), T.set('#steps=5'), T.state()]")[2]
    assert reset == {**FIRST, "steps": 5}


# A field, what is given, what becomes of it, and words of the message.
CLAMPED = [
    ("steps", -4, 1, "from 1 to 10000"),
    ("steps", 1e9, 10000, "from 1 to 10000"),
    ("steps", "many", 100, "a number expected"),
    ("steps", None, 100, "a number expected"),
    ("noise", -1, 0, "from 0"),
    ("seed", 2**32, 2**32 - 1, "from 0"),
    ("seed", "NaN", 0, "a number expected"),
    ("surface", "beele", "bowl", "one of bowl"),
    ("surface", "__proto__", "bowl", "one of bowl"),
    ("surface", ["bowl"], "bowl", "one of bowl"),
    ("text", "2x", "", '"*" expected after 2, but "x" stands here (character 2)'),
    ("text", 5, "", "text expected"),
    ("start", [1], None, "two numbers expected"),
    ("start", "1,inf", None, "two numbers expected"),
    ("start", [1e300, 0], [1e6, 0], "within"),
    ("rules", ["adam", "adma"], ["adam"], "adma unknown"),
    ("rules", ["nope"], ["sgd"], "nope unknown"),
    ("rules", "adam,adam", ["adam"], "each once"),
    ("rules", 7, ["sgd"], "a list of names expected"),
    ("rules", ["constructor"], ["sgd"], "constructor unknown"),
    ("hyper", {"adam": {"lr": -1, "beta1": 0.5}}, {"adam": {"beta1": 0.5}}, "adam.lr=-1"),
    ("hyper", {"adam": {"beta2": 1}}, {}, "it must be below 1"),
    ("hyper", {"adam": {"rate": 1}}, {}, "no such hyperparameter"),
    ("hyper", {"adma": {"lr": 1}}, {}, "no rule named adma"),
    ("hyper", {"adam": 3}, {}, "adam=3: an object expected"),
    ("hyper", "adam", {}, "an object expected"),
    ("schedule", "cosinus", "constant", "one of constant"),
    ("transforms", ["clip"], [], "clip unknown"),
    ("colour", "red", None, "no field named colour"),
]


@pytest.mark.parametrize(("field", "given", "taken", "words"), CLAMPED)
def test_what_cannot_be_is_said_and_the_rest_is_taken(field, given, taken, words):
    notes, state, _ = after({field: given, "batch": 3})
    assert state["batch"] == 3
    assert state.get(field) == taken
    assert any(words in note["message"] for note in notes), notes
    assert all(note["field"] == field for note in notes)


@pytest.mark.parametrize(
    "words",
    [
        "#steps=abc&seed=7&nope=1&adam.lr=high&=&&&%&a=b=c",
        "seed=7",
        "#seed=7&__proto__=1&constructor.x=1&toString=3",
        "#seed=7&hyper=x",
        "#seed=7&adam.=3&.lr=4&adam.lr.x=5",
        "#%E0%A4%A&seed=7",
        "#" + "x" * 100_000 + "&seed=7",
    ],
)
def test_a_hash_made_by_hand_does_no_harm(words):
    notes, state, _ = after(words)
    assert state == {**FIRST, "seed": 7}
    assert (words == "seed=7") == (notes == [])


def test_what_is_no_plain_data_is_no_value():
    given = "{steps: () => 1, start: [1, Symbol.iterator], seed: 1.5, batch: 3}"
    notes, state = answer(f"[T.set({given}), T.state()]")
    assert [note["field"] for note in notes] == ["steps", "start", "seed"]
    assert notes[2]["message"] == "seed=1.5: a whole number from 0 to 4294967295"
    assert state == {**FIRST, "batch": 3, "seed": 2}


def test_only_an_object_or_a_hash_is_a_state():
    for given in ("null", "undefined", "5", "() => 1"):
        assert "UsageError" in answer(f"refused(() => T.set({given}))")


def test_no_rule_at_all_is_a_choice():
    assert after({"rules": []})[1]["rules"] == []
    assert answer("(T.set({rules: []}), [T.set(T.hash()), T.state().rules])") == [[], []]


def test_listeners_hear_of_changes_alone_and_states_are_copies():
    heard = answer(
        "((heard) => { const stop = T.onchange((state) => heard.push(state.steps));"
        "T.set({steps: 7}); T.set({steps: 7}); T.state().rules.push('x'); T.set({seed: 1});"
        "stop(); T.set({steps: 9}); heard.push(T.state().rules.length); return heard; })([])"
    )
    assert heard == [7, 7, 1]


def test_a_page_adds_fields_of_its_own():
    found = answer(
        "(T.field('language', 'en', (value, note) => ['en', 'ko'].includes(value) ? value :"
        "note('en or ko')), [T.set({language: 'ko'}), T.hash(), T.set('#language=fr'), T.state()])"
    )
    assert found[:2] == [[], "#language=ko"]
    assert found[2][0]["field"] == "language"
    assert found[3]["language"] == "en"


def test_what_the_page_lists_is_what_python_has():
    rules, transforms, schedules, listed = answer(
        "[T.rules(), T.transforms().map((one) => one.name), T.schedules(),"
        "T.surfaces().map((one) => one.name)]"
    )
    assert [one["name"] for one in rules] == [*named_rules(())]
    assert transforms[-1] == "clip_norm"
    assert schedules == ["constant", "step", "cosine", "linear"]
    assert {*registry(), "petals"} <= {*listed}
    for one in rules:
        rule = named_rules(())[one["name"]]
        assert {h["name"]: float(h["default"]) for h in one["hyper"]} == rule.defaults
        assert [slot["name"] for slot in one["slots"]] == [*rule.slots]
        for hyper in one["hyper"]:
            assert float(hyper["low"]) < float(hyper["high"])
            assert hyper["scale"] in ("log", "linear", "near-one")
            assert hyper["scale"] != "log" or hyper["low"] > 0
