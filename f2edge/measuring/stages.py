"""The stages of an answer that are timed."""

from __future__ import annotations

STAGES = (
    *("load", "first_answer", "preprocess", "vision", "encoder", "first_token", "per_token"),
    *("decode", "postprocess", "total", "second_question"),
)
PARTS = ("preprocess", "vision", "encoder", "decode", "postprocess")
"""The stages that follow each other and add up to the total.  The others are parts of these, or made of them."""

FEATURES = "features"
"""What a report of a backbone has in place of a task: its stages are load, first_answer, preprocess, vision, total."""

MEANINGS = {
    "first_answer": "The total of the very first question after the load, when engines still prepare for its shapes.",
    "per_token": "The mean time of a decoder step after the first.",
    "decode": "The whole search: the first token and all later steps, with beams also those that go on after the best "
    "answer has ended, so it is first_token + (steps - 1) x per_token.",
    "total": "One question about a new image, from its file to the answer: preprocess, vision, encoder, decode and "
    "postprocess; the load is left out.",
    "second_question": "One question about an image that was encoded before: a total without preprocess and vision.",
}
"""Explanations of the stages whose names are not enough."""

EXCLUDED = (
    "Not measured: compiling the checkpoint into the bundle, and the start of Python. Load and first_answer are "
    "measured once; load checks the SHA-256 of all files; preprocess holds reading and decoding an image file."
)
