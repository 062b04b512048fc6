"""`python -m trichord.pipelines` is `trichord`."""

from __future__ import annotations

from trichord.pipelines.cli.app import main

if __name__ == "__main__":
    main()
