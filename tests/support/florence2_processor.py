"""Transformers' processor of Florence-2, put together without a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image
from tokenizers import AddedToken, Tokenizer
from transformers import CLIPImageProcessorPil, Florence2Processor, PreTrainedTokenizerFast

from f2edge.tasks.parsers import _BANNED_PHRASES
from f2edge.tokenizer import ADDED_TOKENS

if TYPE_CHECKING:
    from pathlib import Path

PARSERS = (
    *("pure_text", "ocr", "phrase_grounding", "description_with_bboxes", "description_with_polygons"),
    *("polygons", "bboxes", "description_with_bboxes_or_polygons"),
)
SPECIAL_TOKENS = {
    **{f"{name}_token": "<s>" for name in ("bos", "cls")},
    **{f"{name}_token": "</s>" for name in ("eos", "sep")},
    **{f"{name}_token": f"<{name}>" for name in ("pad", "unk", "mask")},
}


def florence2_processor(tokenizer_json: Path) -> Any:
    """Return a processor with Florence-2's tokens and parsers, and small pictures of one image token.

    Args:
        tokenizer_json: Microsoft's file, without the 1,024 added tokens.
    """
    images = CLIPImageProcessorPil(size={"height": 8, "width": 8}, do_center_crop=False)
    images.image_seq_length = 1
    config: dict[str, Any] = {name: {} for name in PARSERS}
    config["phrase_grounding"] = {"banned_grounding_tokens": sorted(_BANNED_PHRASES)}
    return Florence2Processor(images, _tokenizer(tokenizer_json), post_processor_config=config)


def prompt_of(processor: Any, prompt: str) -> tuple[str | None, list[int] | None]:
    """Return the text that the processor tokenizes and its ids without image tokens, or None if it refuses."""
    try:
        (text,) = processor._construct_prompts(prompt)
    except ValueError:
        return None, None
    (ids,) = processor(images=Image.new("RGB", (8, 8)), text=prompt)["input_ids"]
    return text, [token for token in ids if token != processor.image_token_id]


def answer_of(processor: Any, line: dict[str, Any]) -> dict[str, Any]:
    """Return the processor's answer for the ``task``, ``text`` and ``image_size`` of an oracle's line."""
    size = tuple(line["image_size"])
    answer: dict[str, Any] = processor.post_process_generation(text=line["text"], task=line["task"], image_size=size)
    return answer


def _tokenizer(tokenizer_json: Path) -> PreTrainedTokenizerFast:
    backend = Tokenizer.from_file(str(tokenizer_json))
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in ADDED_TOKENS])
    extra = {"image_token": "<image>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, extra_special_tokens=extra, **SPECIAL_TOKENS)
