"""``forward`` with labels: the loss that the demo's model is trained with (paper, eq. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from f2edge.compile.reference.model import shift_right
from tests.support.checkpoints import TINY, random_model

if TYPE_CHECKING:
    from f2edge.compile.reference.model import ReferenceModel

PIXELS = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
PROMPTS = torch.tensor([[0, 41, 7, 2], [0, 300, 2, 1]])
LABELS = torch.tensor([[0, 410, 411, 9, 2], [0, 1200, 2, -100, -100]])


@pytest.fixture(scope="module")
def model() -> ReferenceModel:
    """Return the tiny model, trainable."""
    return random_model(TINY)


def test_decoder_inputs_are_the_labels_shifted_right() -> None:
    """Decoder inputs start with the start token, drop the last label, and pad where a label is ignored."""
    assert shift_right(LABELS).tolist() == [[2, 0, 410, 411, 9], [2, 0, 1200, 2, 1]]


def test_the_loss_is_the_cross_entropy_of_the_labels_that_count(model: ReferenceModel) -> None:
    """The loss equals the mean over the eight labels that are not -100."""
    output = model(PIXELS, PROMPTS, labels=LABELS)
    logprobs = output.logits.log_softmax(-1)
    counted = [(row, place) for row in range(2) for place in range(5) if LABELS[row, place] != -100]
    expected = -sum(logprobs[row, place, LABELS[row, place]] for row, place in counted) / len(counted)
    torch.testing.assert_close(output.loss, expected)
    inputs = torch.tensor([[2, 0, 410, 411, 9], [2, 0, 1200, 2, 1]])
    torch.testing.assert_close(model(PIXELS, PROMPTS, decoder_input_ids=inputs).logits, output.logits)


def test_ignored_labels_do_not_matter(model: ReferenceModel) -> None:
    """More ignored labels do not change the loss."""
    longer = torch.nn.functional.pad(LABELS, (0, 4), value=-100)
    torch.testing.assert_close(model(PIXELS, PROMPTS, labels=longer).loss, model(PIXELS, PROMPTS, labels=LABELS).loss)


def test_gradients_flow_to_every_parameter(model: ReferenceModel) -> None:
    """Every parameter gets a gradient, except biases that have no effect."""
    model.zero_grad()
    model(PIXELS, PROMPTS, labels=LABELS).loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert len(gradients) > 150
    still = [name for name, gradient in gradients.items() if gradient is None or not gradient.abs().max() > 0]
    # A bias of the keys adds the same number to all scores of a query, which the softmax cancels.
    assert [name for name in still if not name.endswith("k_proj.bias")] == []


def test_answers_are_causal(model: ReferenceModel) -> None:
    """A later label does not change earlier logits."""
    other = LABELS.clone()
    other[0, 3] = 77
    logits, changed = (model(PIXELS, PROMPTS, labels=labels).logits for labels in (LABELS, other))
    torch.testing.assert_close(logits[0, :4], changed[0, :4])
    assert not torch.allclose(logits[0, 4], changed[0, 4])


def test_nothing_to_predict(model: ReferenceModel) -> None:
    """A call with neither labels nor decoder inputs is refused."""
    with pytest.raises(ValueError, match="give labels or decoder_input_ids"):
        model(PIXELS, PROMPTS)
    assert model(PIXELS, PROMPTS, decoder_input_ids=LABELS.clamp(min=0)).loss is None
