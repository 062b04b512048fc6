"""The project file's types. Every default lives here and nowhere else; docs and JSON Schema are made from them."""

from __future__ import annotations

from trichord.infra.config.agreement import AgreementConfig
from trichord.infra.config.align import AlignConfig
from trichord.infra.config.audio import AudioConfig
from trichord.infra.config.augment import AugmentConfig
from trichord.infra.config.base import Strict, View
from trichord.infra.config.dedup import DedupConfig
from trichord.infra.config.engine import EngineConfig
from trichord.infra.config.evaluate import EvaluateConfig, GateConfig
from trichord.infra.config.image import ImageConfig
from trichord.infra.config.index import IndexConfig, IndexKind, Refine
from trichord.infra.config.milvus import MilvusConfig
from trichord.infra.config.model import AdaptConfig, EncoderConfig, ModelConfig
from trichord.infra.config.observe import AlertsConfig, MetricsConfig
from trichord.infra.config.prepare import PrepareConfig
from trichord.infra.config.project import Project
from trichord.infra.config.query import RANKINGS, QueryConfig
from trichord.infra.config.rag import EndpointConfig, RagConfig
from trichord.infra.config.rates import RatesConfig
from trichord.infra.config.sources import (
    CaptionsSource,
    DeltaSource,
    FieldMap,
    FolderSource,
    InventorySource,
    ManifestSource,
    MediaFolderSource,
    Modality,
    ParquetSource,
    Source,
    SourceBase,
    VersionBy,
    WebDatasetSource,
)
from trichord.infra.config.storage import StorageConfig
from trichord.infra.config.text import TextConfig
from trichord.infra.config.train import TrainConfig
from trichord.infra.config.watch import WatchConfig
from trichord.infra.config.web import WebConfig

__all__ = [
    "RANKINGS",
    "AdaptConfig",
    "AgreementConfig",
    "AlertsConfig",
    "AlignConfig",
    "AudioConfig",
    "AugmentConfig",
    "CaptionsSource",
    "DedupConfig",
    "DeltaSource",
    "EncoderConfig",
    "EndpointConfig",
    "EngineConfig",
    "EvaluateConfig",
    "FieldMap",
    "FolderSource",
    "GateConfig",
    "ImageConfig",
    "IndexConfig",
    "IndexKind",
    "InventorySource",
    "ManifestSource",
    "MediaFolderSource",
    "MetricsConfig",
    "MilvusConfig",
    "Modality",
    "ModelConfig",
    "ParquetSource",
    "PrepareConfig",
    "Project",
    "QueryConfig",
    "RagConfig",
    "RatesConfig",
    "Refine",
    "Source",
    "SourceBase",
    "StorageConfig",
    "Strict",
    "TextConfig",
    "TrainConfig",
    "VersionBy",
    "View",
    "WatchConfig",
    "WebConfig",
    "WebDatasetSource",
]
