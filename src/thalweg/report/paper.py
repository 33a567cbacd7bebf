"""A race as a paper needs it: a paragraph on the method, and the works it cites."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from ..records import Citation, OptimizerResult, RaceDocument, Search, Setting
from ..rules.citations import Work, find, tex
from . import text

_METHOD: dict[tuple[str, int | None], Work] = {}  # by title and year


def _work(kind: str, authors: str, year: int, title: str, venue: str, **details: Any) -> Citation:
    work = Work(kind, authors, year, title, venue, **details)
    _METHOD[title, year] = work
    return Citation(**vars(work.reference))


_BOOTSTRAP = (
    _work(
        "article",
        "Efron, Bradley",
        1987,
        "Better Bootstrap Confidence Intervals",
        "Journal of the American Statistical Association",
        volume=82,
        number=397,
        pages="171–185",
    ),
    _work(
        "article",
        "Hesterberg, Tim C.",
        2015,
        "What Teachers Should Know About the Bootstrap",
        "The American Statistician",
        volume=69,
        number=4,
        pages="371–386",
    ),
)
_FLIPS = _work(
    "article",
    "Pitman, Edwin J. G.",
    1937,
    "Significance Tests Which May Be Applied to Samples from Any Populations",
    "Supplement to the Journal of the Royal Statistical Society",
    volume=4,
    number=1,
    pages="119–130",
)
_HOLM = _work(
    "article",
    "Holm, Sture",
    1979,
    "A Simple Sequentially Rejective Multiple Test Procedure",
    "Scandinavian Journal of Statistics",
    volume=6,
    number=2,
    pages="65–70",
)
_MAX_T = _work(
    "book",
    "Westfall, Peter H. and Young, S. Stanley",
    1993,
    "Resampling-Based Multiple Testing: Examples and Methods for p-Value Adjustment",
    "Wiley",
)
_HALVING = _work(
    "inproceedings",
    "Jamieson, Kevin and Talwalkar, Ameet",
    2016,
    "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
    "AISTATS",
    pages="240–248",
)
_SOBOL = _work(
    "article",
    "Owen, Art B.",
    1998,
    "Scrambling Sobol' and Niederreiter-Xing Points",
    "Journal of Complexity",
    volume=14,
    number=4,
    pages="466–489",
)
_OPTUNA = _work(
    "inproceedings",
    "Akiba, Takuya and Sano, Shotaro and Yanase, Toshihiko and Ohta, Takeru and Koyama, Masanori",
    2019,
    "Optuna: A Next-generation Hyperparameter Optimization Framework",
    "KDD",
    pages="2623–2631",
)
_SAMPLERS = {
    "grid": ("on a logarithmic grid", None),
    "given": ("in a list of the same length for each", None),
    "sobol": ("at scrambled Sobol points", _SOBOL),
    "optuna": ("by the TPE sampler of Optuna", _OPTUNA),
}


def citations(summary: RaceDocument) -> list[Citation]:
    """The works that a paper on this race would cite: of the optimizers, then of the method.

    Args:
        summary: the document of the race.
    """
    own = [entry.citation for entry in summary.optimizers]
    search = summary.search or Search()
    sampler = _SAMPLERS.get(search.sampler, ("", None))[1]
    method = [sampler, _HALVING if search.stopped else None, *_BOOTSTRAP, _FLIPS]
    method.append(_adjustment(summary)[1])
    found: dict[str, Citation] = {}
    for work in [*own, *method]:
        if work is not None:
            found.setdefault(key(work), work)
    return list(found.values())


def paragraph(summary: RaceDocument) -> str:
    """How the race was run, in the words of a paper's section on method; plain text."""
    setting, search = summary.setting, summary.search or Search()
    entries, metric = summary.optimizers, summary.setting.metric.name
    if not entries or not setting.seeds:
        return ""
    names = [_cited(e) for e in entries]
    tuned = [_WORDS.get(name, name) for name in search.tune]
    tuned = ["all hyperparameters"] if "all" in tuned else tuned
    where, sampler = _SAMPLERS.get(search.sampler, ("", None))
    where += f" ({_short(sampler)})" if sampler else ""
    sentences = [
        f"We compare {len(entries)} optimizer{'s' * (len(entries) > 1)} on {summary.task} "
        f"({_size(setting.train)} training, {_size(setting.validation)} validation "
        f"and {_size(setting.test)} test samples; {_size(setting.parameters)} "
        f"parameters): {_listed(names)}.",
        f"Every optimizer was given {_each(entries)}; {_listed(tuned)} "
        f"{'was' if len(tuned) == 1 and 'all' not in tuned[0] else 'were'} searched {where}, "
        f"each configuration trained with {_size(setting.tuning_seeds or 1)} seeds for "
        f"{text.number(setting.epochs)} epochs{_batches(setting, search)}"
        f"{_fixed(search)}.",
    ]
    if search.stopped:
        sentences.append(
            f"Configurations that fell behind were stopped by successive halving "
            f"({_short(_HALVING)}), which saved {100 * (search.saved or 0):.0f} % of the "
            "search's steps."
        )
    sentences += [
        f"For each optimizer the configuration with the best mean validation {metric} was trained "
        f"again with {setting.seeds} fresh seeds, which fix {_varied(setting)} and are shared by "
        "all optimizers, and evaluated once on the test set.",
        f"We report means with 95 % BCa bootstrap intervals ({_short(_BOOTSTRAP[0])}; "
        f"{_short(_BOOTSTRAP[1])}) and paired sign-flip tests ({_short(_FLIPS)}) against the "
        f"best, adjusted by {_adjustment(summary)[0]} ({_short(_adjustment(summary)[1])}); an "
        "optimizer ties for first unless it is significantly worse at the 5 % level and by at "
        f"least {text.margin(setting.metric)} in {metric}.",
        f"Runs used thalweg {summary.environment.thalweg} on PyTorch {summary.environment.torch}.",
    ]
    return " ".join(sentences)


