"""Times: steps, many runs at once, whole races, first steps."""

from __future__ import annotations

from thalweg.bench.contenders import OURS

from .base import Row, exists, listed, percent, recorded, rows, source, table

LARGE = "1x25M"  # the shapes whose steps memory alone bounds
SHAPES = {LARGE: "1 × 25,000,000", "1000x1000": "1,000 × 1,000", "4x2000": "4 × 2,000"}


def _steps(shapes: str) -> dict[str, Row]:
    return {row["name"]: row for row in rows("step", f"One step, {shapes}") if "seconds" in row}


def _against(row: Row | None) -> str:
    if row is None or row["best"] is None:
        return "–"
    fused = " (fused)" if row["best"] == "torch fused" else ""
    return f"{row['against'][row['best']]['median']:.2f}×{fused}"


def steps() -> str:
    """A row per rule: its bandwidth, its share of it, and how many times as fast as torch."""
    found = {shapes: _steps(shapes) for shapes in SHAPES}
    head = [
        "rule",
        "bytes",
        "GB/s",
        "of the bytes alone",
        *(f"× torch, {title}" for title in SHAPES.values()),
    ]
    cells = [
        (
            name,
            f"{sum(row['bytes'].values()):.4g}",
            f"{row['bandwidth'][OURS]:.0f}",
            percent(row["share"]["median"]),
            *(_against(found[shapes].get(name)) for shapes in SHAPES),
        )
        for name, row in found[LARGE].items()
    ]
    return f"{table(head, cells)}\n\n{source('step')}"


def shares() -> str:
    """The shares of the bandwidth that steps of large tensors reach, in a phrase."""
    found = {name: row["share"]["median"] for name, row in _steps(LARGE).items()}
    low = sorted(found, key=lambda name: found[name])[:3]
    least = listed([f"{name} ({percent(found[name])})" for name in low])
    near = sum(share >= 0.95 for share in found.values())
    return f"{near} of {len(found)} rules reach 95 % of it or more; the lowest are {least}"


def step_times(rule: str) -> str:
    """The time of a rule's step on the three lists of shapes, beside that of its bytes alone."""
    found = [(title, _steps(shapes)[rule]["seconds"]) for shapes, title in SHAPES.items()]
    cells = [
        (
            title,
            *(
                f"{seconds[key]['median'] * 1e6:,.0f} µs" if key in seconds else "–"
                for key in (OURS, "pattern", "torch loop", "torch foreach", "torch fused")
            ),
        )
        for title, seconds in found
    ]
    head = [f"a step of {rule}", "thalweg", "the bytes alone", "torch loop", "foreach", "fused"]
    return f"{table(head, cells)}\n\n{source('step')}"


def models() -> str:
    """A row per rule and model: share of the bandwidth, and how many times as fast as torch."""
    cells = [
        (
            row["shapes"],
            row["rule"],
            f"{row['bandwidth'][OURS]:.0f}",
            percent(row["share"]["median"]),
            _against(row),
        )
        for row in rows("roofline", "One step")
        if "seconds" in row
    ]
    head = ["shapes", "rule", "GB/s", "of the bytes alone", "× torch"]
    return f"{table(head, cells)}\n\n{source('roofline')}"


def training() -> str:
    """A row per optimizer and perceptron: a whole training step against torch's."""
    cells = [
        (
            title.partition(", ")[2],
            row["optimizer"],
            row["mode"],
            f"{row['theirs']:,.0f}",
            f"{row['ours']:,.0f}",
            f"{row['ratio']:.2f}× ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})",
        )
        for title, own in recorded("training")["tables"].items()
        for row in own
    ]
    head = ["model", "optimizer", "torch's best", "torch µs", "thalweg µs", "× torch (quartiles)"]
    return f"{table(head, cells)}\n\n{source('training')}"


def first_steps() -> str:
    """One sentence on the first step in a fresh process."""
    ours = [row for row in rows("first_step") if row["contender"] == OURS]
    own = {
        cache: [row["rest"]["median"] for row in ours if row["cache"] == cache]
        for cache in ("cold", "warm")
    }
    return (
        f"The first step of a fresh process takes {min(own['cold']):.2f} to "
        f"{max(own['cold']):.2f} s where its kernel has to be compiled, and "
        f"{min(own['warm']):.2f} to {max(own['warm']):.2f} s where the kernel is in the cache "
        f"({len(own['cold'])} rules; without the time in which torch imports its own compiler)."
    )


def lanes() -> str:
    """One sentence on training many runs at once."""
    (title,) = recorded("lanes")["tables"]
    task, runs, *_ = title.split(", ")
    each = [f"{r['ratio']:.1f}× ({r['runs']}, torch's {_MODES[r['mode']]})" for r in rows("lanes")]
    return (
        f"{runs} of {task}, trained at once as lanes, are so many times as fast as in a plain "
        f"torch loop: {listed(each)}."
    )


def recurrent() -> str:
    """A row per layer: how many times as fast a run is in lanes as alone, by hidden size."""
    (title,) = recorded("recurrent")["tables"]
    cells: dict[str, list[str]] = {}
    for row in rows("recurrent"):
        cells.setdefault(row["layer"], []).append(f"{row['ratio']:.1f}×")
    sizes = dict.fromkeys(f"hidden {row['hidden']}" for row in rows("recurrent"))
    made = table(["layer", *sizes], [(layer, *own) for layer, own in cells.items()])
    return f"{title}:\n\n{made}\n\n{source('recurrent')}"


_MODES = {"defaults": "defaults", "fastest": "fastest mode"}


def race_speed() -> str:
    """One sentence on a whole race."""
    found = rows("race_speed")
    each = listed([f"{r['ratio']:.1f}× as fast as {r['title']}" for r in found])
    return (
        f"A race of {found[0]['runs']:,} runs of {found[0]['steps']} steps takes "
        f"{found[0]['ours_total']:.0f} s from start to end: {each} over the same runs."
    )


SITUATIONS = (
    "Between two forward passes",
    "Gradients that come and go",
    "Construction and first step",
)


def small() -> str:
    """A row per situation and list of tensors: how many times as fast as torch, by optimizer."""
    cells: dict[tuple[str, str], list[str]] = {}
    for title in SITUATIONS:
        for row in rows("small", title):
            own = cells.setdefault((title.lower(), row["tensors"]), [])
            mode = "" if row["mode"] == "default" else f" ({row['mode']})"
            own.append(f"{row['ratio']:.2f}×{mode}")
    names = dict.fromkeys(row["optimizer"] for row in rows("small"))
    made = table(["", "tensors", *names], [(*key, *own) for key, own in cells.items()])
    return f"{made}\n\n{source('small')}"


def between_passes() -> str:
    """One sentence on steps whose state is in no cache."""
    found = rows("small", SITUATIONS[0])
    each = listed([f"{r['optimizer']} {r['ratio']:.1f}×" for r in found])
    return (
        f"Between two forward passes, whose data take the caches, a step of {found[0]['tensors']} "
        f"against torch's fastest mode: {each}."
    )


def speed() -> str:
    """Cold steps, lanes, races and first steps as a list, as far as they are recorded."""
    made = {
        "small": between_passes,
        "lanes": lanes,
        "race_speed": race_speed,
        "first_step": first_steps,
    }
    there = {name: text for name, text in made.items() if exists(name)}
    lines = "\n".join(f"- {text()}" for text in there.values())
    return f"{lines}\n\n{source(*there)}"
