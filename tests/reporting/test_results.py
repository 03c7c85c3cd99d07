"""What files a report reads, and what it makes of them beside the page."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.errors import InputError
from f2edge.reporting.bencher import bencher
from f2edge.reporting.markdown import markdown
from f2edge.reporting.results import Results, read_results
from tests.support.measured import compared, evaluation, measurement

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, *values: Any) -> list[Path]:
    """Write each value into a file of its own."""
    paths = [folder / f"{index}.json" for index, _ in enumerate(values)]
    for path, value in zip(paths, values, strict=True):
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    return paths


def test_accuracy_belongs_to_the_very_bundle(tmp_path: Path) -> None:
    """Metrics stand beside a measurement if the manifests are the same, whatever the bundles are called."""
    other = measurement(bundle_sha256="c" * 64)
    found = read_results(written(tmp_path, measurement(), other, evaluation()))
    assert [len(found.accuracy(one)) for one in found.measured] == [1, 0]
    table = markdown(found, "Results")
    assert table.count("90.5 (od mAP)") == 1
    assert "| florence-2-base.int8 | od | mAP | 90.5 [89.5, 91.5] |" in table


def test_both_bundles_of_a_comparison_have_rows(tmp_path: Path) -> None:
    """A comparison is two measurements, and a sentence."""
    found = read_results(written(tmp_path, compared(1.05)))
    assert [one.bundle for one in found.measured] == ["florence-2-base.int8", "other.int8"]
    sentence = "florence-2-base.int8 takes 1.050 of the time of other.int8 (99% interval 1.030 to 1.070): a difference"
    assert sentence in markdown(found, "Results")


def test_unequal_work_is_told(tmp_path: Path) -> None:
    """Two bundles whose answers differ in length did not do the same work."""
    found = read_results(written(tmp_path, {**compared(1.05), "tokens": 40}))
    assert "other.int8, but their answers have 40 and 32 tokens (99% interval" in markdown(found, "Results")


def test_percentiles_of_few_runs_are_left_out() -> None:
    """A result of an early version has a 99th percentile of a few runs, which no report shows."""
    old = measurement(runs=9)
    old["stages_ms"]["total"] |= {"p90": 777.0, "p99": 777.0}
    found = Results.of([("old", old)])
    assert found.measured[0].statistics("total")[:3] == [104.0, None, None]
    assert "777" not in markdown(found, "Results") + str(bencher(found))


def test_fields_of_other_versions() -> None:
    """A result of a version before the scenarios is read, and so is one of a later version with more fields."""
    old = measurement()
    for field in ("bundle", "target", "precision", "scenario", "date", "energy", "starts", "conditions", "warnings"):
        del old[field]
    later = {**measurement(), "later": 1, "energy": {**measurement()["energy"], "later": [2]}}
    found = Results.of([("old", old), ("later", later)])
    assert [one.scenario for one in found.measured] == ["single", "single"]
    assert "| bundle aaaaaaaa | AMD EPYC |" in markdown(found, "Results")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "is no JSON"),
        ('{"stages_ms": NaN}', "NaN is no number"),
        ("[" * 100_000, "is no JSON"),
        ('{"stages_ms": 1e400}', "1e400 is larger than anything that is measured"),
        ('{"stages_ms": ' + "9" * 5000 + "}", "is larger than anything that is measured"),
        ([], "is neither of f2edge bench nor of f2edge eval"),
        ({"images": []}, "is neither of f2edge bench nor of f2edge eval"),
        ({**measurement(), "runs": "ten"}, "is damaged (bench.runs is 'ten', not int)"),
        ({**measurement(), "samples_ms": {"total": []}}, "there are no times of the stage total"),
        ({**measurement(), "stages_ms": {"total": {"p50": None}}}, "there are no times of the stage total"),
        ({**compared(), "comparison": {"ratios": {}, "rounds": 1, "level": 0.99}}, "ratios has no total"),
        ({**compared(), "comparison": None}, "is damaged (comparison is None"),
        ({**evaluation(), "bundles": [{"bundle": 3}]}, "eval.bundles[0].bundle is 3, not str"),
        (evaluation(), "there is no measurement among the files"),
    ],
)
def test_a_bad_file_is_named_in_one_line(value: Any, reason: str, tmp_path: Path) -> None:
    """The error names what is wrong, and the file unless all of them are meant."""
    with pytest.raises(InputError) as error:
        read_results(written(tmp_path, value))
    assert reason in str(error.value)
    assert "0.json" in str(error.value) or "among the files" in reason
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(InputError, match=r"none\.json: No such file"):
        read_results([tmp_path / "none.json"])


def test_doubtful_rows_are_marked() -> None:
    """Markdown marks a row under bad conditions, says why, and how to repeat each row."""
    doubtful = measurement(warnings=["the machine ran on its battery"], bundle="b.int8", command="f2edge bench b.int8")
    text = markdown(Results.of([("one", measurement()), ("two", doubtful)]), "Results")
    assert "| b.int8 \N{WARNING SIGN} |" in text
    assert "- b.int8 on AMD EPYC: the machine ran on its battery." in text
    assert "```text\nf2edge bench florence-2-base.int8\nf2edge bench b.int8\n```" in text


def test_markdown_of_strangers_is_text() -> None:
    """What files say cannot add links, columns, lines or code to the table."""
    nasty = measurement(bundle="a|b\n# c [d](e) <img>", command="x\n```\n# y")
    text = markdown(Results.of([("one", nasty)]), "T")
    assert "a\\|b \\# c \\[d\\](e) \\<img\\>" in text
    assert text.count("\n# ") == 0
    assert text.count("```") == 3  # two fences, and three backticks within a line of code


def test_benchers_format() -> None:
    """Latency is in nanoseconds, throughput in answers a second; what was not measured is left out."""
    values = bencher(Results.of([("one", measurement(energy=None, starts=None))]))
    ((name, measures),) = values.items()
    assert name == "florence-2-base.int8 / AMD EPYC / single / caption, 32 tokens, 3 beams"
    assert set(measures) == {"latency", "throughput", "peak-memory", "load"}
    assert measures["latency"]["value"] == pytest.approx(105.5e6)
    assert measures["latency"]["lower_value"] == pytest.approx(100e6)
    assert measures["latency"]["upper_value"] == pytest.approx(109.9e6)
    assert measures["peak-memory"] == {"value": 635.0 * 2**20}
    assert all(math.isfinite(value) for measure in measures.values() for value in measure.values())


def test_shares_of_batches_are_no_latency() -> None:
    """A measurement of throughput has no latency in any report."""
    found = Results.of([("one", measurement(scenario="offline", workers=2, batch=4))])
    assert "latency" not in next(iter(bencher(found).values()))
    assert "p50" not in markdown(found, "Results")
