"""How the buckets of each provider are reached: by obstore for our own objects, by deltalake for tables.

Credentials come from the provider's own variables and files, which both libraries read; no setting holds one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from trichord.infra.bucket_uri import is_remote, split_remote
from trichord.infra.config import StorageConfig
from trichord.infra.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow.fs as pafs
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

_ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
_RETRIES: RetryConfig = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}
_COLOURS = re.compile(r"\x1b\[\d+m")
_REFUSED = re.compile(r"\b40[13] (?:Unauthorized|Forbidden)|token request|\bcredentials?\b", re.IGNORECASE)
_CREDENTIALS: Mapping[str, str] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_WEB_IDENTITY_TOKEN_FILE, or the machine's role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS (a file), or the machine's service account",
    "az": "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_FEDERATED_TOKEN_FILE with AZURE_CLIENT_ID and "
    "AZURE_TENANT_ID, or the machine's managed identity",
}


def open_store(scheme: str, bucket: str, config: StorageConfig) -> S3Store | GCSStore | AzureStore:
    """Return obstore's client of a bucket (Azure: container); nothing is asked of the server.

    Raises:
        ConfigError: the environment's settings of this provider are incomplete or cannot be read.
    """
    import obstore.store  # not needed for local lakes
    from obstore.exceptions import BaseError

    try:
        if scheme == "gs":
            return obstore.store.GCSStore(
                bucket, client_options={"allow_http": config.allow_http}, retry_config=_RETRIES
            )
        if scheme == "az":
            return obstore.store.AzureStore(
                bucket,
                account_name=_azure_account(config),
                client_options={"allow_http": config.allow_http},
                retry_config=_RETRIES,
            )
        return obstore.store.S3Store(
            bucket,
            region=config.region,
            client_options={"allow_http": config.allow_http},
            retry_config=_RETRIES,
            config={"endpoint": config.endpoint} if config.endpoint else {},
        )
    except (BaseError, ValueError) as error:  # its text may quote what it could not parse: a key
        raise ConfigError(
            f"The credentials for {scheme}://{bucket} cannot be read ({type(error).__name__}).\n"
            f"Look at the variables: {_CREDENTIALS[scheme]}."
        ) from None


def file_system(scheme: str, config: StorageConfig) -> pafs.FileSystem:
    """Return the buckets of Google or Azure as a file system of pyarrow: paths are `BUCKET/KEY`.

    Raises:
        ConfigError: the Azure account is not known.
    """
    import pyarrow.fs
    from obstore.fsspec import FsspecStore  # pyarrow's own would look for other credentials

    options: ClientConfig = {"allow_http": config.allow_http}
    store = FsspecStore("gs", client_options=options)
    if scheme == "az":
        store = FsspecStore("az", client_options=options, account_name=_azure_account(config))
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(store))


def delta_options(scheme: str, config: StorageConfig) -> dict[str, str]:
    """Return `storage_options` of deltalake for a table in a bucket.

    Raises:
        ConfigError: the Azure account is not known.
    """
    options = {"allow_http": "true"} if config.allow_http else {}
    if scheme == "az":
        return {**options, "azure_storage_account_name": _azure_account(config)}
    if scheme == "gs":
        return options
    options = {"AWS_REGION": config.region, "aws_conditional_put": "etag"}
    if config.endpoint:
        options["AWS_ENDPOINT_URL"] = config.endpoint
    if config.allow_http:
        options["AWS_ALLOW_HTTP"] = "true"
    return options


def advice_on_credentials(uri: str, text: str) -> str | None:
    """Return what to check where the text of a store's error says that it let nobody in; None if it does not."""
    if not (is_remote(uri) and _REFUSED.search(text)):
        return None
    return f"Check the credentials ({_CREDENTIALS[split_remote(uri)[0]]})"


def describe(error: BaseException) -> str:
    """Return the first line of a library's error, and the causes that Delta's kernel lists below it, in one line."""
    first, *causes = _COLOURS.sub("", str(error)).splitlines() or [type(error).__name__]
    return ": ".join([first, *(line.strip(" ↳") for line in causes if line.lstrip().startswith("↳"))])


def _azure_account(config: StorageConfig) -> str:
    account = config.azure_account or os.environ.get(_ACCOUNT)
    if not account:
        raise ConfigError(
            f"az:// needs the name of a storage account. Set storage.azure_account in the project file, or {_ACCOUNT}."
        )
    return account
