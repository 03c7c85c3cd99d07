"""Running a graph through I/O binding, which leaves values in the memory where they are needed next."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from f2edge.decoding.stopping import NEVER, StopRequestedError
from f2edge.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.stopping import StopSignal

_STATUS = re.compile(r"^.*\[ONNXRuntimeError\] : \d+ : \w+ : ")


@dataclass(frozen=True)
class Memory:
    """The memory of one device.

    Args:
        kind: ONNX Runtime's word for it: "cpu" or "cuda".
        number: which one of them.
    """

    kind: str = "cpu"
    number: int = 0

    def value(self, array: FloatArray | IntArray) -> ort.OrtValue:
        """Return an array as a value here; on a GPU it is a copy."""
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self.kind, self.number)


HOST = Memory()


@dataclass(frozen=True)
class Graph:
    """A loaded graph.

    Args:
        session: ONNX Runtime's session.
        memory: the memory of its device.
    """

    session: ort.InferenceSession
    memory: Memory = HOST

    def run(
        self,
        inputs: Mapping[str, ort.OrtValue],
        outputs_in: Memory,
        signal: StopSignal = NEVER,
        *,
        to_host: Collection[str] = (),
    ) -> dict[str, ort.OrtValue]:
        """Run the graph and return its outputs by name.

        Args:
            inputs: values in any memory; those that are elsewhere are copied.
            outputs_in: the memory that the outputs are needed in.
            signal: stops the graph between two of its operators.
            to_host: the outputs that are needed in the CPU's memory instead.

        Raises:
            DeviceError: ONNX Runtime failed.
            StopRequestedError: the signal asked to stop.
        """
        names = [output.name for output in self.session.get_outputs()]
        own = outputs_in if outputs_in == self.memory else HOST  # a session writes to its own device or to the CPU
        binding = self.session.io_binding()
        try:
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, value)
            for name in names:
                memory = HOST if name in to_host else own
                binding.bind_output(name, memory.kind, memory.number)
            with _stopped_by(signal) as options:
                self.session.run_with_iobinding(binding, options)
        except Exception as error:
            if signal.reason:
                raise StopRequestedError from error
            raise DeviceError(f"ONNX Runtime failed while running: {first_line(error)}") from error
        outputs = dict(zip(names, binding.get_outputs(), strict=True))
        return outputs if own == outputs_in else {name: outputs_in.value(v.numpy()) for name, v in outputs.items()}


@contextmanager
def _stopped_by(signal: StopSignal) -> Iterator[ort.RunOptions | None]:
    """Yield the options of a run that ends in an error as soon as the signal asks to stop."""
    if not signal.possible:
        yield None
        return
    options, done = ort.RunOptions(), Event()

    def terminate() -> None:
        options.terminate = True

    watcher = Thread(target=signal.watch, args=(done, terminate), daemon=True)
    watcher.start()
    try:
        yield options
    finally:
        done.set()
        watcher.join()


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, without the place in ONNX Runtime's source and the status code."""
    return _STATUS.sub("", str(error).strip().split("\n", 1)[0])
