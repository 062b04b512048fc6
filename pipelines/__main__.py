"""Run `trichord` as `python -m trichord.pipelines`."""

from __future__ import annotations

from trichord.pipelines.cli.command import main

if __name__ == "__main__":
    main()
