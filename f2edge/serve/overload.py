"""Refuse questions while all places are taken: before their HTTP is parsed, so that a crowd is told at once.

The application refuses such a question, too, but only after some half a millisecond of parsing and routing, and the
last one of a hundred clients would wait for the sum of that.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2edge.serve.refusals import Refusal
    from f2edge.serve.service import Service

QUESTIONS = ("/v1/ask", "/v1/stream", "/v1/chat/completions")
"""The addresses that need a place."""

_QUESTION = re.compile(rf"POST ({'|'.join(QUESTIONS)}) HTTP/1\.[01]\r\n".encode())


class Overload:
    """Recognizes the beginning of a question that finds no place.

    Args:
        service: has the places, and the journal in which each refusal is noted.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._let_in = 0  # questions that were read since the application has last run

    def refusal(self, data: bytes, client: tuple[str, int] | None) -> Refusal | None:
        """Return the refusal of what begins with these bytes, or None: it is to be read.

        Args:
            data: the first bytes of a request.
            client: the address and the port of the client, if known.
        """
        if self._service.draining or not (question := _QUESTION.match(data)):
            return None
        if not self._service.room.is_full(self._let_in):
            self._let_one_in()
            return None
        refusal, path = self._service.room.busy(), question[1].decode()
        state = {"route": path, "code": refusal.code}
        self._service.journal.note({"client": client, "method": "POST", "path": path, "state": state}, refusal.status)
        return refusal

    def _let_one_in(self) -> None:
        """Count a question until the application has it: of a crowd, all are read before it runs."""
        if not self._let_in:
            asyncio.get_running_loop().call_soon(self._forget)
        self._let_in += 1

    def _forget(self) -> None:
        self._let_in = 0
