"""How object stores are reached."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.base import Strict


class StorageConfig(Strict):
    """How object stores are reached; credentials come from the usual AWS environment variables."""

    endpoint: str | None = Field(None, description="S3-compatible endpoint URL; none for AWS itself.")
    region: str = Field("us-east-1", description="S3 region.")
    allow_http: bool = Field(False, description="Permit an http:// endpoint.")
