"""One decoder step: what a session gives for it, and the contract that every engine's session keeps.

The search sees scores only.  Keys and values, their reordering and their memory belong to the session, which a
runtime (:mod:`f2edge.engine`) provides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from f2edge.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from f2edge.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class StepScores:
    """What one decoder step says about the next token of each beam.

    Args:
        token_ids: (beams, K) int64, the K tokens of the largest logits, best first, equal ones in any order.
            With K well above twice the number of beams, all logits are hardly ever asked for.
        logits: (beams, K) float32, the logits of those tokens.
        log_sum_exp: (beams,) float32, over the whole vocabulary.
        fetch_logits: gives (beams, vocabulary) float32; valid until the session's next step.
    """

    token_ids: IntArray
    logits: FloatArray
    log_sum_exp: FloatArray
    fetch_logits: Callable[[], FloatArray]


class DecoderSession(Protocol):
    """One image and one prompt in a decoder, ready to be asked for the next token."""

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed one token per beam and score the next one.

        Args:
            tokens: (beams,) int64, the last token of each beam; the decoder start token in the first call.
            beam_indices: (beams,) int64, for each beam the previous step's beam that it continues; [0] in the
                first call.  The number of beams may differ from the previous step's.
        """


def take_step(session: DecoderSession, tokens: IntArray, beam_indices: IntArray) -> StepScores:
    """Run one decoder step and refuse scores that no search can use.

    Raises:
        DeviceError: a log-sum-exp is not finite, which is how an overflow in half precision shows.
    """
    step = session.step(tokens, beam_indices)
    if not np.isfinite(step.log_sum_exp).all():
        raise DeviceError(
            "the decoder's scores are not finite numbers; compile the checkpoint again, with precision fp32"
        )
    return step
