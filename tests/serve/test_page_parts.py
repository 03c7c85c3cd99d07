"""Parts of the page in a real browser: fields, the region, what stands out, code, files, the keyboard."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from f2edge.asking.tiles import TASKS as TILED
from f2edge.tasks.table import FREE_TEXT, TASKS, Task, short_name
from tests.support.served_page import Visit, visit, wait_for_tasks
from tests.support.serving import picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from f2edge.model import Florence2
    from tests.support.serving import Live

SIZE = (120, 90)
OBJECTS = {"labels": "cat, dog", "tokens": "40"}
"""Fields of a question for which the tiny model has objects."""


@pytest.fixture
def page(browser: Browser, live: Live) -> Iterator[Visit]:
    """Return the page with a picture."""
    with visit(browser, live) as opened:
        wait_for_tasks(opened)
        opened.give(picture(size=SIZE))
        yield opened


def fields_of(task: Task) -> dict[str, bool]:
    """Return which fields a task has in the form, as the core knows it."""
    return {
        "text": task.input == "text",
        "x1": task.input == "region",
        "labels": task.locates and task.labelled,
        "structured": task.locates,
        "tile": task.name in TILED,
    }


def test_each_task_has_its_fields(page: Visit) -> None:
    """The form lists every task, with the fields that the core takes for it and no others, and words of its own."""
    names = page.page.evaluate("() => [...document.querySelectorAll('#task option')].map((option) => option.value)")
    known = {short_name(task.name): task for task in (*TASKS.values(), FREE_TEXT)}
    assert sorted(names) == sorted(known)
    page.page.click("#more summary")
    for name in names:
        page.page.select_option("#task", name)
        assert {field: page.page.is_visible(f"#{field}") for field in fields_of(known[name])} == fields_of(known[name])
        assert page.page.is_visible("#beams")
        assert page.text("#task-hint")
    assert len(set(page.page.locator("#task option").all_text_contents())) == len(known)


def test_a_region_is_drawn_with_the_pointer(page: Visit) -> None:
    """The corners of the pointer's way become the fields in pixels of the picture, in any direction, never outside."""
    page.page.select_option("#task", "region_to_category")
    box = page.page.locator("#overlay").bounding_box()
    assert box is not None
    scale = box["width"] / SIZE[0]
    page.page.mouse.move(box["x"] + 100 * scale, box["y"] + 80 * scale)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 50 * scale, box["y"] + 50 * scale)
    page.page.mouse.move(box["x"] - 30, box["y"] + 20 * scale)
    page.page.mouse.up()
    assert region_of(page) == [0, 20, 100, 80]
    page.page.click("#ask")
    page.page.wait_for_selector("#ask:not([hidden])")
    assert "region=0,20,100,80" in page.listing("curl")


def region_of(page: Visit) -> list[float]:
    """Return the numbers in the fields of the region."""
    return [float(page.page.input_value(f"#{corner}")) for corner in ("x1", "y1", "x2", "y2")]


def test_a_question_that_lacks_something_is_not_sent(page: Visit) -> None:
    """Without its text or region a question stays here, and the focus goes to the field."""
    for task, field in (("region_to_ocr", "x1"), ("caption_to_phrase_grounding", "text")):
        page.page.select_option("#task", task)
        page.page.click("#ask")
        assert page.text("#error")
        assert page.page.evaluate("() => document.activeElement.id") == field
    assert page.questions == []


def test_wrong_numbers_are_not_sent(page: Visit) -> None:
    """A number that is none is told with its field, unless the task does not have the field."""
    page.page.click("#more summary")
    for field, value, name in (("beams", "0", "Beams"), ("tokens", "1.5", "Most new tokens"), ("tile", "3", "Side")):
        page.page.fill(f"#{field}", value)
        page.page.evaluate("() => { document.querySelector('#more').open = false; }")
        page.page.click("#ask")
        assert page.text("#error").startswith(name)
        assert page.page.evaluate("() => document.activeElement.id") == field
        page.page.fill(f"#{field}", "" if field != "tile" else value)
    assert page.questions == []
    page.ask("caption", tokens="4")
    assert len(page.questions) == 1


def test_labels_stand_for_the_text(page: Visit) -> None:
    """A task that needs a text takes the wanted labels in its place, as everywhere else."""
    status = page.ask("open_vocabulary_detection", labels="cat, dog", tokens="20", beams="1")
    assert page.text("#error") == ""
    assert "object" in status or "Nothing" in status


