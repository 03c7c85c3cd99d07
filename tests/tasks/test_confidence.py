"""Scores and confidences of objects whose tokens were chosen from planted probabilities."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from f2edge.decoding import Generation
from f2edge.decoding.session import Alternatives, Candidates
from f2edge.tasks.confidence import Calibration, Confidences, Features, Judge
from f2edge.tasks.parsers import find_instances
from f2edge.tasks.table import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZE = (1000, 1000)
WORD = 2000
"""The first token that is no location; <loc_n> is token n."""
END = WORD + 99
BINS = np.append(np.arange(1000), np.full(1000 + 100, -1))
CALIBRATION = Calibration(0.5, (2.0, 1.0), (-2.0, 0.0, 0.5), (0.1, 0.6, 0.9), 50, 30)

Planted = "Mapping[int, float]"


def spread(center: int, width: int) -> dict[int, float]:
    """Return equal probabilities of all bins within ``width`` of a bin."""
    bins = range(center - width, center + width + 1)
    return dict.fromkeys(bins, 1 / len(bins))


def judged(
    pieces: Sequence[str],
    planted: Mapping[int, Planted],
    task: str = "<OD>",
    judge: Judge = Judge(BINS),  # noqa: B008
) -> Confidences:
    """Judge the objects of an answer.

    Args:
        pieces: its tokens after the start token; a number stands for its location token.
        planted: the probability of each token that might have come, by the position of a piece; others were certain.
        task: what was asked.
        judge: by default one without calibrations.
    """
    ids = [int(piece) if piece.isdigit() else WORD + k for k, piece in enumerate(pieces)]
    chances = [planted.get(k, {token: 1.0}) for k, token in enumerate(ids)]
    logprobs = tuple(math.log(one[token]) for one, token in zip(chances, ids, strict=True))
    steps = [Candidates(np.array([[*one]]), np.log(np.array([[*one.values()]], np.float32))) for one in chances]
    alternatives = Alternatives(steps, np.zeros(len(ids), np.int64))
    generation = Generation((2, *ids), logprobs, 0.0, truncated=False, alternatives=alternatives)
    texts = ["</s>", *(f"<loc_{piece}>" if piece.isdigit() else piece for piece in pieces)]
    return judge.judge(task, find_instances(TASKS[task], "".join(texts), SIZE), texts, generation)


BOX = ("100", "100", "300", "200")


def test_a_certain_object() -> None:
    """What had no alternative has a score of 1."""
    assert judged(("<s>", "cat", *BOX), {}).scores == (1.0,)


def test_the_probability_of_the_label() -> None:
    """All tokens of a label count, its first one among them, where the end or another label might have come."""
    planted = {1: {WORD + 1: 0.5, END: 0.5}, 2: {WORD + 2: 0.8, WORD: 0.2}}
    assert judged(("<s>", "red ", "cat", *BOX), planted).scores == (pytest.approx(0.5 * 0.8),)


def test_objects_that_share_a_label() -> None:
    """Each has the probability of the label, whatever boxes are between; the next label is another one's."""
    pieces = ("<s>", "cat", *BOX, *BOX, "dog", *BOX)
    scores = judged(pieces, {1: {WORD + 1: 0.5, END: 0.5}, 10: {WORD + 10: 0.25, END: 0.75}}).scores
    assert scores == (pytest.approx(0.5), pytest.approx(0.5), pytest.approx(0.25))


def test_neighbouring_bins_count_by_their_distance() -> None:
    """A bin that is a tenth of the width away counts nine tenths; one that is further than the width counts nothing."""
    planted = {2: {100: 0.5, 120: 0.5}, 3: {100: 0.5, 700: 0.5}}
    features = judged(("<s>", "cat", *BOX), planted).features[0]
    assert features.place == pytest.approx((math.log(0.5 + 0.5 * 0.9) + math.log(0.5)) / 4)
    assert features.label == 0


def test_soft_targets_and_single_bins() -> None:
    """A model that spreads its probability over neighbouring bins is as certain as one that has it on one bin."""
    soft = judged(("<s>", "cat", *BOX), {k: spread(int(BOX[k - 2]), 5) for k in range(2, 6)})
    assert soft.scores[0] > 0.95
    vague = judged(("<s>", "cat", *BOX), {k: spread(int(BOX[k - 2]), 60) for k in range(2, 6)})
    assert vague.scores[0] < 0.8


def test_small_objects_need_more_certain_places() -> None:
    """The same spread of bins is worse for a smaller object."""
    small = judged(("<s>", "cat", "100", "100", "130", "120"), {2: spread(100, 10)})
    large = judged(("<s>", "cat", "100", "100", "800", "700"), {2: spread(100, 10)})
    assert small.scores < large.scores


def test_another_object_or_the_end() -> None:
    """Without labels the first coordinate tells: the end might have come in its place."""
    assert judged(("<s>", *BOX), {1: {100: 0.3, END: 0.7}}, "<REGION_PROPOSAL>").scores == (pytest.approx(0.3**0.25),)


