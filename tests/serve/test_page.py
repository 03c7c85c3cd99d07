"""The page in a real browser: a picture in, an answer on the screen, and what may happen between them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from f2edge.serve.settings import Settings
from tests.support.served_page import NARROW, WIDE, Visit, visit, wait_for_tasks
from tests.support.serving import eventually, gated, picture, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from f2edge.model import Florence2
    from tests.support.serving import Live

FORM, JSON = "multipart/form-data", "application/json"
ANSWERED = re.compile(r" in [\d.]+ m?s\.$")


@pytest.fixture
def page(browser: Browser, live: Live) -> Iterator[Visit]:
    """Return the page, ready for a picture."""
    with visit(browser, live) as opened:
        wait_for_tasks(opened)
        yield opened


def test_an_answer_is_drawn_and_listed(page: Visit, model: Florence2) -> None:
    """Every object of the answer is marked on the picture, and listed with its label and confidence."""
    page.give()
    expected = model.run(picture(), "od", labels=["cat", "dog"], max_new_tokens=40)
    status = page.ask("od", labels="cat, dog", tokens="40")
    assert status.startswith(f"{len(expected.labels)} object")
    assert page.page.locator("#marks .mark").count() == len(expected.labels)
    rows = page.page.locator("#objects .label").all_inner_texts()
    assert rows == list(expected.labels)
    assert page.page.locator("#objects .percent").first.inner_text() == "< 0.1 %"
    assert page.record["token_ids"] == list(expected.token_ids)
    assert page.faults.refused == []


def test_text_appears_while_it_is_decided(page: Visit, model: Florence2) -> None:
    """A part of a text is on the screen before the model has decided the rest."""
    page.give()
    with gated(model) as gate:
        page.start("caption", tokens="12", beams="1")
        gate.open(6)
        page.page.locator("#words:not(:empty)").wait_for()
        assert gate.steps <= 6
        page.page.press("#tokens", "Enter")  # does not ask once more
        beginning = page.text("#words")
        gate.remove()
        page.page.wait_for_selector("#ask:not([hidden])")
    assert page.text("#words").startswith(beginning)
    assert len(page.questions) == 1
    assert page.text("#words") == page.record["result"]["<CAPTION>"].strip()


def test_a_question_can_be_stopped(page: Visit, live: Live, model: Florence2) -> None:
    """Stop ends the answer, frees the worker, and leaves the page ready for the next question."""
    page.give()
    with gated(model) as gate:
        page.start("caption")
        gate.closed_at.acquire()
        page.page.click("#stop")
        page.page.wait_for_selector("#ask:not([hidden])")
        assert page.text("#status") == "Stopped."
        gate.open()
        assert eventually(lambda: live.service.room.inside == 0)
    assert ANSWERED.search(page.ask("caption", tokens="4"))


def test_the_picture_is_sent_once(page: Visit, live: Live) -> None:
    """Further questions name the picture by its id; once the server has dropped it, it is sent again unasked."""
    page.give(picture(seed=7))
    page.ask("caption", tokens="4")
    page.ask("ocr", tokens="4")
    assert page.sent == [FORM, JSON]
    assert "kept" in page.text("#stages .vision")
    forget(live)
    assert ANSWERED.search(page.ask("caption", tokens="4"))
    assert page.sent[2:] == [JSON, FORM]
    assert "kept" not in page.text("#stages .vision")


def forget(live: Live) -> None:
    """Let a server forget its pictures."""
    live.service.pictures._kept.clear()


def test_tiles_are_cut_out_of_the_picture_itself(page: Visit) -> None:
    """A question in tiles sends the picture again: the server keeps what the model made of it alone."""
    page.give()
    page.ask("caption", tokens="4")
    page.ask("od", tile="80", tokens="12", beams="1")
    assert page.text("#error") == ""
    assert page.sent == [FORM, FORM]


def test_a_failure_is_one_line(page: Visit) -> None:
    """What the server refuses is said in its words, and a picture that nobody can read is no exception."""
    page.give(b"no picture", name="notes.png")
    assert page.ask("caption") == "No answer."
    assert "not a picture" in page.text("#error")
    assert "\n" not in page.text("#error")
    page.give()
    assert page.text("#error") == ""
    assert ANSWERED.search(page.ask("caption", tokens="4"))


def test_a_picture_comes_by_drop_and_by_paste(page: Visit) -> None:
    """A dropped file and a pasted one are taken as a chosen one is."""
    for kind, carrier in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        page.page.evaluate(_HAND_IN, [kind, carrier, list(picture())])
        page.page.get_by_text(f"{kind}.png").wait_for()
        assert page.text("#picture-size") == "120 × 90 pixels"


_HAND_IN = """([kind, carrier, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], kind + ".png", { type: "image/png" }));
  const event = new Event(kind, { bubbles: true, cancelable: true });
  Object.defineProperty(event, carrier, { value: data });
  document.body.dispatchEvent(event);
}"""


def test_the_page_asks_for_the_token(browser: Browser, model: Florence2) -> None:
    """A server with a token gets it from the person at the page; a wrong one is asked for again."""
    token = "0123456789abcdef"  # noqa: S105 - of a server that lives as long as this test
    with serving(model, Settings(port=0, token=token)) as guarded, visit(browser, guarded) as page:
        for given in ("wrong", token):
            page.page.wait_for_selector("#token-dialog[open]")
            page.page.fill("#token", given)
            page.page.press("#token", "Enter")
        wait_for_tasks(page)
        page.give()
        assert ANSWERED.search(page.ask("caption", tokens="4"))
        assert token not in page.listing("curl") + page.listing("http")


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off(browser: Browser, live: Live, size: tuple[int, int], scheme: str) -> None:
    """The page is as wide as its window, before and after an answer, and every control is inside."""
    with visit(browser, live, size, color_scheme=scheme) as page:
        wait_for_tasks(page)
        assert page.page.evaluate(_BEYOND) == []
        page.give(name="a-long-name-without-a-blank-" * 4 + ".png")
        page.ask("od", labels="cat, dog", tokens="40")
        assert page.page.evaluate(_BEYOND) == []


_BEYOND = """() => [...document.querySelectorAll("button, label, input, select, textarea, p, li, pre, svg")]
  .filter((element) => element.getClientRects().length && !element.closest(".skip, .unseen"))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map((element) => element.id || element.outerHTML.slice(0, 80))"""
