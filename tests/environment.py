"""The environment that tests run in: nothing that a user's machine has set for other programs reaches them."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

# Settings of libraries and services, which tests make for themselves where they need one.
FOREIGN = (
    "AWS_", "AZURE_", "GOOGLE_", "HF_", "HUGGINGFACE_",
    "TRANSFORMERS_", "TORCH_HOME", "RAY_", "MILVUS_", "ETCD_", "OPENAI_",
    "PYTHONWARNINGS", "PYTEST_ADDOPTS", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "CLICOLOR", "PY_COLORS",
)  # fmt: skip
PROXY = "_PROXY"
PACKAGE = "trichord"


def clean(environment: MutableMapping[str, str], package: Path) -> None:
    """Remove what is foreign, and from PYTHONPATH every folder but that of this package."""
    for name in list(environment):
        if name.upper().startswith(FOREIGN) or name.upper().endswith(PROXY):
            del environment[name]
    environment["TERM"] = "dumb"  # no colours and no width of somebody's terminal
    folders = environment.pop("PYTHONPATH", "").split(os.pathsep)
    ours = [folder for folder in folders if folder and _holds(Path(folder), package)]
    if ours:
        environment["PYTHONPATH"] = os.pathsep.join(ours)


def _holds(folder: Path, package: Path) -> bool:
    found = folder / PACKAGE  # the checkout itself may have any name
    return found.exists() and found.samefile(package)
