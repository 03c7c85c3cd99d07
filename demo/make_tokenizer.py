"""The demo's tokenizer: byte-level BPE like Florence-2's, with a vocabulary of the demo's texts only.

Usage: ``python demo/make_tokenizer.py demo/checkpoint/tokenizer.json``
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from captions import COLUMNS, NUMBERS, PREPOSITIONS, ROWS
from shapes import COLOURS, KINDS, SIZES
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from f2edge.tasks.table import TASKS

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
VOCAB_SIZE = 700  # an upper bound: training stops when no pair of bytes is left to merge


def florence_tokens() -> list[str]:
    """Return the 1024 tokens that Florence-2 adds to BART's, in their order (docs/florence2.md#tokenizer)."""
    tokens = ["<od>", "</od>", "<ocr>", "</ocr>", *(f"<loc_{k}>" for k in range(1000))]
    for name in ("cap", "ncap", "dcap", "grounding", "seg"):
        tokens += [f"<{name}>", f"</{name}>"]
    tokens += ["<sep>"]
    for name in ("region_cap", "region_to_desciption", "proposal", "poly"):  # sic
        tokens += [f"<{name}>", f"</{name}>"]
    return [*tokens, "<and>"]


def corpus() -> list[str]:
    """Return all prompts and captions, without the words on pictures, which must be spelled letter by letter."""
    prompts = [task.prompt.replace("{input}", " ") for task in TASKS.values()]
    captions = [
        f"{a}{s} {c} {k}, {c} {k} and {a}{s} {c} {k} with the word"
        for a, s, c, k in product(("", "a ", "the "), SIZES, COLOURS, KINDS)
    ]
    return prompts * 20 + captions + [f"{c} {k}" for c, k in product(COLOURS, KINDS)] * 5 + _sentences() * 4


def _sentences() -> list[str]:
    """Return the frames of the longer captions, with every number and every place."""
    places = [f"{p} {row} {column}" for p, row, column in product(PREPOSITIONS, ROWS, COLUMNS)]
    counted = [f"{n} shape{s}" for n in NUMBERS for s in ("", "s")]
    frames = [f"The image shows {n}: {c} {k} {p}; {c} {k}." for n, p, c, k in product(counted, places, ["red"], KINDS)]
    frames += [f"On a {b} background there are {n}: {p}." for b, n, p in product(("dark", "light"), counted, places)]
    words = [f" The word , of {n} letters, is in the {row} part." for n, row in product(NUMBERS, ROWS)]
    return (
        frames + words * 10 + [" The word  is in the  part. There is no word."] * 50 + [f"{c} shape" for c in COLOURS]
    )


def make_tokenizer() -> Tokenizer:
    """Train the tokenizer; the result is the same every time."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in florence_tokens()])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return tokenizer


def main() -> None:
    """Run the command line: OUT."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    make_tokenizer().save(str(out))


if __name__ == "__main__":
    main()
