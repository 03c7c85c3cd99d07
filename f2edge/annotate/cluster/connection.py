"""Connect to a cluster of Ray, or start one on this machine; Ray says nothing and calls nobody meanwhile."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from f2edge.errors import AnnotationError, InputError
from f2edge.machine import usable_cores

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL = "auto"
_PLACE = re.compile(r"(?P<host>[^:/\s]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})")
_TRY = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)"
"""Connects in a process of its own, which can be ended."""
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 60.0
_START_SECONDS = 300
_STORE_BYTES = 100 * 2**20
"""Memory for what processes of a local cluster hand on: names of pictures, which go to the disk if they are more."""
_SURROUNDINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


class Node(NamedTuple):
    """What a node of a cluster has, used or not."""

    cores: int
    gpus: int

    def room(self, cores: int, gpus: int) -> int:
        """Return how many workers fit that take so many cores and GPUs each."""
        return min(self.cores // cores, self.gpus // gpus if gpus else self.cores)


@contextmanager
def connected(address: str) -> Iterator[list[Node]]:
    """Connect to a cluster, or start one, and give its nodes; Ray says nothing and calls nobody meanwhile.

    Raises:
        AnnotationError: no cluster answers or can be started.
        InputError: the address is none.
    """
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex} if address == LOCAL else {}
    started = {"RAY_raylet_start_wait_time_s": str(_START_SECONDS)}
    with _surroundings({**_SURROUNDINGS, **token, **started}), _quiet():
        if address != LOCAL:
            _check_address(address)
        import ray  # noqa: PLC0415

        try:
            _init(ray, address)
            yield [_node(one["Resources"]) for one in ray.nodes() if one["Alive"]]
        finally:
            ray.shutdown()


def _init(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"address": address}
    if address == LOCAL:
        options = {"address": "local", "include_dashboard": False, "object_store_memory": _STORE_BYTES}
        options["num_cpus"] = usable_cores()
    try:
        with _no_stderr():
            ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:
        what = "Ray did not start here" if address == LOCAL else f"the cluster of Ray at {address} cannot be used"
        raise AnnotationError(f"{what}: {last_line(str(error))}") from error
    from ray import data  # noqa: PLC0415

    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # the terminal; its file stays
            handler.setLevel(logging.CRITICAL + 1)


def _node(resources: dict[str, float]) -> Node:
    return Node(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


def _check_address(address: str) -> None:
    """Refuse an address at which no cluster answers, for which Ray would wait for ever, or end this process.

    Raises:
        AnnotationError: no cluster answers, or this machine is no node of it.
        InputError: it is no address.
    """
    found = _PLACE.fullmatch(address)
    if found is None:
        raise InputError(
            f"`ray` is {address}; give auto, or HOST:PORT of the head of a cluster, on a machine that is a node of it"
        )
    try:
        socket.create_connection((found["host"].strip("[]"), int(found["port"])), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_answer(address, str(error)) from error
    command = [sys.executable, "-c", _TRY, address]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ANSWER_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise _no_answer(address, f"it was silent for {_ANSWER_SECONDS:g} s") from error
    if tried.returncode:
        raise _no_answer(address, last_line(tried.stderr) or f"the attempt ended with {tried.returncode}")


def _no_answer(address: str, why: str) -> AnnotationError:
    return AnnotationError(
        f"no cluster of Ray answers at {address} ({why}): start one with ray start --head, or give auto"
    )


@contextmanager
def _surroundings(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment, which the processes of Ray take over, until the end of the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's notes off stdout and its warnings off stderr, and put the handler of SIGTERM back that it replaces."""
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():  # noqa: PTH123
            warnings.simplefilter("ignore")
            yield
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Keep off stderr what is not written by Python: that a level of notes was set."""
    before = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def last_line(text: str) -> str:
    """Return the last line of what an error tells, which says more than those before it; "" if there is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{lines[-1]:.200}" if lines else ""
