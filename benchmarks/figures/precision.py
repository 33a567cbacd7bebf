"""Losses, errors and memory: state in fewer bytes, scalars in float32, steps in backward."""

from __future__ import annotations

from .base import Row, percent, recorded, rows, source, table

MARGIN = 0.02  # of the loss in float32, as in benchmarks/fewer_bytes.py


def _cells() -> dict[str, list[Row]]:
    """The ways to keep numbers, float32 first, by task and optimizer."""
    found: dict[str, list[Row]] = {}
    for row in rows("fewer_bytes"):
        found.setdefault(f"{row['task']}, {row['optimizer']}", []).append(row)
    return found


def fewer_bytes() -> str:
    """The change of the final loss, in percent of that in float32, by task and way to keep it."""
    found = _cells()
    kinds = [f"{row['parameters']} / {row['state']}" for row in next(iter(found.values()))[1:]]

    def cell(row: Row, loss: float) -> str:
        mean, low, high = (100 * row[key] / loss for key in ("difference", "low", "high"))
        return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"

    cells = [
        (name, *(cell(row, full["loss"]) for row in others))
        for name, (full, *others) in found.items()
    ]
    return f"{table(['', *kinds], cells)}\n\n{source('fewer_bytes')}"


def fewer_bytes_verdict() -> str:
    """The numbers of cells that differ, and that lie within the margin, in sentences."""
    kept = [row for _, *others, _ in _cells().values() for row in others]
    control = [own[-1] for own in _cells().values()]
    differ = sum(row["adjusted_p"] < 0.05 for row in kept)
    within = sum(-row["margin"] < row["low"] and row["high"] < row["margin"] for row in kept)
    worse = sum(row["adjusted_p"] < 0.05 and row["difference"] > 0 for row in control)
    return (
        f"In the first five columns {differ} of {len(kept)} cells differ significantly from "
        "float32 (sign-flip test, Holm over the six of a row). In "
        f"{within} of them the interval lies within ±{percent(MARGIN)}, which was set as the "
        "margin that matters. Where it is wider, ten seeds do not say that there is no "
        "difference, only that none was seen.\n\nThe last column, bfloat16 parameters rounded to "
        "the nearest, is there to show that the test would see a difference: "
        f"{worse} of its {len(control)} rows are significantly worse."
    )


def int8_blocks() -> str:
    """The length of paths by 8-bit state over that by float32, by the gradients' size and kind."""
    found = rows("int8_blocks")
    sizes = list(dict.fromkeys(row["gradient"] for row in found))
    cells: dict[tuple[str, str], list[str]] = {}
    for row in found:
        own = cells.setdefault((row["kind"], row["state"]), [])
        own.append(_factor(row["times"]))
    head = ["gradients", "state", *(f"{_power(size)} of the largest" for size in sizes)]
    made = table(head, [(*key, *own) for key, own in cells.items()])
    return f"{made}\n\n{source('int8_blocks')}"


def _factor(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def jax_scalars(rule: str) -> str:
    """The error of a rule's first steps with 1 − βᵗ as a plain difference in float32."""
    (row,) = (row for row in rows("jax_scalars") if row["rule"] == rule)
    return _power(row["plain"])


def closeness() -> str:
    """The farthest that a parameter of any class ends from torch's loop: ours, torch's foreach."""
    most = {
        side: max(row["units"] for row in rows("closeness") if row["contender"] == side)
        for side in (_OURS, "foreach")
    }
    return (
        f"{most[_OURS]:,.0f} units in the last place from torch's loop, and at most "
        f"{most['foreach']:,.0f} under torch's own foreach mode"
    )


def closeness_of_classes() -> str:
    """A row per class: how far the farthest parameter ends from torch's loop, by contender."""
    found: dict[str, dict[str, str]] = {}
    for row in rows("closeness"):
        found.setdefault(row["name"], {})[row["contender"]] = f"{row['units']:,.0f}"
    sides = (_OURS, "foreach", "fused")
    cells = [(f"`{name}`", *(own.get(side, "–") for side in sides)) for name, own in found.items()]
    head = ["class", "thalweg", "torch's foreach", "torch's fused"]
    return f"{table(head, cells)}\n\n{source('closeness')}"


_OURS = "thalweg"


def step_in_backward() -> str:
    """Peak memory and time by the bytes that step together."""
    (title,) = recorded("step_in_backward")["tables"]
    found = rows("step_in_backward")
    cells = [
        (
            row["way"] if row["way"] == "plain" else f"in backward, {row['way']}",
            f"{row['peak']:,.0f} MB",
            f"{row['time']:.2f} ({row['time_low']:.2f} to {row['time_high']:.2f})",
        )
        for row in found
    ]
    head = ["steps", "peak", "time, of the plain step's (quartiles)"]
    gradients = f"{title}: {found[0]['gradients']:,.0f} MB of gradients."
    return f"{gradients}\n\n{table(head, cells)}\n\n{source('step_in_backward')}"


def _power(value: float) -> str:
    """A number to one digit, as 6·10⁻³."""
    digit, _, exponent = f"{value:.0e}".partition("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digit}·10{raised}" if digit != "1" else f"10{raised}"
