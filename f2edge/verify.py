"""A device checks itself: the golden cases of a bundle, replayed component by component and end to end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from f2edge.bundle.golden import GoldenArrays
from f2edge.bundle.manifest import GOLDEN
from f2edge.decoding import generate
from f2edge.image import load_image, pixel_values

if TYPE_CHECKING:
    from typing import Any

    from f2edge.arrays import ByteArray, FloatArray, IntArray
    from f2edge.bundle.golden import GoldenCase
    from f2edge.bundle.manifest import Bundle
    from f2edge.engine import Features, PromptSession
    from f2edge.geometry import Geometry
    from f2edge.model import Florence2

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 0.1, "int8": 0.5}
"""Largest relative error of a component that passes where it is compiled, by its precision or what it computes in.

fp16 weights of an fp16 checkpoint are exact.  What INT8 costs is for ``f2edge eval`` to say; here only nonsense fails.
"""
_LIKE_THERE = 2.0
"""Elsewhere INT8 and bf16 may be off by no more than this many times what they were off where they were compiled."""


@dataclass(frozen=True)
class Check:
    """One component against the float reference: |x - reference| / |reference| over the golden values."""

    component: str
    precision: str
    relative_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; false where it is not a number."""
        return self.relative_error <= self.tolerance

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise in decibels."""
        return float(-20 * np.log10(max(self.relative_error, 1e-12)))


@dataclass(frozen=True)
class Agreement:
    """One golden answer against the reference's: the share of tokens that agree before the first difference."""

    task: str
    num_beams: int
    tokens: int
    agreeing: int

    @property
    def passed(self) -> bool:
        """Whether all tokens agree."""
        return self.agreeing == self.tokens


@dataclass(frozen=True)
class Report:
    """What :func:`verify` found.  It passes if every component does, and in fp32 every answer too."""

    device: str
    checks: tuple[Check, ...]
    agreements: tuple[Agreement, ...]

    @property
    def passed(self) -> bool:
        """The verdict.  Below fp32 a search may take another way at a near tie, which is reported, not failed."""
        exact = all(check.precision == "fp32" for check in self.checks)
        return all(c.passed for c in self.checks) and (not exact or all(a.passed for a in self.agreements))

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "device": self.device,
            "passed": self.passed,
            "components": {
                c.component: {
                    "precision": c.precision,
                    "relative_error": _json_number(c.relative_error),
                    "sqnr_db": _json_number(round(c.sqnr_db, 1)),
                    "tolerance": c.tolerance,
                    "passed": c.passed,
                }
                for c in self.checks
            },
            "answers": [
                {"task": a.task, "num_beams": a.num_beams, "tokens": a.tokens, "agreeing": a.agreeing}
                for a in self.agreements
            ],
        }


def verify(model: Florence2) -> Report:
    """Replay the golden cases on the model's device.

    The vision tower is given the golden picture.  Encoder and decoder are given the *golden* image features, so that
    an error of the tower does not count against them; the decoder stands on this device's encoder, and is fed the
    golden tokens one by one.  The answers are end to end, from the picture.
    """
    bundle, runtime = model.bundle, model.runtime
    golden = GoldenArrays.load(bundle.path / GOLDEN, len(bundle.golden))
    features = runtime.encode_image(golden_pixels(golden.picture, bundle.geometry))
    vision = relative_error(runtime.features_to_host(features), golden.image_features)
    exact = runtime.features_from_host(golden.image_features)
    errors = {"vision": vision, "encoder": 0.0, "decoder": 0.0}
    for index, case in enumerate(bundle.golden):
        session = runtime.start(exact, np.array(case.prompt_ids))
        cross = sample(session.cross_key_values(), golden.cross_index[index])
        logits = teacher_forced(session, case, golden)
        errors["encoder"] = _worst(errors["encoder"], relative_error(cross, golden.cross[index]))
        errors["decoder"] = _worst(errors["decoder"], relative_error(logits, golden.logits[index]))
    sound = np.isfinite(list(errors.values())).all()  # a search refuses what is not a number
    agreements = tuple(_agreement(model, features, case) if sound else _none_agrees(case) for case in bundle.golden)
    checks = tuple(
        Check(c.name, c.precision, errors[c.name], _tolerance(bundle, c.name)) for c in bundle.components.values()
    )
    return Report(runtime.device, checks, agreements)


def _tolerance(bundle: Bundle, component: str) -> float:
    """The decoder stands on the encoder, and cannot be nearer to the reference."""
    found = bundle.components[component]
    allowed = max(TOLERANCE[found.precision], TOLERANCE[found.compute])
    recorded = bundle.verified.get("components", {}).get(component, {}).get("relative_error")
    if allowed > TOLERANCE["fp16"] and recorded is not None:
        allowed = min(allowed, max(_LIKE_THERE * recorded, TOLERANCE["fp16"]))
    return max(allowed, _tolerance(bundle, "encoder")) if component == "decoder" else allowed


def golden_pixels(picture: ByteArray, geometry: Geometry) -> FloatArray:
    """The golden picture (H, W, 3), which has the model's size already, as pixel values."""
    return pixel_values(load_image(picture), geometry.image_size, geometry.image_mean, geometry.image_std)


def relative_error(values: FloatArray, reference: FloatArray) -> float:
    """Euclidean norm of the difference over that of the reference."""
    difference = float(np.linalg.norm((values.astype(np.float64) - reference).ravel()))
    norm = float(np.linalg.norm(reference.ravel()))
    return difference / norm if norm else difference and float("inf")


def sample(tensors: list[FloatArray], index: IntArray) -> FloatArray:
    """The values at ``index`` of all tensors, flattened and concatenated."""
    values: FloatArray = np.concatenate([tensor.ravel() for tensor in tensors])[index]
    return values


def teacher_forced(session: PromptSession, case: GoldenCase, golden: GoldenArrays) -> FloatArray:
    """Logits (tokens, columns) after each golden token but the last, at the golden columns."""
    beam = np.zeros(1, np.int64)
    rows = [session.step(np.array([token]), beam).fetch_logits()[0, golden.columns] for token in case.token_ids[:-1]]
    return np.stack(rows)


def _agreement(model: Florence2, features: Features, case: GoldenCase) -> Agreement:
    session = model.runtime.start(features, np.array(case.prompt_ids))
    answer = generate(session, model.settings(case.num_beams, case.max_new_tokens)).token_ids
    same = [ours == theirs for ours, theirs in zip(answer, case.token_ids, strict=False)]
    agreeing = same.index(False) if False in same else len(same)
    return replace(_none_agrees(case), agreeing=agreeing)


def _none_agrees(case: GoldenCase) -> Agreement:
    return Agreement(case.task, case.num_beams, len(case.token_ids), 0)


def _json_number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if np.isfinite(value) else None


def _worst(a: float, b: float) -> float:
    """The larger; not-a-number wins, which ``max`` would lose."""
    return float(np.maximum(a, b))
