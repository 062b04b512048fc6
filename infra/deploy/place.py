"""What the files of a deployment need to know of a project, each value checked before it reaches a file."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from pathlib import PurePosixPath

from trichord.infra.deploy.schedule import calendar, check_cron
from trichord.infra.errors import ConfigError
from trichord.infra.redaction import redact

# Templates put values into YAML, INI, shell and Python. These patterns leave no character that ends a word there.
_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
_IMAGE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9._-]*(?::[0-9]{1,5})?(?:/[a-z0-9][a-z0-9._-]*)*?)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_LAKE = re.compile(r"(?:[a-z][a-z0-9]*://)?[A-Za-z0-9._/+-]+")
_SECRET = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_PATH = re.compile(r"/[A-Za-z0-9._/+-]*")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.ya?ml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the files of a deployment need to know.

    Attributes:
        name: of the namespace, of systemd's user, of jobs.
        project: absolute path of the project file on this machine.
        folder: of that file in containers; relative paths in it start there.
        lake: URI or path that replaces the project file's; None: none does.
        lake_path: URI, or absolute path on this machine.
        local: a lake or a source is a folder or file, so containers need a volume.
        image: of containers without a GPU, with a tag or a digest.
        gpu_image: of containers with one.
        schedule: five fields of cron: minute, hour, day of the month, month, day of the week.
        timezone: of the schedule, such as Europe/Berlin.
        secrets: names of environment variables; the content of each is in a file of that name.
        program: absolute path of the command on this machine.
        ports: TCP ports of other services that runs talk to.
        milvus: the index is also in a Milvus server.
        version: of trichord.
        ray_version: of Ray in the images.

    Raises:
        ConfigError: a value is not one that can be written into every file.
    """

    name: str
    project: str
    lake: str | None
    lake_path: str
    local: bool
    image: str
    gpu_image: str
    schedule: str
    timezone: str
    secrets: tuple[str, ...]
    program: str
    ports: tuple[int, ...]
    milvus: bool
    version: str
    ray_version: str
    folder: str = "/data"

    def __post_init__(self) -> None:
        _check("--name", self.name, _NAME, "lower-case letters, digits and dashes, at most 40")
        for option, image in (("--image", self.image), ("--gpu-image", self.gpu_image)):
            if "@" in image and "@sha256:" not in image:
                raise ConfigError(
                    f"{option}: an image's name holds no user or password; log in to the registry. It is not shown."
                )
            found = _check(option, image, _IMAGE, "NAME:TAG or NAME@sha256:DIGEST")
            if found["tag"] in (None, "latest") and found["digest"] is None:
                raise ConfigError(
                    f"{option} {image}: name a version. Without one, or with `latest`, nobody knows what ran."
                )
        if self.lake is not None:
            _check("--lake", self.lake, _LAKE, "a path or URI of letters, digits and . _ / + -")
        _check("the lake", self.lake_path, _LAKE, "a path or URI of letters, digits and . _ / + -")
        _check("--project", self.project, _PATH, "an absolute path of letters, digits and . _ / + -")
        _check("--project", self.file, _FILE, "a file name that ends .yaml or .yml")
        _check("--program", self.program, _PATH, "an absolute path of letters, digits and . _ / + -")
        for secret in self.secrets:
            if not _SECRET.fullmatch(secret):
                raise ConfigError(
                    "--secret takes the name of an environment variable, in capitals, such as AWS_SECRET_ACCESS_KEY; "
                    "never its value. What was given is not shown."
                )
        if self.timezone not in zoneinfo.available_timezones():
            raise ConfigError(
                f"--timezone {self.timezone}: unknown time zone. Write one like Europe/Berlin, or Etc/UTC."
            )
        check_cron(self.schedule)

    @property
    def file(self) -> str:
        """Name of the project file."""
        return PurePosixPath(self.project).name

    @property
    def place(self) -> str:
        """Path of the project file in a container."""
        return f"{self.folder}/{self.file}"

    @property
    def home(self) -> str:
        """Folder of the project file on this machine."""
        return str(PurePosixPath(self.project).parent)

    @property
    def milvus_settings(self) -> list[str]:
        """Options of a command beside the Milvus of Docker Compose."""
        return ["--set=milvus.uri=http://milvus:19530", "--set=milvus.allow_http=true"] if self.milvus else []

    @property
    def calendar(self) -> str:
        """The schedule as systemd writes it."""
        return calendar(self.schedule, self.timezone)

    @property
    def lake_is_local(self) -> bool:
        """Return True if the lake is a folder."""
        return "://" not in self.lake_path

    def command(self, verb: str, project: str, *options: str) -> list[str]:
        """Return a command as words, without the program."""
        lake = [f"--set=lake={self.lake}"] if self.lake else []
        return [verb, *options, "--project", project, *lake]

    def split(self, image: str) -> dict[str, str]:
        """Return an image as Kustomize names it: `newName`, and `newTag` or `digest`."""
        found = _IMAGE.fullmatch(image)
        assert found is not None
        kind = "digest" if found["digest"] else "newTag"
        return {"newName": found["name"], kind: found["digest"] or found["tag"]}


def _check(option: str, value: str, pattern: re.Pattern[str], what: str) -> re.Match[str]:
    found = pattern.fullmatch(value)
    if found is None:
        raise ConfigError(f"{option} {redact(value)!r}: expected {what}.")
    return found
