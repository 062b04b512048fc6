"""`python -m pipelines` is `trichord`."""

from __future__ import annotations

from pipelines.cli import main

if __name__ == "__main__":
    main()
