"""Put the recorded ratios into the README, between its two marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
LARGE = "1x25M"  # the shapes that memory alone limits
MARKS = "<!-- benchmarks -->", "<!-- /benchmarks -->"


def recorded(name: str) -> dict[str, Any]:
    """What a benchmark recorded last."""
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def exists(name: str) -> bool:
    """Whether a benchmark has been recorded."""
    return (HERE / "results" / f"{name}.json").exists()


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


def races(record: dict[str, Any]) -> list[str]:
    """One sentence on a whole race."""
    (_, rows), *_ = record["tables"].items()
    each = ", ".join(f"{row['ratio']:.1f}× as fast as {row['title']}" for row in rows)
    return [
        "",
        f"A race of {rows[0]['runs']:,} runs of {rows[0]['steps']} steps takes "
        f"{rows[0]['ours_total']:.0f} s, from start to end: {each} over the same runs.",
    ]


def first(record: dict[str, Any]) -> list[str]:
    """One sentence on the first step in a fresh process."""
    (_, rows), *_ = record["tables"].items()
    own = {cache: [row["rest"]["median"] for row in rows if row["cache"] == cache and row["target"]]
           for cache in ("cold", "warm")}  # fmt: skip
    return [
        "",
        "First step of a fresh process, beside torch's import of its own compiler: "
        f"{min(own['cold']):.2f} to {max(own['cold']):.2f} s where the kernel has to be "
        f"compiled, {min(own['warm']):.2f} to {max(own['warm']):.2f} s where that was done.",
    ]


def roofline(record: dict[str, Any]) -> list[str]:
    """A row per rule: the share of the roof's bandwidth, and the ratio to torch, on large tensors.

    Args:
        record: of `thalweg bench`.
    """
    rows = [row for row in record["rows"] if row["shapes"] == LARGE and "bandwidth" in row]
    cells = [
        (
            row["rule"],
            f"{sum(row['bytes'].values()):.4g}",
            f"{row['bandwidth']['thalweg']:.0f}",
            f"{row['bandwidth']['pattern']:.0f}",
            f"{row['share']['median']:.0%}",
            f"{row['bandwidth'][row['best']]:.0f}" if row["best"] else "–",
        )
        for row in rows
    ]
    head = ("rule", "bytes", "thalweg", "the bytes alone", "share", "torch's fastest mode")
    return [
        "",
        f"Bandwidth of a step in GB/s, {LARGE} float32: bytes that it must move per parameter over "
        "its time, beside a kernel",
        "that moves the same bytes and computes next to nothing "
        "([`thalweg bench`](docs/bench.md)).",
        "",
        *(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *cells)),
    ]


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
        *(roofline(recorded("roofline")) if exists("roofline") else []),
        "",
        lanes(lane),
        *(races(recorded("race_speed")) if exists("race_speed") else []),
        *(first(recorded("first_step")) if exists("first_step") else []),
        MARKS[1],
    ]
    text = README.read_text(encoding="utf-8")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    README.write_text(before + "\n".join(section) + after, encoding="utf-8")


if __name__ == "__main__":
    main()
