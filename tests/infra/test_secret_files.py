"""Files of the folder TRICHORD_SECRETS become environment variables."""

from __future__ import annotations

import os

import pytest

from trichord.infra.errors import ConfigError
from trichord.infra.secret_files import export_secrets


def test_each_file_is_a_variable_and_what_is_set_stays(tmp_path):
    for name, text in {"A_KEY": "one\n", "B_KEY": " two \n\n", "SET": "new", "watch-token": "x", "lower": "y"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {"TRICHORD_SECRETS": str(tmp_path), "SET": "old"}
    export_secrets(environment)
    assert environment == {"TRICHORD_SECRETS": str(tmp_path), "SET": "old", "A_KEY": "one", "B_KEY": " two \n"}


def test_links_are_followed_as_kubernetes_mounts_secrets(tmp_path):
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "KEY").write_text("v", encoding="utf-8")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "KEY").symlink_to("..data/KEY")
    environment = {"TRICHORD_SECRETS": str(tmp_path)}
    export_secrets(environment)
    assert environment["KEY"] == "v"


def test_without_the_folders_name_nothing_happens():
    environment: dict[str, str] = {}
    export_secrets(environment)
    assert environment == {}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * (64 << 10) + b"y", None], ids=["bytes", "large", "a pipe"])
def test_a_file_that_cannot_be_one_is_refused_without_its_content(tmp_path, content):
    if content is None:
        os.mkfifo(tmp_path / "KEY")
    else:
        (tmp_path / "KEY").write_bytes(content)
    with pytest.raises(ConfigError, match=r"TRICHORD_SECRETS: .*KEY cannot be read") as error:
        export_secrets({"TRICHORD_SECRETS": str(tmp_path)})
    assert "xxx" not in str(error.value)


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        export_secrets({"TRICHORD_SECRETS": str(tmp_path / "gone")})