def bibtex(summary: RaceDocument) -> str:
    """The works of `citations` as BibTeX entries, a person's own rule's as it was given."""
    return "\n\n".join(map(_entry, citations(summary)))


def _entry(work: Citation) -> str:
    if known := _METHOD.get((work.title, work.year)) or find(work.title, work.year):
        return known.bibtex(key(work))
    return (
        f"@misc{{{key(work)},\n"
        f"  author = {{{_authors(work.authors)}}},\n"
        f"  title = {{{{{tex(work.title)}}}}},\n"
        f"  year = {{{tex(str(work.year))}}},\n"
        f"  howpublished = {{{tex(work.where)}}}\n}}"
    )


def key(work: Citation) -> str:
    """A BibTeX key: first author, year, first long word of the title."""
    first = re.split(r"[,&]| et al", work.authors)[0]
    word = next((w for w in re.findall(r"\w+", work.title) if len(w) > 3), "")
    plain = unicodedata.normalize("NFKD", f"{first}{work.year}{word}")
    return re.sub(r"[^a-z0-9]", "", plain.encode("ascii", "ignore").decode().lower())


def _adjustment(summary: RaceDocument) -> tuple[str, Citation]:
    """How p-values were adjusted, and the work that says so; Holm's method in older documents."""
    if summary.setting.adjustment == "max-t":
        return "the step-down max-T method under the same sign flips", _MAX_T
    return "Holm's method", _HOLM


_WORDS = {"lr": "the learning rate", "batch_size": "the batch size", "weight_decay": "weight decay"}


def _cited(entry: OptimizerResult) -> str:
    work = entry.citation
    return f"{entry.name} ({_short(work)})" if work else entry.name


def _short(work: Citation) -> str:
    names = re.split(r", | & ", work.authors)
    who = f"{names[0]} et al." if len(names) > 2 else " & ".join(names)
    return f"{who}, {work.year}"


def _each(entries: Sequence[OptimizerResult]) -> str:
    counts = {entry.configurations for entry in entries}
    number = text.count(max((c for c in counts if c), default=None))
    return f"{'' if len(counts) == 1 else 'up to '}{number} configurations"


def _varied(setting: Setting) -> str:
    """What a seed decides."""
    if setting.weights is not None and setting.weights.startswith("given"):
        return "the order of the data and what models draw as they train, but not initial weights,"
    return "initial weights and order of the data"


def _batches(setting: Setting, search: Search) -> str:
    """How many steps that is, where the batch size was not searched."""
    if {"all", "batch_size"} & set(search.tune):
        return ""
    steps, size = _size(setting.steps), _size(setting.batch_size)
    return f" ({steps} steps in batches of {size})"


def _fixed(search: Search) -> str:
    fixed = ", ".join(f"{name} {value}" for name, value in search.fixed.items())
    return f", all with {fixed}" if fixed else ""


def _size(value: float | None) -> str:
    known = text.finite(value)
    return "an unknown number of" if known is None else f"{known:,.0f}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


def _authors(names: str) -> str:
    """Names as BibTeX parts them: "A, B & C" is "A and B and C", "et al." is "and others"."""
    return tex(re.sub(r",? et al\.?", " and others", re.sub(r", | & ", " and ", names)))