def test_an_object_stands_out_and_becomes_the_region(page: Visit) -> None:
    """The focus on a row shows the object with its confidence; a click makes it the region of the next question."""
    page.ask("od", **OBJECTS)
    box, label = page.record["boxes"][1], page.record["labels"][1]
    page.page.keyboard.press("Tab")  # the keyboard is in use, so the focus is visible
    page.page.focus("#objects li:nth-child(2) button")
    assert page.page.text_content("#marks .tip") == f"{label} < 0.1 %"
    assert page.page.get_attribute("#marks .picked", "data-index") == "1"
    page.page.set_viewport_size({"width": 700, "height": 800})
    assert page.page.get_attribute("#marks .picked", "data-index") == "1"
    page.page.select_option("#task", "region_to_category")
    page.page.click("#objects li:nth-child(2) button")
    low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    assert region_of(page) == pytest.approx([*low, *high], abs=0.5)  # whole pixels


def test_the_code_gives_the_answer_on_the_screen(page: Visit, model: Florence2, tmp_path: Path) -> None:
    """What one copies gives the same answer: curl, Python over HTTP, and Python with the bundle itself."""
    name = 'it\'s a, "street"; 50%.png'
    page.give(picture(seed=3), name=name)
    page.ask("caption_to_phrase_grounding", text='a "cat"; & the $dog\'s', tokens="20", labels="cat, dog", beams="2")
    (tmp_path / name).write_bytes(picture(seed=3))
    (tmp_path / model.bundle.path.name).symlink_to(model.bundle.path)
    expected = page.record
    (task, objects), *_ = expected["result"].items()
    for language in ("http", "embedded"):
        printed = ast.literal_eval(run([sys.executable, "-c", page.listing(language)], tmp_path))
        assert printed[task]["labels"] == objects["labels"]
        np.testing.assert_allclose(printed[task]["bboxes"], objects["bboxes"], rtol=1e-6)  # JSON has 8 digits
    if shutil.which("curl"):
        printed = run(["sh", "-c", page.listing("curl")], tmp_path)
        assert {**json.loads(printed), "timings_ms": None} == {**expected, "timings_ms": None}


def run(command: list[str], folder: Path) -> str:
    """Run a command in a folder, and return what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_copying_copies_the_code(browser: Browser, live: Live) -> None:
    """The button puts the code on the clipboard."""
    with visit(browser, live, permissions=["clipboard-read", "clipboard-write"]) as page:
        wait_for_tasks(page)
        page.give()
        page.ask("caption", tokens="4")
        page.page.click("#copy")
        page.page.get_by_text("Copied").wait_for()
        assert page.page.evaluate("() => navigator.clipboard.readText()") == page.listing("curl")


def test_the_answer_can_be_kept(page: Visit) -> None:
    """The PNG shows the picture with the objects, large enough to read, and the JSON is the record."""
    page.ask("od", **OBJECTS)
    drawn = Image.open(io.BytesIO(saved(page, "#save-picture", "street-answer.png"))).convert("RGB")
    assert drawn.size == (SIZE[0] * 8, SIZE[1] * 8)
    plain = Image.open(io.BytesIO(picture(size=SIZE))).convert("RGB").resize(drawn.size)
    differs = np.abs(np.asarray(drawn, int) - np.asarray(plain, int)).max(-1) > 64
    assert 0.005 < differs.mean() < 0.9
    assert json.loads(saved(page, "#save-json", "street-answer.json")) == page.record


def saved(page: Visit, button: str, name: str) -> bytes:
    """Click a button, and return the file that the browser saves."""
    with page.page.expect_download() as download:
        page.page.click(button)
    assert download.value.suggested_filename == name
    return Path(download.value.path()).read_bytes()


def test_the_keyboard_reaches_everything(page: Visit) -> None:
    """Tab goes through all controls in the order in which they are on the page, and each has a name."""
    page.ask("od", **OBJECTS)
    page.page.focus(".skip")
    seen = ["skip"]
    for _ in range(60):
        page.page.keyboard.press("Tab")
        seen.append(page.page.evaluate("() => document.activeElement.id || document.activeElement.classList[0]"))
        if seen[-1] == "listing":
            break
    wanted = ["skip", "choose-other", "save-picture", "save-json", "task", "labels", "structured", "tile", "beams"]
    wanted += ["tokens", "ask", "object", "copy", "listing"]
    assert [seen.index(control) for control in wanted] == sorted(seen.index(control) for control in wanted)


def test_roles_and_names_are_there(page: Visit) -> None:
    """A screen reader gets a name for every control, the state of the answer, and what is marked."""
    page.ask("od", **OBJECTS)
    tree = page.page.locator("body").aria_snapshot()
    assert re.search(r"status: \d+ objects? in", tree)
    assert 'img "Marked: cat' in tree
    assert 'combobox "Task"' in tree
    unnamed: list[Any] = page.page.evaluate(_UNNAMED)
    assert unnamed == []


_UNNAMED = """() => [...document.querySelectorAll("button, input, select, textarea")]
  .filter((control) => !(control.labels?.length && control.labels[0].textContent.trim()) && !control.textContent.trim())
  .map((control) => control.id)"""