@pytest.mark.parametrize(
    ("task", "pieces", "expected"),
    [
        ("<OCR_WITH_REGION>", ["<s>", "日", *["1"] * 8, "b", *["2"] * 8], 2),
        ("<CAPTION_TO_PHRASE_GROUNDING>", ["it", *["1"] * 4, "cat", *["2"] * 4], 1),
        ("<REGION_PROPOSAL>", ["1"] * 8, 2),
        ("<REGION_TO_SEGMENTATION>", ["<poly>", *["1"] * 5, "</poly>", "<poly>", *["1"] * 4], 1),
        ("<OPEN_VOCABULARY_DETECTION>", ["cat", "<poly>", *["1"] * 7, "</poly>"], 1),
        ("<OPEN_VOCABULARY_DETECTION>", ["cat", *["1"] * 8, "dog", *["1"] * 4], 3),
        ("<REGION_TO_SEGMENTATION>", ["<poly>", "1", "</poly>", "<sep>"], 1),
        ("<CAPTION>", ["cat", *["1"] * 8], 0),
    ],
)
def test_every_object_has_a_confidence(task: str, pieces: list[str], expected: int) -> None:
    """Every box, quad and polygon has one."""
    assert judged(pieces, {}, task).confidences == (1.0,) * expected


def test_tokens_of_other_objects_do_not_count() -> None:
    """Stray tokens and unlabelled boxes do not change the score of another object."""
    pieces = ("<s>", "<s>", *BOX, "car", "100", "<s>", "100", "300", "200", "</s>")
    strays = {k: {WORD + k: 0.1, 5: 0.9} for k in (0, 1, 8, 12)} | {2: {100: 0.1, 700: 0.9}}
    assert judged(pieces, strays).scores == (1.0,)


def test_without_alternatives_the_chosen_tokens_count() -> None:
    """A coordinate is as certain as its token, if nothing else is known."""
    pieces = ["</s>", "<s>", "cat", *["<loc_1>"] * 4]
    generation = Generation(tuple(range(7)), (0.0, -0.25, *[-0.5] * 4), 0.0, truncated=False)
    instances = find_instances(TASKS["<OD>"], "".join(pieces), SIZE)
    assert Judge(BINS).judge("<OD>", instances, pieces, generation).features == ((-0.25, pytest.approx(-0.5)),)


@pytest.mark.parametrize("logprob", [-math.inf, math.nan, -1000.0, 1e-6])
def test_scores_are_numbers_from_0_to_1(logprob: float) -> None:
    """Greedy search gives NaN where every token is banned, and rounding gives more than 0."""
    generation = Generation(tuple(range(7)), (logprob,) * 6, 0.0, truncated=False)
    pieces = ["</s>", "<s>", "cat", *["<loc_1>"] * 4]
    judged = Judge().judge("<OD>", find_instances(TASKS["<OD>"], "".join(pieces), SIZE), pieces, generation)
    assert 0 < judged.scores[0] <= 1


def test_calibrated_confidences() -> None:
    """The logistic regression's value lies between two knots; the score stays as it is."""
    answer = judged(("<s>", "cat", *BOX), {1: {WORD + 1: 0.5, END: 0.5}}, judge=Judge(BINS, {"<OD>": CALIBRATION}))
    logit = 0.5 + 2 * math.log(0.5)
    assert answer.scores == (pytest.approx(0.5),)
    assert answer.confidences == (pytest.approx(0.1 + (logit + 2) / 2 * 0.5),)
    assert answer.calibrated


def test_a_task_without_calibration() -> None:
    """The raw score stands, and the answer says so."""
    answer = judged(("<s>", "cat", *BOX), {}, "<DENSE_REGION_CAPTION>", Judge(BINS, {"<OD>": CALIBRATION}))
    assert answer.confidences == answer.scores
    assert not answer.calibrated


def test_confidences_end_with_the_last_knot() -> None:
    """Beyond the knots the confidence is that of the nearest one."""
    assert CALIBRATION(Features(-14.0, -14.0)) == 0.1
    assert CALIBRATION(Features(0.0, 0.0)) == 0.9


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": (1.0,)}, "1 weights, not 2"),
        ({"bias": math.inf}, "not finite"),
        ({"logits": (), "confidences": ()}, "0 logits and 0 confidences"),
        ({"logits": (0.0, 1.0)}, "2 logits and 3 confidences"),
        ({"logits": (0.0, 0.0, 1.0)}, "do not ascend"),
        ({"confidences": (0.1, 0.9, 0.8)}, "not ascending numbers from 0 to 1"),
        ({"confidences": (0.1, 0.9, 1.1)}, "not ascending numbers from 0 to 1"),
        ({"confidences": (0.1, math.nan, 0.9)}, "not ascending numbers from 0 to 1"),
        ({"right": 51}, "51 of 50 objects"),
    ],
)
def test_impossible_calibrations(wrong: dict[str, object], message: str) -> None:
    """What no fit gives is named."""
    assert list(CALIBRATION.faults()) == []
    (fault,) = replace(CALIBRATION, **wrong).faults()  # type: ignore[arg-type]
    assert message in fault
