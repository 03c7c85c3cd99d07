"""Keep the packages that f2edge uses from collecting usage statistics.

OpenVINO and NNCF send them through the package ``openvino_telemetry`` if that can be imported, ONNX Runtime and
huggingface_hub do unless an environment variable says no.  All of them decide when they are imported.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping
    from typing import Any

_SENDER = "openvino_telemetry"
_REFUSALS = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import packages in the block that then send no statistics; nothing of the process is different afterwards.

    OpenVINO has no setting for this process alone, but does without its telemetry where that is not installed.  A
    package that the application has imported earlier stays as it is.
    """
    modules: dict[str, object] = {_SENDER: None}  # Python's way to say that there is no such module
    with _changed(sys.modules, modules), _changed(os.environ, _REFUSALS):
        yield


@contextmanager
def _changed(mapping: MutableMapping[str, Any], entries: Mapping[str, object]) -> Iterator[None]:
    before = {name: mapping[name] for name in entries if name in mapping}
    mapping.update(entries)
    try:
        yield
    finally:
        for name in entries:
            mapping.pop(name, None)
        mapping.update(before)
