"""Replay the golden cases of a bundle on a device, component by component and end to end; of a backbone its maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from f2edge.bundle.golden import GoldenArrays, golden_pixels, relative_error, sample, teacher_forced
from f2edge.bundle.golden_maps import load_golden_maps
from f2edge.bundle.manifest import BACKBONE, GOLDEN
from f2edge.bundle.verified import Verified, VerifiedAnswer, VerifiedComponent
from f2edge.decoding import generate

if TYPE_CHECKING:
    from f2edge.backbone import Backbone
    from f2edge.bundle.golden import GoldenCase
    from f2edge.bundle.manifest import Bundle
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.engine import Features, Runtime

TOLERANCE = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 0.1, "int8": 0.5}
"""The largest relative error of a component that passes when it is compiled, by its precision or compute type.

fp16 weights of an fp16 checkpoint are exact.  ``f2edge eval`` measures what INT8 costs; here only gross errors fail.
"""
_LIKE_THERE = 2.0
"""On other machines the error of INT8 may be at most this many times the error recorded when compiled.

That of float graphs in bf16 may not depend on it: a machine without bf16 computed them in fp32, and was off by less."""
_UNCALIBRATED_LIKE_THERE = 4.0
"""The same for INT8 without calibration: there a CPU may round activations that the other did not.  ONNX Runtime, which
rounds them on every CPU, is off by 1.3 to 2.1 times as much as OpenVINO without rounding; bf16 adds to that."""


class Model(Protocol):
    """The model to verify: a bundle opened on a device, such as :class:`f2edge.Florence2`."""

    @property
    def bundle(self) -> Bundle:
        """The bundle, whose golden cases are replayed."""
        ...

    @property
    def runtime(self) -> Runtime:
        """The engine with its graphs."""
        ...

    def settings(self, num_beams: int, max_new_tokens: int, /) -> GenerationSettings:
        """Return the settings of the bundle with this number of beams and new tokens."""
        ...


def verify(model: Model) -> Verified:
    """Replay the golden cases on the device of the model.

    The vision tower gets the golden picture.  Encoder and decoder get the *golden* image features, so that an error of
    the tower does not count against them.  The decoder reads the output of the encoder on this device, and is fed the
    golden tokens one by one.  The answers are end to end, from the picture.
    """
    bundle, runtime = model.bundle, model.runtime
    golden = GoldenArrays.load(bundle.path / GOLDEN, len(bundle.golden))
    features = runtime.encode_image(golden_pixels(golden.picture, bundle.geometry))
    errors = {"vision": relative_error(runtime.features_to_host(features), golden.image_features)}
    errors |= _text_errors(bundle, runtime, golden)
    sound = np.isfinite(list(errors.values())).all()  # a search refuses what is not a number
    answers = tuple(_answer(case, _agreeing(model, features, case) if sound else 0) for case in bundle.golden)
    components = {
        name: VerifiedComponent.measured(component.precision, errors[name], _tolerance(bundle, name))
        for name, component in bundle.components.items()
    }
    return Verified.of(runtime.device, components, answers)


def verify_maps(backbone: Backbone) -> Verified:
    """Compute the maps of the golden pictures on the device of a backbone.

    Returns:
        For each level, in place of a component, the largest error over the pictures; there are no answers.
    """
    bundle = backbone.bundle
    errors = dict.fromkeys(bundle.checked_parts, 0.0)
    for golden in load_golden_maps(bundle.path / GOLDEN, bundle.checked_parts):
        sampled = golden.sampled(backbone.features(golden.picture))
        for level, values in sampled.items():
            errors[level] = _worst(errors[level], relative_error(values, golden.values[level]))
    precision = bundle.components[BACKBONE].precision
    levels = {
        level: VerifiedComponent.measured(precision, error, _allowed(bundle, BACKBONE, level))
        for level, error in errors.items()
    }
    return Verified.of(backbone.runtime.device, levels, ())


def _text_errors(bundle: Bundle, runtime: Runtime, golden: GoldenArrays) -> dict[str, float]:
    """Return the largest error of encoder and decoder over all golden cases, with the golden image features."""
    features = runtime.features_from_host(golden.image_features)
    errors = {"encoder": 0.0, "decoder": 0.0}
    for index, case in enumerate(bundle.golden):
        session = runtime.start(features, np.array(case.prompt_ids))
        cross = sample(session.cross_key_values(), golden.cross_index[index])
        logits = teacher_forced(session, case.token_ids, golden.columns)
        errors["encoder"] = _worst(errors["encoder"], relative_error(cross, golden.cross[index]))
        errors["decoder"] = _worst(errors["decoder"], relative_error(logits, golden.logits[index]))
    return errors


def _tolerance(bundle: Bundle, name: str) -> float:
    """Return the largest error of a component that passes; the decoder may be as wrong as the encoder it reads."""
    allowed = _allowed(bundle, name, name)
    return max(allowed, _tolerance(bundle, "encoder")) if name == "decoder" else allowed


def _allowed(bundle: Bundle, name: str, part: str) -> float:
    """Return the largest error that passes of a part of a component: of the component itself, or of a level."""
    component = bundle.components[name]
    allowed = max(TOLERANCE[component.precision], TOLERANCE[component.compute])
    recorded = bundle.verified.components[part].relative_error if bundle.verified else None
    if component.precision == "int8" and recorded is not None:
        factor = _UNCALIBRATED_LIKE_THERE if bundle.recipe.calibrated is False else _LIKE_THERE
        allowed = min(allowed, max(factor * recorded, TOLERANCE["fp16"]))
    return allowed


def _agreeing(model: Model, features: Features, case: GoldenCase) -> int:
    """Count the tokens of the answer of the model that agree before the first difference."""
    session = model.runtime.start(features, np.array(case.prompt_ids))
    answer = generate(session, model.settings(case.num_beams, case.max_new_tokens)).token_ids
    same = [ours == theirs for ours, theirs in zip(answer, case.token_ids, strict=False)]
    return same.index(False) if False in same else len(same)


def _answer(case: GoldenCase, agreeing: int) -> VerifiedAnswer:
    return VerifiedAnswer(case.task, case.num_beams, len(case.token_ids), agreeing)


def _worst(a: float, b: float) -> float:
    """Return the larger error; unlike with ``max``, NaN is larger than any number."""
    return float(np.maximum(a, b))
