"""What races leave on disk: its form, checked when it is read, and the files that hold it.

Every class below is a document or a part of one; its fields are the contract between what races
write and what reports, exports and `--json` show. `thalweg schema` prints it as JSON Schema.
"""

from __future__ import annotations

from .files import (
    Damaged,
    folder_name,
    json_safe,
    read_bytes,
    read_head,
    write,
    write_json,
    write_json_if_absent,
    write_to,
)
from .folder import check_folder, check_unfinished
from .race import RACE, Environment, Pair, Power, RaceDocument, Samples, Search, Setting, Verdict
from .races import RACES, OverTasks, Profile, RacesDocument, RacesVerdict, RankTest
from .reading import as_race, as_races, normalized, read, read_race, to_plain
from .results import (
    Band,
    BySeed,
    Citation,
    Curve,
    GoodRange,
    OptimizerResult,
    OtherResult,
    PerStep,
    ToTarget,
    Tried,
    VersusBest,
)
from .run import SCHEMA, Execution, MetricCurves, RecordFile, RunInfo, RunRecord, as_runs
from .store import Store, identity, write_group
from .values import Count, Document, Interval, Metric, Number, OtherMetric, Value

__all__ = [
    "RACE",
    "RACES",
    "SCHEMA",
    "Band",
    "BySeed",
    "Citation",
    "Count",
    "Curve",
    "Damaged",
    "Document",
    "Environment",
    "Execution",
    "GoodRange",
    "Interval",
    "Metric",
    "MetricCurves",
    "Number",
    "OptimizerResult",
    "OtherMetric",
    "OtherResult",
    "OverTasks",
    "Pair",
    "PerStep",
    "Power",
    "Profile",
    "RaceDocument",
    "RacesDocument",
    "RacesVerdict",
    "RankTest",
    "RecordFile",
    "RunInfo",
    "RunRecord",
    "Samples",
    "Search",
    "Setting",
    "Store",
    "ToTarget",
    "Tried",
    "Value",
    "Verdict",
    "VersusBest",
    "as_race",
    "as_races",
    "as_runs",
    "check_folder",
    "check_unfinished",
    "folder_name",
    "identity",
    "json_safe",
    "normalized",
    "read",
    "read_bytes",
    "read_head",
    "read_race",
    "to_plain",
    "write",
    "write_group",
    "write_json",
    "write_json_if_absent",
    "write_to",
]
