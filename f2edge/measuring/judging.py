"""Say in words what makes a measurement doubtful."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.measuring.statistics import changing_medians

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from f2edge.measuring.busy import Contention
    from f2edge.measuring.conditions import Conditions

_OTHERS = 0.05
"""The share of the processors that others may keep busy: housekeeping of an idle system takes less."""
_STOLEN = 0.01


def doubts(
    before: Conditions, after: Conditions, load: Contention | None, times: Sequence[float] = ()
) -> tuple[str, ...]:
    """Return a short sentence for each condition under which times say little about the device.

    Args:
        before: the state of the machine before the measurement.
        after: its state at the end.
        load: who else took processor time.
        times: the times of the same work again and again, in milliseconds and in their order.
    """
    return (*_busy(load), *_throttled(before, after), *_battery(before, after), *_changing(times))


def _busy(load: Contention | None) -> Iterator[str]:
    if load and load.others > _OTHERS * load.processors:
        yield f"the machine was busy: other processes kept {load.others:.1f} of {load.processors} processors busy"
    if load and load.stolen > _STOLEN:
        yield f"the host gave {load.stolen:.1%} of the processor time to other virtual machines"


def _throttled(before: Conditions, after: Conditions) -> Iterator[str]:
    events = (after.throttle_events or 0) - (before.throttle_events or 0)
    if events > 0:
        yield f"the processor was throttled {events} times because it was too hot"
    elif before.throttled or after.throttled:
        yield "the processor was throttled"


def _battery(before: Conditions, after: Conditions) -> Iterator[str]:
    if before.on_battery or after.on_battery:
        yield "the machine ran on its battery"


def _changing(times: Sequence[float]) -> Iterator[str]:
    """A virtual machine cannot see why: its host changes the clock, or others take memory bandwidth and caches."""
    if medians := changing_medians(times):
        low, high = medians
        yield f"the speed changed during the measurement: medians of its eighths are {low:.4g} to {high:.4g} ms"
