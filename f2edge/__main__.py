"""``python -m f2edge`` is the command ``f2edge``."""

from __future__ import annotations

from f2edge.cli import main

if __name__ == "__main__":
    main()
