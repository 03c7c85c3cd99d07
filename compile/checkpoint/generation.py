"""Read the settings of the search that a checkpoint asks for; what f2edge cannot follow is refused.

docs/florence2.md#generation-settings says which file counts, and what becomes of each field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from f2edge.bundle.schema import parse
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from f2edge.compile.checkpoint.names import Layout
    from f2edge.geometry import Geometry

GENERATION_CONFIG = "generation_config.json"

_TRANSFORMERS: dict[str, Any] = {
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "eos_token_id", "decoder_start_token_id")),
    "num_beams": 1,
    "early_stopping": False,
    "no_repeat_ngram_size": 0,
}
"""What ``generate`` of transformers does where a file says nothing, as far as it differs from GenerationSettings."""

_MICROSOFT: dict[str, Any] = {
    **_TRANSFORMERS,
    "decoder_start_token_id": 2,
    "eos_token_id": 2,
    "forced_eos_token_id": 2,
}
"""The same for the language model of Microsoft, whose configuration class has token ids of its own."""

_LEGACY_MAX_LENGTH = 20
"""A configuration that transformers 4 saved says so where nobody had said anything."""

_READ = {field.name for field in fields(GenerationSettings)} - {"max_new_tokens"}


@dataclass(frozen=True)
class _Refused:
    """A field that changes answers in a way that f2edge has not: what it does, and the values that do nothing."""

    does: str
    neutral: tuple[Any, ...] = ()
    harmless: Callable[[Any], bool] = lambda _: False

    def applies(self, value: Any) -> bool:
        return value is not None and value not in self.neutral and not self.harmless(value)


def _is_at_most_one(value: Any) -> bool:
    return isinstance(value, (int, float)) and value <= 1


_DETERMINISTIC = "f2edge searches deterministically"
_REFUSED = {
    "do_sample": _Refused(f"draws tokens at random, and {_DETERMINISTIC}", (False,)),
    "num_beam_groups": _Refused("searches in groups of beams", harmless=_is_at_most_one),
    "penalty_alpha": _Refused("asks for a contrastive search", (0,)),
    "dola_layers": _Refused("contrasts layers"),
    "constraints": _Refused("constrains beams"),
    "force_words_ids": _Refused("forces words into the answer", ([],)),
    "low_memory": _Refused("asks for a search that transformers itself has no more", (False,)),
    "num_return_sequences": _Refused("asks for several answers", harmless=_is_at_most_one),
    "guidance_scale": _Refused("guides by a second prompt", (1,)),
    "watermarking_config": _Refused("marks answers", ({},)),
    "token_healing": _Refused("changes the end of the prompt", (False,)),
    "stop_strings": _Refused("ends answers at a text", ([], "")),
    "max_time": _Refused(f"ends answers after a time, and {_DETERMINISTIC}"),
    "prompt_lookup_num_tokens": _Refused("guesses tokens from the prompt"),
    "assistant_early_exit": _Refused("guesses tokens by early layers"),
    "use_mtp": _Refused("guesses several tokens at once", (False,)),
    "is_assistant": _Refused("lets the model guess for another one", (False,)),
    "encoder_repetition_penalty": _Refused("rewards tokens of the prompt", (1,)),
    "encoder_no_repeat_ngram_size": _Refused("bans n-grams of the prompt", (0,)),
}


def generation_settings(
    layout: Layout, config: Mapping[str, Any], generation_config: Mapping[str, Any] | None, sizes: Geometry
) -> GenerationSettings:
    """Return the settings by which transformers, or the code of Microsoft, would search.

    Args:
        layout: Microsoft's code reads ``text_config`` alone, transformers ``generation_config.json``.
        config: the content of ``config.json``.
        generation_config: the content of ``generation_config.json``; None if there is no such file, and transformers
            takes what ``config.json`` says.
        sizes: the model's sizes.

    Raises:
        CheckpointError: a setting is of the wrong type or out of range, names a token beyond the vocabulary, or asks
            for what f2edge does not do.
    """
    place, said = _said(layout, config, generation_config)
    _refuse(place, said)
    settings = {**(_MICROSOFT if layout == "microsoft" else _TRANSFORMERS), **_told(said)}
    settings["max_new_tokens"] = _longest(place, said, sizes)
    settings = {name: value for name, value in settings.items() if value is not None or name in _MAY_BE_NONE}
    if "decoder_start_token_id" not in settings:
        if "bos_token_id" not in settings:
            raise CheckpointError(f"{place} has neither decoder_start_token_id nor bos_token_id: say how answers begin")
        settings["decoder_start_token_id"] = settings["bos_token_id"]
    return _parsed(settings, place, sizes)


def unused_settings(
    layout: Layout, generation_config: Mapping[str, Any] | None, settings: GenerationSettings
) -> str | None:
    """Return one line for the user about what ``generation_config.json`` says for nothing, in Microsoft's layout.

    ``early_stopping`` is left out: the published file of the large model says it, and has never been read.
    """
    if layout != "microsoft" or not generation_config:
        return None
    other = {name for name, value in _told(generation_config).items() if _frozen(value) != getattr(settings, name)}
    other |= {name for name, refused in _REFUSED.items() if refused.applies(generation_config.get(name))}
    if not (names := ", ".join(sorted(other - {"early_stopping"}))):
        return None
    place = "in Microsoft's layout text_config of config.json has the settings of the search"
    return f"{GENERATION_CONFIG}: not used: {names:.80}; {place}"


def _frozen(value: Any) -> Any:
    """Return lists, and lists in them, as tuples, which settings have."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _said(
    layout: Layout, config: Mapping[str, Any], generation_config: Mapping[str, Any] | None
) -> tuple[str, dict[str, Any]]:
    """Return the place that counts, for messages, and what it says."""
    text = config.get("text_config")
    text = text if isinstance(text, Mapping) else {}
    if layout == "microsoft":
        said = dict(text)
        if said.get("max_length") == _LEGACY_MAX_LENGTH:
            del said["max_length"]
        return "text_config", said
    if generation_config is not None:
        return GENERATION_CONFIG, dict(generation_config)
    return "config.json", {**text, **{name: value for name, value in config.items() if value is not None}}


