"""The errors of f2edge: they pass from one process to another."""

from __future__ import annotations

import inspect
import pickle

import pytest

from f2edge import errors
from f2edge.asking.stopped import AnswerCancelledError, AnswerTimeoutError

ERRORS = [
    errors.MissingExtraError("pyarrow", "annotate", "or nothing"),
    *(
        kind("what is wrong")
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.F2EdgeError) and kind is not errors.MissingExtraError
    ),
    AnswerTimeoutError("too late"),
    AnswerCancelledError("stopped"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_pickled_whole(error: errors.F2EdgeError) -> None:
    """An error that a worker raises says in its parent what it said there."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
