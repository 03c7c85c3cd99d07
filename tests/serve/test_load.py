"""A load test with a public tool, where it is installed: hey, a package of Debian."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from f2edge.serve.settings import Settings
from tests.support.serving import picture, serving

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.model import Florence2

SECONDS = int(os.environ.get("F2EDGE_LOAD_SECONDS", "3"))
"""How long it takes; 30 for a longer test."""


@pytest.mark.skipif(not shutil.which("hey"), reason="hey is not installed: apt-get install hey")
def test_every_request_is_answered(model: Florence2, tmp_path: Path) -> None:
    """Sixteen clients that ask without a pause get answers, or are told to come again, and nothing else."""
    question = {"task": "caption", "max_new_tokens": 4, "image": base64.b64encode(picture()).decode()}
    (tmp_path / "body.json").write_text(json.dumps(question))
    with serving(model, Settings(port=0, queue=8)) as live:
        command = ["hey", "-z", f"{SECONDS}s", "-c", "16", "-m", "POST", "-T", "application/json"]
        command += ["-D", str(tmp_path / "body.json"), f"{live.url}/v1/ask"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS + 60)  # noqa: S603
        assert httpx.get(f"{live.url}/health/ready").status_code == 200
    counts = {int(status): int(count) for status, count in re.findall(r"\[(\d+)\]\s+(\d+) responses", done.stdout)}
    assert counts[200] > 0
    assert set(counts) <= {200, 429}
    assert "Error distribution" not in done.stdout
