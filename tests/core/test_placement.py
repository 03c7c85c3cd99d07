"""Which device each component runs on."""

from __future__ import annotations

from typing import Any

import pytest

from f2edge.bundle.manifest import COMPONENTS
from f2edge.errors import DeviceError
from f2edge.placement import Placement, parse_placement


@pytest.mark.parametrize(
    ("text", "vision", "encoder", "decoder"),
    [
        (None, "NPU", "NPU", "NPU"),
        ("", "NPU", "NPU", "NPU"),
        ("cpu", "CPU", "CPU", "CPU"),
        ("GPU.1", "GPU.1", "GPU.1", "GPU.1"),
        ("vision=gpu,decoder=CPU", "GPU", "NPU", "CPU"),
        (" Decoder = cpu , vision = GPU.0 ", "GPU.0", "NPU", "CPU"),
        ("AUTO:GPU,CPU", "AUTO:GPU,CPU", "AUTO:GPU,CPU", "AUTO:GPU,CPU"),
        ("vision=AUTO:GPU,CPU,decoder=CPU", "AUTO:GPU,CPU", "NPU", "CPU"),
    ],
)
def test_placements(text: str | None, vision: str, encoder: str, decoder: str) -> None:
    """A device given for some components leaves the others on the bundle's own; device names may contain commas."""
    placement = parse_placement(text, "NPU", threads=2)
    assert placement == Placement(vision, encoder, decoder, threads=2)
    assert parse_placement(str(placement), "TPU", threads=2) == placement


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("visoin=GPU", "'visoin' is not a component; name some of vision, encoder, decoder"),
        ("vision=GPU,vision=CPU", "'vision' is there twice"),
        ("vision=", "a name is missing"),
        ("=GPU", "'' is not a component"),
        ("vision=GPU,CPU=", "'cpu' is not a component"),
    ],
)
def test_bad_placements(text: str, reason: str) -> None:
    """A wrong placement is refused in one line that quotes it."""
    with pytest.raises(DeviceError, match=reason) as error:
        parse_placement(text, "CPU")
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_threads() -> None:
    """``threads`` is a whole number of at least 1; without it, the engine chooses."""
    assert parse_placement("CPU", "CPU").threads is None
    wrong: Any
    for wrong in (0, -1, "2", 1.5, True):
        with pytest.raises(DeviceError, match=rf"^`threads` is {wrong!r}; it must be a whole number of at least 1$"):
            parse_placement("CPU", "CPU", threads=wrong)


@pytest.mark.parametrize("device", [3, b"CPU", ["CPU"], {}])
def test_devices_that_are_no_names(device: Any) -> None:
    """A device that is not a string is refused, even if it is falsy."""
    with pytest.raises(DeviceError, match="give a name, such as CPU"):
        parse_placement(device, "CPU")


def test_an_engine_with_one_device() -> None:
    """An engine for one device gets that device, and refuses a placement on two."""
    placement = Placement.on("CUDA")
    assert placement.only_device("TensorRT") == "CUDA"
    assert list(placement.devices()) == list(COMPONENTS)
    with pytest.raises(DeviceError, match="TensorRT runs all components on one device, not on CPU, CUDA"):
        placement.with_device("decoder", "CPU").only_device("TensorRT")
