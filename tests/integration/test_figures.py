"""Every measured number of a document comes from a file of benchmarks/results."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import render  # noqa: E402  (a script beside the results)
from figures import base, precision, races, speed  # noqa: E402

# A number, or a range of them, with a unit of what is measured; a power of ten; any decimal number.
_UNITS = r"ns|µs|ms|s|seconds?|minutes?|hours?|kB|MB|GB|KiB|MiB|GiB|GB/s|MB/s|%|×|times|-fold"
MEASURED = re.compile(
    r"(?<![\w.,])[±≥≤~]?\d[\d.,]*(?:\s?(?:to|and|or|–)\s\d[\d.,]*)?(?:\s|-)?"
    rf"(?:(?:{_UNITS})(?![\w/])|·10[⁻⁰-⁹])|(?<!\w)10⁻[⁰-⁹]+"
    r"|(?<![\w.,])\d+\.\d+(?![\w.]*\w)"
)
# Numbers with such a unit that are not measured: settings, conventions, levels of tests.
ALLOWED = {
    r"95 % (?:interval|band)|at 95 %": "the level of every interval",
    r"(?:significant at|at most|above) 5 %": "the level of the tests",
    r"probability of 80 %": "the power that a verdict states",
    r"a share, 1 % of the first's": "the margin of a loss",
    r"ahead by 0.02 %": "an example",
    r"5 % or 10 % of the steps": "what --tune warmup tries",
    r"last 2 ms": "how long a measurement of `thalweg bench` lasts at least",
    r"any, 10, 1 or 0\.1": "values of options",
    r"about 20 seconds": "when a test is called long",
    r"Python 3\.11|Apache-2\.0|compute capability 8\.0(?: and 9\.0)?": "versions",
    r"load (?:average )?above 0\.5": "when a benchmark warns",
    r"p ≤ 0\.05": "the level of the tests",
    r"grow by 1\.2, not by 1\.203": "1.2, rounded to bfloat16",
    r"\| 1\.016 \| 2\.03 \|": "bytes of a code with its share of a scale, and of two",
    r"as soon as 32 MiB of gradients": "the default of batch_bytes",
    r", 0\.01 for": "the margin of a metric",
}


def _prose(text: str) -> str:
    """A document without code, figures and the lines' ends."""
    text = render.FENCED.sub(" ", text)
    text = re.sub(r"(?<=\n\n)(?: {4}.*\n)+", " ", text)  # code by indentation
    text = render.VALUE.sub(" ", render.BLOCK.sub(" ", text))
    text = re.sub(r"<!--.*?-->", " ", text, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"`[^`]*`", " ", text))


def stray(text: str) -> list[str]:
    """Measured numbers outside figures, each with the words around it."""
    prose = _prose(text)
    spans = [m.span() for pattern in ALLOWED for m in re.finditer(pattern, prose)]
    return [
        prose[max(0, m.start() - 40) : m.end() + 20]
        for m in MEASURED.finditer(prose)
        if not any(low <= m.start() and m.end() <= high for low, high in spans)
    ]


# Pages that a script makes of the rules or the records hold no measurements; each has its own test.
WRITTEN = [path for path in render.DOCUMENTS if "<!-- Made by" not in path.read_text("utf-8")]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_no_measured_number_stands_in_prose(path: Path) -> None:
    found = stray(path.read_text(encoding="utf-8"))
    assert not found, (
        "put these into a figure of benchmarks/figures, or, if no measurement, into ALLOWED: "
        f"{found}"
    )


@pytest.mark.parametrize("path", render.DOCUMENTS, ids=lambda path: path.name)
def test_figures_are_those_recorded(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert render.rendered(text) == text, "run `make figures`"


@pytest.mark.parametrize(
    "sentence",
    [
        "A step takes 12.5 µs.",
        "It is 3.1× as fast.",
        "about 20 to 36 % less",
        "moves 57 GB/s",
        "took 1,200 s.",
        "an error of 6·10⁻³",
        "20 times as fast",
        "in 0.04\n  s where",
        "at 0.96 or more of the bandwidth",
    ],
)
def test_a_measured_number_is_seen(sentence: str) -> None:
    assert stray(sentence)
    assert stray(f"Before.\n\n```\n12 s\n```\n\n{sentence}")
    assert not stray(f"<!-- fig: x -->{sentence}<!-- /fig -->")
    assert not stray(f"<!-- figures: x -->\n{sentence}\n<!-- /figures -->")
    assert not stray(f"```\n{sentence}\n```\n")
    assert not stray(f"A formula:\n\n    {' '.join(sentence.split())}\n\nand after it.")
    assert stray(f"- A list\n  that goes on: {sentence}\n")


@pytest.mark.parametrize("sentence", ["Python 3.11 or newer", "8 × 8 images`", "a batch of 64"])
def test_other_numbers_are_not(sentence: str) -> None:
    assert not [found for found in stray(sentence) if "×" not in found]


def test_every_exception_is_needed() -> None:
    prose = " ".join(_prose(path.read_text(encoding="utf-8")) for path in WRITTEN)
    unused = [pattern for pattern in ALLOWED if not re.search(pattern, prose)]
    assert not unused, f"no document has {unused} any more: remove them"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<!-- fig: nothing -->1<!-- /fig -->", "no figure is called 'nothing'"),
        ("<!-- fig: shares -->1", "has no partner"),
        ("<!-- figures: steps -->\n", "has no partner"),
        ("1<!-- /figures -->", "has no partner"),
        ("```\n<!-- fig: x -->\n```\n<!-- fig: shares -->", "has no partner"),
    ],
)
def test_wrong_marks_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        render.rendered(text)


