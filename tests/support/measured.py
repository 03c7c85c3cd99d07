"""Results as ``f2edge bench --json`` and ``f2edge eval --json`` print them, without a device that measures them."""

from __future__ import annotations

from typing import Any

from f2edge.measuring.statistics import statistics
from tests.support import schemas

STATE = {
    "governor": "performance",
    "clock_mhz": 2400.0,
    "clock_max_mhz": 2400.0,
    "temperatures_c": {"cpu": 61.5},
    "load": 0.2,
    "on_battery": False,
    "throttle_events": 0,
    "throttled": False,
}
VERSIONS = {"f2edge": "0.1.0", "numpy": "2.4.6", "pillow": "13.0.0", "tokenizers": "0.23.3", "openvino": "2026.4.1"}
START = {"load_ms": 900.0, "first_answer_ms": 700.0, "process_ms": 2100.0, "processes": 1}
ENERGY = {
    "source": "RAPL",
    "parts": ["package-0"],
    "joules": 48.0,
    "watts": 9.5,
    "answers": 12,
    "joules_per_answer": 4.0,
}


def measurement(runs: int = 12, slower: float = 1.0, **fields: Any) -> dict[str, Any]:
    """Return the JSON of a measurement; ``fields`` replace its own."""
    times = [slower * (100.0 + run) for run in range(runs)]
    shares = {"preprocess": 0.01, "vision": 0.5, "encoder": 0.1, "decode": 0.389, "postprocess": 0.001, "total": 1.0}
    samples = {stage: [round(share * ms, 4) for ms in times] for stage, share in shares.items()}
    samples = {"load": [900.0], "first_answer": [700.0], **samples}
    value = {
        **_question(),
        "runs": runs,
        "stages_ms": {stage: statistics(taken) for stage, taken in samples.items()},
        "samples_ms": samples,
        **_machine(),
        "scenario": "single",
        "seconds": sum(times) / 1e3,
        "answers_per_s": 1e3 * runs / sum(times),
        "starts": {"cold": START, "warm": START},
        "curve": [],
        "warnings": [],
        "command": "f2edge bench florence-2-base.int8",
        **fields,
    }
    schemas.check("bench", value)
    return value


def _question() -> dict[str, Any]:
    return {
        "bundle_sha256": "a" * 64,
        "bundle": "florence-2-base.int8",
        "target": "cpu",
        "precision": dict.fromkeys(("vision", "encoder", "decoder"), "int8"),
        "task": "<CAPTION>",
        "tokens": 32,
        "steps": 31,
        "num_beams": 3,
        "image_size": [768, 768],
        "warmup": 2,
        "excluded": "The start of Python.",
        "date": "2026-11-20T10:00:00+00:00",
        "workers": 1,
        "batch": 1,
    }


def _machine() -> dict[str, Any]:
    device = {
        "platform": "Linux",
        "python": "3.11.7",
        "cpu": "AMD EPYC",
        "cores": 2,
        "runtime": "openvino",
        "device": "CPU",
    }
    conditions = {"board": None, "before": STATE, "after": STATE, "clock_mhz": 2400.0, "hottest_c": 61.5}
    return {
        "peak_rss_mib": 635.0,
        "mean_rss_mib": 620.0,
        "threads": 2,
        "device": device,
        "versions": VERSIONS,
        "energy": ENERGY,
        "conditions": {**conditions, "contention": {"others": 0.0, "stolen": 0.0, "processors": 2}},
    }


def sustained(points: int = 60) -> dict[str, Any]:
    """Return the JSON of a long measurement of a device that slows down."""
    curve = [
        {
            "seconds": 5.0 * index,
            "answers": 3,
            "p50_ms": 100.0 + index,
            "clock_mhz": 2000.0,
            "hottest_c": 60.0,
            "watts": None,
        }
        for index in range(points)
    ]
    return measurement(scenario="sustained", curve=curve)


def compared(ratio: float = 1.05) -> dict[str, Any]:
    """Return the JSON of two bundles that were compared, of which the first takes that part of the time."""
    one = {"ratio": ratio, "low": ratio - 0.02, "high": ratio + 0.02, "differs": abs(ratio - 1) > 0.02}
    comparison = {"ratios": {"vision": one, "total": one}, "rounds": 30, "level": 0.99, "resamples": 2000}
    other = measurement(bundle="other.int8", bundle_sha256="b" * 64)
    return measurement(slower=ratio, against=other, comparison=comparison)


def evaluation(bundle_sha256: str = "a" * 64, value: float | None = 0.905) -> dict[str, Any]:
    """Return the JSON of an evaluation of one bundle."""
    low, high = (None, None) if value is None else (value - 0.01, value + 0.01)
    result = {
        "data": {
            "path": "data/coco",
            "kind": "COCO",
            "pictures": 200,
            "skipped": [],
            "left_out": [],
            "questions": {"<OD>": 200},
        },
        "num_beams": None,
        "interrupted": False,
        "interval": {"level": 0.95, "method": "bootstrap over pictures", "resamples": 500},
        "bundles": [
            {
                "bundle": "florence-2-base.int8",
                "bundle_sha256": bundle_sha256,
                "refused": 0,
                "metrics": {"<OD>": {"map": {"value": value, "low": low, "high": high, "count": 200}}},
                "confidence": [],
            }
        ],
    }
    schemas.check("eval", result)
    return result
