"""The levels of a backbone: what the manifest says of the feature maps that a bundle gives in place of answers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import TYPE_CHECKING

from f2edge.geometry import STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.geometry import VisionGeometry


@dataclass(frozen=True)
class Level:
    """One feature map, with the fields of timm's ``feature_info`` and a name.

    Args:
        name: "c2" for the first stage, whose stride is 4 in every published checkpoint, to "c5" for the fourth.
        module: the module of the reference model whose output the map is.
        reduction: its stride, in pixels of the picture for each position, in either direction.
        num_chs: its channels.
        index: the stage, from 0.
    """

    name: str
    module: str
    reduction: int
    num_chs: int
    index: int


@dataclass(frozen=True)
class FeatureMaps:
    """The maps of a backbone.

    Args:
        feature_info: one entry for each map, the finest first.
        image_size: (height, width) in pixels that the graph is made for; None if it takes any multiples of 32.
    """

    feature_info: tuple[Level, ...]
    image_size: tuple[int, int] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the levels."""
        return tuple(level.name for level in self.feature_info)

    def faults(self, vision: VisionGeometry) -> list[str]:
        """List what no tower of these sizes gives, each as a short sentence."""
        known = {level.index: level for level in levels_of(vision)}
        faults = [
            f"feature_info: level {level.name!r:.60} is not one of stage {level.index} of this tower"
            for level in self.feature_info
            if level.index not in known or not _same(level, known[level.index])
        ]
        places = [level.index for level in self.feature_info]
        if not places or places != sorted(set(places)):
            faults.append(f"feature_info: its stages are {places}; they must ascend, and there must be one")
        if self.image_size and any(side < STRIDE or side % STRIDE for side in self.image_size):
            faults.append(f"image_size is {list(self.image_size)}; sides must be multiples of {STRIDE}")
        return faults


def levels_of(vision: VisionGeometry) -> tuple[Level, ...]:
    """Return the levels of all stages of a tower."""
    strides = accumulate(vision.patch_stride, mul)
    return tuple(
        Level(f"c{stage + 2}", f"vision_tower.blocks.{stage}", stride, channels, stage)
        for stage, (stride, channels) in enumerate(zip(strides, vision.embed_dim, strict=True))
    )


def choose(every: Sequence[Level], stages: Sequence[int]) -> tuple[Level, ...]:
    """Return the levels of some stages, which are numbered from 1; those of all stages if none are named.

    Raises:
        ValueError: there is no such stage, or the numbers do not ascend.
    """
    named = ", ".join(map(str, stages))
    if any(not 1 <= stage <= len(every) for stage in stages):
        raise ValueError(f"{named}: this tower has the stages 1 to {len(every)}")
    if list(stages) != sorted(set(stages)):
        raise ValueError(f"{named}: stages must ascend, each once")
    return tuple(every[stage - 1] for stage in stages or range(1, len(every) + 1))


def _same(level: Level, known: Level) -> bool:
    """Tell whether a level is the known one; how its module is called is of no matter."""
    return (level.name, level.reduction, level.num_chs) == (known.name, known.reduction, known.num_chs)