def test_marks_in_code_are_left_alone() -> None:
    text = (
        "Before.\n\n   ```\n   <!-- fig: shares --><!-- /fig --> and <!-- figures: x -->\n   ```\n"
    )
    assert render.rendered(text) == text


def test_a_changed_result_changes_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "<!-- fig: shares -->old<!-- /fig -->"
    monkeypatch.setitem(render.figures.VALUES, "shares", lambda: "new")
    assert render.rendered(text) == "<!-- fig: shares -->new<!-- /fig -->"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.stem
)
def test_a_result_says_where_it_comes_from(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["benchmark"] == path.stem
    assert {"processor", "cores", "threads", "torch", "date"} <= record["environment"].keys()
    assert set(record["load"]) == {"start", "end"}
    script = record.get("command", f"python benchmarks/{path.stem}.py").split()[1]
    assert (ROOT / script).exists()


def test_make_bench_leaves_none_out() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    (listed,) = re.findall(r"^BENCHMARKS := (.*)$", makefile, re.M)
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"common", "render"}
    assert sorted(listed.split()) == sorted(scripts), "add it to BENCHMARKS in the Makefile"


def test_every_benchmark_fits_the_package() -> None:
    """Each is imported, and says what options it has: names that are gone are seen."""
    optional = {"cluster": "ray", "jax_scalars": "optax"}
    names = [path.stem for path in (ROOT / "benchmarks").glob("*.py")]
    there = [n for n in names if n not in optional or find_spec(optional[n]) is not None]
    program = f"""
import importlib, pathlib, sys, warnings
sys.path.insert(0, {str(ROOT / "benchmarks")!r})
warnings.simplefilter("ignore")  # of Ray and JAX
for name in {there!r}:
    module = importlib.import_module(name)
    assert module.__doc__, name
    gone = [p for p in vars(module).values() if isinstance(p, pathlib.Path) and not p.exists()]
    assert not gone, (name, gone)
    if hasattr(module, "main"):
        sys.argv = [name, "--help"]
        try:
            module.main()
        except SystemExit as end:
            assert not end.code or "chromium" in str(end.code), (name, end.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") >= len(there) - 2  # `common`, and `report` without Chromium


def _spread(median: float) -> dict[str, float]:
    return {"median": median, "low": median, "high": median}


def test_a_table_of_steps_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """28 bytes in 14 µs are 2 GB/s for 1,000 parameters; torch's fused took 1.5 times as long."""
    row = {
        "name": "adam",
        "rule": "adam",
        "options": {},
        "bytes": {"read": 16, "written": 12},
        "seconds": {"thalweg": _spread(14e-6)},
        "bandwidth": {"thalweg": 2.0},
        "share": _spread(0.984),
        "best": "torch fused",
        "against": {"torch fused": _spread(1.5)},
    }
    plain = {**row, "best": "torch loop", "against": {"torch loop": _spread(7.0)}}
    tables = {
        "One step, 1x25M": [row],
        "One step, 1000x1000": [plain],
        "One step, 4x2000": [{**row, "best": None}],
    }
    record = {**base.recorded("step"), "tables": tables}
    monkeypatch.setattr(base, "recorded", lambda name: record)
    monkeypatch.setattr(speed, "recorded", lambda name: record)
    assert "| adam | 28 | 2 | 98 % | 1.50× (fused) | 7.00× | – |" in speed.steps().splitlines()
    assert speed.shares() == "1 of 1 rules reach 95 % of it or more; the lowest are adam (98 %)"


