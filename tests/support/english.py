"""A pipeline of spaCy that is trained within seconds on a few made-up sentences, since none can be downloaded here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_NOUNS = ("star", "ring", "cross", "dog", "cat", "mat", "box")
_ADJECTIVES = (("small", "large", "big"), ("red", "blue", "green"))
_VERBS = ("sits", "sleeps", "stands")
_PREPOSITIONS = ("on", "near", "under", "with", "above")
_WIDTH = 32


@dataclass
class _Sentence:
    """A sentence with its parse, in the form that spaCy is trained with."""

    words: list[str] = field(default_factory=list)
    pos: list[str] = field(default_factory=list)
    deps: list[str] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)

    def add(self, word: str, pos: str, dep: str, head: int | None) -> int:
        """Add a word and return its place; the head of a root is itself."""
        place = len(self.words)
        self.words.append(str(word))  # of NumPy, as which spaCy refuses it
        self.pos.append(pos)
        self.deps.append(dep)
        self.heads.append(place if head is None else head)
        return place

    def add_noun_phrase(self, rng: np.random.Generator, dep: str, head: int | None) -> int:
        """Add "a small red star" and return the place of its noun."""
        adjectives = [rng.choice(words) for words in _ADJECTIVES if rng.random() < 0.7]
        noun = len(self.words) + len(adjectives) + 1
        self.add(rng.choice(("a", "the")), "DET", "det", noun)
        for adjective in adjectives:
            self.add(adjective, "ADJ", "amod", noun)
        return self.add(rng.choice(_NOUNS), "NOUN", dep, head)


def _sentence(rng: np.random.Generator, kind: int) -> _Sentence:
    """Make up "a dog sits on a mat", "it sits on a mat", "a dog with a cat" or "a dog and a cat"."""
    made = _Sentence()
    if kind < 2:
        subject = made.add("it", "PRON", "nsubj", None) if kind else made.add_noun_phrase(rng, "nsubj", None)
        first = made.heads[subject] = made.add(rng.choice(_VERBS), "VERB", "ROOT", None)
    else:
        first = made.add_noun_phrase(rng, "ROOT", None)
    if kind < 3:
        made.add_noun_phrase(rng, "pobj", made.add(rng.choice(_PREPOSITIONS), "ADP", "prep", first))
    else:
        made.add("and", "CCONJ", "cc", first)
        made.add_noun_phrase(rng, "conj", first)
    return made


def untrained(language: str = "en") -> Any:
    """Return a pipeline that finds parts of speech and heads, as soon as it is trained."""
    import spacy

    encoder: dict[str, Any] = {"width": _WIDTH, "depth": 2, "embed_size": 300, "window_size": 1, "maxout_pieces": 2}
    encoder |= {"@architectures": "spacy.HashEmbedCNN.v2", "subword_features": True, "pretrained_vectors": None}
    shared = {"@architectures": "spacy.Tok2VecListener.v1", "width": _WIDTH, "upstream": "*"}
    tagger = {"@architectures": "spacy.Tagger.v2", "nO": None, "normalize": False, "tok2vec": shared}
    parser = {"@architectures": "spacy.TransitionBasedParser.v2", "state_type": "parser", "extra_state_tokens": False}
    parser |= {"hidden_width": _WIDTH, "maxout_pieces": 2, "use_upper": True, "nO": None, "tok2vec": shared}
    settings = {"parser": {"min_action_freq": 1}}  # else rare labels are replaced by "dep"
    pipeline = spacy.blank(language)
    for name, model in (("tok2vec", encoder), ("morphologizer", tagger), ("parser", parser)):
        pipeline.add_pipe(name, config={"model": model} | settings.get(name, {}))
    return pipeline


def examples(pipeline: Any, count: int, seed: int = 0) -> list[Any]:
    """Make up sentences with their parses."""
    from spacy.tokens import Doc
    from spacy.training import Example

    rng = np.random.default_rng(seed)
    made = [_sentence(rng, index % 4) for index in range(count)]
    return [Example.from_dict(Doc(pipeline.vocab, words=one.words), vars(one)) for one in made]


def train(folder: Path, name: str = "drawn", *, seed: int = 0) -> None:
    """Train a pipeline and write it."""
    from thinc.api import fix_random_seed

    fix_random_seed(seed)
    rng, pipeline = np.random.default_rng(seed), untrained()
    made = examples(pipeline, 80, seed)
    optimizer = pipeline.initialize(lambda: made)
    for _ in range(20):
        rng.shuffle(made)
        for start in range(0, len(made), 10):
            pipeline.update(made[start : start + 10], sgd=optimizer)
    pipeline.meta["name"] = name
    pipeline.to_disk(folder)
