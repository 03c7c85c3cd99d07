"""Nobody is called: f2edge opens no connection, and writes nothing outside its cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.confined import run_confined

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = """
import f2edge
from PIL import Image
with_beams = f2edge.load(sys.argv[1]).run(Image.new("RGB", (64, 64), "red"), "caption", max_new_tokens=4)
print("answered", with_beams.task)
"""
CONVERT = """
from pathlib import Path
import torch
from f2edge.compile.openvino.layout import convert
from f2edge.quantize.ptq import nncf
from nncf.telemetry import wrapper
convert(Path(sys.argv[1]), Path(sys.argv[2]))
nncf.telemetry.telemetry.send_event("category", "action", "label")
print("converted with", type(wrapper.telemetry).__name__)
"""
DOWNLOAD = """
os.environ["HF_HUB_OFFLINE"] = "1"
from f2edge.compile.checkpoint.hub import locate
from f2edge.errors import CheckpointError
try:
    locate("someone/something")
except CheckpointError:
    import huggingface_hub.constants
    print("statistics:", "off" if huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY else "on")
"""
APPLICATION = f"""
os.environ["CI"] = "true"  # so that the application's own import sends nothing
import openvino_telemetry
import openvino.tools.ovc as converter
before = converter.telemetry
{ANSWER}
assert converter.telemetry is before
assert sys.modules["openvino_telemetry"] is openvino_telemetry
assert os.environ["CI"] == "true" and "ORT_DISABLE_TELEMETRY" not in os.environ
"""


@pytest.mark.parametrize("bundle", ["tiny_bundle", "tiny_onnx_bundle"])
def test_an_answer_calls_nobody(bundle: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No look-up, no connection, no process of its own, and no file in the home of the user."""
    done = run_confined(tmp_path, ANSWER, request.getfixturevalue(bundle))
    assert (done.code, done.notes, done.files) == (0, [], set()), done.output
    assert done.output == "answered <CAPTION>\n"


def test_a_compilation_calls_nobody(stages: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """OpenVINO's converter and NNCF have stand-ins in place of their telemetry."""
    assert tiny_bundle.is_dir()  # its stages hold the graphs
    graph = next(stages.glob("export-vision-*/*.onnx"))
    done = run_confined(tmp_path, CONVERT, graph, tmp_path)
    assert (done.code, [note for note in done.notes if note.startswith("socket")]) == (0, []), done.output
    assert "converted with" in done.output
    assert "converted with NNCFTelemetry\n" not in done.output
    assert not any("telemetry" in file or "intel" in file for file in done.files), done.files


def test_a_download_says_only_what_it_wants(tmp_path: Path) -> None:
    """huggingface_hub leaves out of its requests what else is installed."""
    done = run_confined(tmp_path, DOWNLOAD)
    assert done.output.splitlines()[-1:] == ["statistics: off"], done.output


def test_what_the_application_imported_stays(tiny_bundle: Path, tmp_path: Path) -> None:
    """An application that imports OpenVINO itself decides about its telemetry."""
    done = run_confined(tmp_path, APPLICATION, tiny_bundle)
    assert (done.code, done.notes) == (0, []), done.output


@pytest.mark.parametrize(
    "program",
    [
        "import socket\ntry: socket.getaddrinfo('localhost', 80)\nexcept OSError: pass",
        "import socket\nsocket.socket(socket.AF_INET)",
        "if os.fork() == 0:\n    import socket\n    socket.create_connection(('127.0.0.1', 9))\nelse: os.wait()",
        "open(os.path.expanduser('~/id'), 'w')",
    ],
)
def test_the_test_would_notice(program: str, tmp_path: Path) -> None:
    """A look-up, a socket, a connection of a child and a file in the home are seen."""
    done = run_confined(tmp_path, program)
    assert (done.code, done.notes, done.files) != (0, [], set())