def test_losses_in_percent_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    full = {
        "task": "t",
        "optimizer": "o",
        "parameters": "float32",
        "state": "float32",
        "loss": 0.5,
        "difference": 0.0,
        "low": 0.0,
        "high": 0.0,
        "adjusted_p": 1.0,
        "margin": 0.01,
    }
    fewer = {**full, "state": "int8", "difference": 0.005, "low": -0.002, "high": 0.02}
    control = {
        **full,
        "state": "bfloat16",
        "difference": 0.02,
        "low": 0.01,
        "high": 0.03,
        "adjusted_p": 0.01,
    }
    record = {**base.recorded("fewer_bytes"), "tables": {"x": [full, fewer, control]}}
    monkeypatch.setattr(base, "recorded", lambda name: record)
    line = "| t, o | +1.0 (-0.4 to +4.0) | +4.0 (+2.0 to +6.0) |"
    assert line in precision.fewer_bytes().splitlines()
    said = precision.fewer_bytes_verdict()
    assert "0 of 1 cells differ" in said
    assert "In 0 of them" in said
    assert "1 of its 1 rows are significantly worse" in said


def test_small_optimizers_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"optimizer": "Adam", "tensors": "4 × 2,000", "mode": "fused", "ratio": 2.504}
    tables = {
        title: [row, {**row, "optimizer": "SGD", "mode": "default"}] for title in speed.SITUATIONS
    }
    record = {**base.recorded("lanes"), "benchmark": "small", "tables": tables}
    monkeypatch.setattr(base, "recorded", lambda name: record)
    lines = speed.small().splitlines()
    assert lines[0] == "|  | tensors | Adam | SGD |"
    assert lines[2] == "| between two forward passes | 4 × 2,000 | 2.50× (fused) | 2.50× |"
    assert len([line for line in lines if line.startswith("| ")]) == 2 + len(tables)
    assert "against torch's fastest mode: Adam 2.5× and SGD 2.5×." in speed.between_passes()


def test_a_driver_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 runs more took 30 MB and 2 s more: 30 kB and 2 ms each."""
    few = {"runs": 500, "seconds": _spread(3.0), "peak": 40_000_000}
    many = {"runs": 1_500, "seconds": _spread(5.0), "peak": 70_000_000}
    record = {**base.recorded("lanes"), "tables": {"x": [few, many]}}
    monkeypatch.setattr(base, "recorded", lambda name: record)
    assert "| 1,500 | 5.00 s | 70 MB |" in races.driver().splitlines()
    assert "Every further run takes 30 kB and 2.0 ms." in races.driver()


def test_what_is_not_recorded_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base.recorded.cache_clear()
    monkeypatch.setattr(base, "RESULTS", tmp_path)
    for make in (*render.figures.BLOCKS.values(), *render.figures.VALUES.values()):
        text = make()
        assert "ot recorded yet" in text or "not yet" in text or not text.strip("*\n")
    base.recorded.cache_clear()


def test_an_interrupted_benchmark_continues(tmp_path: Path) -> None:
    program = """
import sys, pathlib
sys.path.insert(0, {folder!r}); sys.argv = ["sample.py", *sys.argv[1:]]
import common
common.RESULTS = pathlib.Path({results!r})
options = common.parser("a sample").parse_args()
record = common.Record("sample", options)
def case(name):
    print("measured", name)
    if name == "b" and "--fail" in {fail!r}: raise SystemExit(3)
    return {{"name": name, "met": None}}
rows = [record.case(name, lambda name=name: case(name)) for name in "ab"]
record.table("sample", {{"name": "{{name}}"}}, rows)
record.close()
"""

    def run(*arguments: str, fail: bool = False) -> subprocess.CompletedProcess[str]:
        text = program.format(
            folder=str(ROOT / "benchmarks"), results=str(tmp_path), fail="--fail" * fail
        )
        return subprocess.run(
            [sys.executable, "-c", text, *arguments], capture_output=True, text=True, check=False
        )

    assert run(fail=True).returncode == 3
    assert not (tmp_path / "sample.json").exists()
    second = run()
    assert "measured b" in second.stdout
    assert "measured a" not in second.stdout
    recorded = json.loads((tmp_path / "sample.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in recorded["tables"]["sample"]] == ["a", "b"]
    assert recorded["seconds"] >= 0
    assert recorded["command"] == "python benchmarks/sample.py"
    assert not list(tmp_path.glob("*.part.json"))
    assert run(fail=True).returncode == 3
    assert "measured a" in run("--fresh").stdout
    assert run(fail=True).returncode == 3
    other = run("--threads", "1")  # another setting: what was measured does not belong to it
    assert "measured a" in other.stdout
    assert "another setting" in other.stderr
