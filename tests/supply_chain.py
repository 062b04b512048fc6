"""What is shipped with Trichord: its dependencies with every extra, their licences, and a CycloneDX list of them.

`python -m tests.supply_chain build/sbom.json` (`make sbom`) writes the list from the installed environment: what the
developers alone need is left out.
"""

from __future__ import annotations

import importlib.metadata as metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NOT_SHIPPED = ("dev", "docs", "gpu")  # gpu: faiss-gpu in place of faiss-cpu, the same code
COPYLEFT = re.compile(
    r"\b(?:[AL]?GPL|MPL|EPL|CDDL|EUPL|OSL|CC-BY-SA)|GENERAL PUBLIC|MOZILLA|ECLIPSE PUBLIC", re.IGNORECASE
)
EXCEPTIONS = {  # copyleft, and why it may be
    "certifi": "MPL-2.0: a list of certificates, unchanged; what links to it is not concerned",
    "orjson": "MPL-2.0 for some of its files, unchanged; a dependency of albumentations and Ray",
    "tqdm": "MPL-2.0 for some of its files, unchanged; a dependency of transformers",
}
SAID_ELSEWHERE = {  # no licence in the metadata; as its files or its site say
    "annoy": "Apache-2.0",
    "cuda-toolkit": "NVIDIA proprietary: no files, it names other wheels",
    "nvidia-cusparselt-cu13": "NVIDIA proprietary",
    "protobuf": "BSD-3-Clause",
    "pysocks": "BSD-3-Clause",
    "ray": "Apache-2.0",
    "transformers": "Apache-2.0",
}


def shipped() -> dict[str, metadata.Distribution]:
    """Return what is installed of the dependencies of Trichord and its extras, and theirs, by name."""
    own = metadata.distribution("trichord")
    extras = [name for name in own.metadata.get_all("Provides-Extra") or () if name not in NOT_SHIPPED]
    found: dict[str, metadata.Distribution] = {}
    todo, seen = [("trichord", extra) for extra in ("", *extras)], set[tuple[str, str]]()
    while todo:
        name, extra = todo.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # Annoy, where there is no compiler
            continue
        found[canonicalize_name(name)] = distribution
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(requirement.name, more) for more in ("", *requirement.extras)]
    del found["trichord"]
    return found


def licence_of(distribution: metadata.Distribution) -> str:
    """Return what the metadata of a package says of its licence: expression, text and classifiers; "" for nothing."""
    said = distribution.metadata
    classifiers = [one for one in said.get_all("Classifier") or () if one.startswith("License ::")]
    text = said.get("License-Expression") or (said.get("License") or "").strip().partition("\n")[0][:100]
    return " | ".join(part for part in (text, *classifiers) if part and part.upper() != "UNKNOWN")


def write_sbom(path: Path) -> int:
    """Write the list and return how many packages it names.

    Raises:
        ValueError: it does not follow the schema of CycloneDX 1.6.
    """
    command = [str(Path(sys.executable).with_name("cyclonedx-py")), "environment", "--output-reproducible",
               "--of", "JSON", sys.executable]  # fmt: skip
    listed: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    wanted = shipped().keys() | {"trichord"}
    listed["components"] = [one for one in listed["components"] if canonicalize_name(one["name"]) in wanted]
    known = {one["bom-ref"] for one in listed["components"]} | {listed["metadata"].get("component", {}).get("bom-ref")}
    listed["dependencies"] = [
        one | {"dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in known]}
        for one in listed["dependencies"]
        if one["ref"] in known
    ]
    text = json.dumps(listed, indent=2, sort_keys=True) + "\n"
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"not valid CycloneDX 1.6: {problem}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return len(listed["components"])


if __name__ == "__main__":
    target = Path(sys.argv[1])
    sys.stdout.write(f"{write_sbom(target)} packages: {target}\n")
