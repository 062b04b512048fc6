"""What code a process has: versions of what shapes results, and a digest of the package's sources.

Standard library only: the module travels by value to workers where nothing of this package may be installed.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence

PACKAGE = "trichord"
ROOMS = ("pipelines", "transforms", "encoders", "index_builders", "infra")
SUFFIXES = (".py", ".typed", ".j2", ".css")  # of what setup.py packages
# What shapes rows, vectors or files, or would not import: where versions differ, one lake would hold both.
LIBRARIES = (
    "albumentations", "deltalake", "ftfy", "nlpaug", "numpy", "obstore", "phonenumbers", "pillow", "pocketsphinx",
    "py3langid", "pyarrow", "pydantic", "pyloudnorm", "safetensors", "scipy", "silero-vad", "soundfile",
    "symspellpy", "torch", "torchaudio", "transformers", "urllib3",
)  # fmt: skip


def package_files(root: str) -> Iterator[str]:
    """Yield the package's own files, relative to its folder and sorted: no tests, caches or hidden files."""
    yield from sorted(name for name in os.listdir(root) if name in ("__init__.py", "py.typed"))
    for room in ROOMS:
        for folder, folders, names in os.walk(os.path.join(root, room)):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
            for name in sorted(names):
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    yield os.path.relpath(os.path.join(folder, name), root)


def package_folder(name: str = PACKAGE) -> str | None:
    """Return the folder of a package, without importing it; None where there is none."""
    found = importlib.util.find_spec(name)
    places = found.submodule_search_locations if found is not None else None
    return next(iter(places), None) if places else None


def sources_digest() -> str | None:
    """Return a digest of the sources of the package that this process would import; None where there is none."""
    root = package_folder()
    if root is None:
        return None
    state = hashlib.sha256()
    for name in package_files(root):
        with open(os.path.join(root, name), "rb") as file:
            content = file.read()
        state.update(f"{name} {len(content)}\n".encode() + content)
    return state.hexdigest()[:16]


def versions(modules: Sequence[str] = ()) -> dict[str, str | None]:
    """Return versions by name, None for what is missing: Python, libraries, this package and top-level `modules`."""
    found: dict[str, str | None] = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in LIBRARIES:
        try:
            # what follows + names a build, such as that for CPUs: both are of one version
            found[name] = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    found[PACKAGE] = sources_digest()
    for name in modules:
        spec = importlib.util.find_spec(name)
        found[name] = None if spec is None else "present"
    return found
