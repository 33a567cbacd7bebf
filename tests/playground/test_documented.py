"""The examples of docs/play.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from browsers import answer, built_in_core, needs_node, node

PAGE = (Path(__file__).parents[2] / "docs" / "play.md").read_text(encoding="utf-8")
BLOCKS = {
    language: re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.S | re.M)
    for language in ("python", "javascript")
}


def test_there_are_examples():
    assert len(BLOCKS["python"]) == 1
    assert len(BLOCKS["javascript"]) == 3


@pytest.mark.parametrize("block", BLOCKS["python"])
def test_examples_in_python_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_rules.py"
    file.write_text(block)
    exec(compile(block, str(file), "exec"), {"__name__": "my_rules"})
    assert (tmp_path / "play.html").exists()


@needs_node
@pytest.mark.parametrize("block", BLOCKS["javascript"])
def test_examples_in_javascript_run(block):
    script = f"globalThis.window = globalThis;\n{built_in_core()}\nlet checks = 0;\n"
    script += "const assert = (holds) => { if (!holds) throw new Error('no'); checks++; };\n"
    assert int(node(f"{script}{{\n{block}\n}}\nconsole.log(checks);")) > 0


@needs_node
def test_the_grammar_is_that_of_the_page():
    assert answer("T.grammar") in PAGE


@needs_node
def test_every_call_is_documented():
    calls = answer("Object.keys(T)")
    listed = re.findall(r"`(\w+)\(|`(grammar|version)`", PAGE)
    assert {a or b for a, b in listed} >= {*calls}