def _refuse(place: str, said: Mapping[str, Any]) -> None:
    for name, refused in _REFUSED.items():
        if refused.applies(value := said.get(name)):
            shown = f"{json.dumps(value):.40}"
            raise CheckpointError(f"{place}: {name} {shown} {refused.does}; remove it to search without")


def _told(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are told, without nulls, and lists of one token as that token."""
    return {name: _single(name, said[name]) for name in _READ & said.keys() if said[name] is not None}


_MAY_BE_NONE = {"forced_bos_token_id", "forced_eos_token_id", "eos_token_id"}


def _single(name: str, value: Any) -> Any:
    """Unwrap a list of one: some files write the end token so."""
    return value[0] if name.endswith("_token_id") and isinstance(value, list) and len(value) == 1 else value


def _longest(place: str, said: Mapping[str, Any], sizes: Geometry) -> int:
    """Return the length of the longest answer: what the checkpoint says, else what the model has positions for.

    Without a word transformers would stop after 20 tokens, which its own documentation advises against.
    """
    asked = said.get("max_new_tokens")
    if asked is None and (total := said.get("max_length")) is not None:
        asked = total - 1 if type(total) is int else total
    if asked is None:
        return min(GenerationSettings.max_new_tokens, sizes.decoder_positions)
    if type(asked) is not int or asked < 1:
        raise CheckpointError(
            f"the checkpoint's generation settings: {place}: max_new_tokens or max_length leaves {asked!r:.40} "
            "tokens for an answer; it must be at least 1"
        )
    return min(asked, sizes.decoder_positions)


def _parsed(settings: Mapping[str, Any], place: str, sizes: Geometry) -> GenerationSettings:
    where = place.removesuffix(".json")
    try:
        parsed: GenerationSettings = parse(GenerationSettings, dict(settings), where)
    except (ValueError, InputError) as error:
        raise CheckpointError(f"the checkpoint's generation settings: {error}") from error
    if faults := parsed.beyond(sizes.vocab_size):
        raise CheckpointError(f"the checkpoint's generation settings: {where}: {'; '.join(faults)}")
    return parsed
