"""Put the recorded ratios into the README, between its two marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
MARKS = "<!-- benchmarks -->", "<!-- /benchmarks -->"


def recorded(name: str) -> dict[str, Any]:
    """What a benchmark recorded last."""
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def steps(record: dict[str, Any]) -> list[str]:
    """A row per optimizer: how many times faster than torch's fastest mode, for every shape."""
    tables = {k: v for k, v in record["tables"].items() if k.startswith("One step")}
    shapes = [title.removeprefix("One step, ").removesuffix(" float32") for title in tables]
    found: dict[str, list[str]] = {}
    for rows in tables.values():
        for row in rows:
            own = f"{row['ratio']:.2f}×" + (" (fused)" if row["mode"] == "fused" else "")
            found.setdefault(row["optimizer"], []).append(own)
    return [
        f"| {' | '.join(['optimizer', *shapes])} |",
        f"|{'---|' * (1 + len(shapes))}",
        *(f"| {' | '.join([name, *ratios])} |" for name, ratios in found.items()),
    ]


def lanes(record: dict[str, Any]) -> str:
    """One sentence on training many runs at once."""
    (title, rows), *_ = record["tables"].items()
    each = "; ".join(
        f"{row['runs']} against torch's {row['mode']}: {row['ratio']:.1f}×" for row in rows
    )
    return f"Many runs at once ({title}) against a plain torch loop over the same runs: {each}."


def main() -> None:
    """Write the section anew from what is in benchmarks/results."""
    step, lane = recorded("step"), recorded("lanes")
    machine = step["environment"]
    section = [
        MARKS[0],
        "Times faster than the fastest of torch's own modes (loop, foreach, fused), float32,",
        f"tensors × elements; medians of one run on {machine['processor']}, {machine['cores']} "
        f"cores, torch {machine['torch']}. `make bench` repeats it;",
        "[quartiles, targets and the machine's load](benchmarks/results) are recorded with it.",
        "",
        *steps(step),
        "",
        lanes(lane),
        MARKS[1],
    ]
    text = README.read_text(encoding="utf-8")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    README.write_text(before + "\n".join(section) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
