"""How object stores are reached."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.base import Strict


class StorageConfig(Strict):
    """How object stores are reached; credentials come from the environment variables and files of each provider."""

    endpoint: str | None = Field(None, description="S3-compatible endpoint URL; none for AWS itself.")
    region: str = Field("us-east-1", description="S3 region.")
    azure_account: str | None = Field(
        None,
        pattern=r"^[a-z0-9]{3,24}$",
        description="Azure storage account of az:// URIs; none: the variable AZURE_STORAGE_ACCOUNT_NAME names it.",
    )
    allow_http: bool = Field(False, description="Permit http:// endpoints.")
