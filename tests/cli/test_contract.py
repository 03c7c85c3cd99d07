"""The contract of the command line: what goes to stdout and stderr, and the exit codes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import f2edge.cli.targets as targets_module
from f2edge.cli import COMMANDS
from f2edge.cli.compile import command as compile_command
from f2edge.cli.failure import with_options
from f2edge.cli.output import print_json
from tests.support.command import Outcome, f2edge, f2edge_process, finish, start

if TYPE_CHECKING:
    from collections.abc import Callable

RAISE = "import f2edge.cli.targets as t\ndef fail(*_): raise {}\nt.print_json = fail\n"


@pytest.fixture
def targets_raising(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], Outcome]:
    """Return a function that runs a command in which the given exception is raised."""

    def run(error: BaseException) -> Outcome:
        def fail(_value: object) -> None:
            raise error

        monkeypatch.setattr(targets_module, "print_json", fail)
        return f2edge("targets", "--json")

    return run


def test_help_names_every_command() -> None:
    """The help lists all subcommands with their summaries."""
    outcome = f2edge("--help")
    assert outcome.code == 0
    assert len(COMMANDS) == 13
    assert all(f"{name:9}  {summary}" in outcome.stdout for name, summary in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """Every subcommand prints a usage line that starts with its own name."""
    outcome = f2edge(name, "--help")
    assert outcome.code == 0
    assert outcome.stdout.startswith(f"Usage: f2edge {name} ")


def test_modules_are_imported_when_called() -> None:
    """The help imports no subcommand; a subcommand imports its own module, but neither torch nor an engine."""
    code = "import atexit, sys\natexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))\n"
    loaded = set(f2edge_process("--help", first=code).stderr.split())
    assert "f2edge.cli" in loaded
    assert not {f"f2edge.cli.{name}" for name in COMMANDS} & loaded
    loaded = set(f2edge_process("targets", first=code).stderr.split())
    assert {f"f2edge.cli.{name}" for name in COMMANDS} & loaded == {"f2edge.cli.targets"}
    assert not {"torch", "onnx", "openvino", "onnxruntime"} & loaded


def test_log_messages_go_to_stderr() -> None:
    """Log messages, such as the notice of an engine that takes its time, are printed on stderr."""
    first = (
        "import logging, f2edge.cli.targets as t\nt.print_json = lambda _: logging.getLogger('f2edge.x').info('wait')"
    )
    assert f2edge_process("targets", "--json", first=first).stderr == "f2edge: wait\n"


def test_module_is_the_command() -> None:
    """``python -m f2edge`` runs the command and prints its version."""
    done = subprocess.run([sys.executable, "-m", "f2edge", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("f2edge, version ")


def test_wrong_usage_ends_with_2() -> None:
    """Unknown commands and options, missing arguments and wrong values are reported by click with exit code 2."""
    for arguments in (
        ["frobnicate"],
        ["targets", "--frobnicate"],
        ["run", "bundle"],
        ["run", "bundle", "image", "--task", "od", "--num-beams", "0"],
        ["run", "bundle", "image", "--task", "od", "--region", "1,2,3"],
        ["run", "bundle", "image", "--task", "od", "--region", "1,2,3,nan"],
        ["bench", "bundle", "--runs", "0"],
        ["bench", "bundle", "--device", " "],
        ["compile", "checkpoint", "-o", "x", "--target", "toaster"],
    ):
        outcome = f2edge(*arguments)
        assert (outcome.code, outcome.stdout) == (2, ""), arguments
        assert "Usage: f2edge" in outcome.stderr


def test_out_of_memory_is_one_line(targets_raising: Callable[[BaseException], Outcome]) -> None:
    """A MemoryError becomes one line that says what to do."""
    assert "out of memory; use fewer beams, a smaller" in targets_raising(MemoryError()).error


def test_full_disk_is_one_line(targets_raising: Callable[[BaseException], Outcome]) -> None:
    """An OSError becomes one line that says what failed, where, and what to do."""
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/bundle")
    line = targets_raising(error).error
    assert line == "f2edge: /data/bundle: No space left on device; free some space or choose another disk"


def test_bugs_keep_their_traceback() -> None:
    """An unexpected exception keeps its traceback, so that a bug can be reported."""
    outcome = f2edge_process("targets", "--json", first=RAISE.format("ZeroDivisionError('a bug')"))
    assert outcome.code == 1
    assert outcome.stderr.startswith("Traceback")
    assert outcome.stderr.endswith("ZeroDivisionError: a bug\n")


def test_interrupt_is_quiet() -> None:
    """Ctrl-C ends the command with exit code 130 and prints nothing."""
    assert f2edge_process("targets", "--json", first=RAISE.format("KeyboardInterrupt")) == Outcome(130, "", "")


def test_real_interrupt_is_quiet() -> None:
    """SIGINT ends a running command with 130, even if the tests run as a background job that ignores it."""
    code = (
        "import f2edge.cli.targets as t, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "t.print_json = lambda _: (print('started', flush=True), time.sleep(60))\n"
    )
    with start("targets", "--json", first=code) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert finish(process) == Outcome(130, "", "")


def test_closed_pipe_is_quiet() -> None:
    """A closed stdout, as in ``| head``, causes no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    outcome = finish(start("targets", stdout=writing))
    os.close(writing)
    assert outcome == Outcome(1, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_stdout_on_a_full_disk_is_one_line() -> None:
    """Output that cannot be written is one error, reported once."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        assert "No space left" in finish(start("targets", stdout=full.fileno())).error


def test_json_has_no_infinities(capsys: pytest.CaptureFixture[str]) -> None:
    """NaN and infinity become null at any depth; all other values stay."""
    print_json({"a": [1.5, float("inf"), {"b": (float("nan"), -0.25, "x", None, True)}]})
    assert capsys.readouterr().out == '{"a": [1.5, null, {"b": [null, -0.25, "x", null, true]}]}\n'


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("`max_new_tokens` 0: too few", "--max-new-tokens 0: too few"),
        ("`compute_capabilities` goes with `target` rtx", "--compute-capability goes with --target rtx"),
        ("`batch` is no option; a`b` and `` stay", "batch is no option; ab and `` stay"),
    ],
)
def test_errors_name_options(message: str, line: str) -> None:
    """If an error of the library names arguments in backticks, the command prints their options instead."""
    assert with_options(message, compile_command) == line
