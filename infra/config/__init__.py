"""The project file's types. Every default lives here and nowhere else; docs and JSON Schema are made from them."""

from __future__ import annotations

from infra.config.agreement import AgreementConfig
from infra.config.align import AlignConfig
from infra.config.audio import AudioConfig
from infra.config.augment import AugmentConfig
from infra.config.base import Strict, View
from infra.config.dedup import DedupConfig
from infra.config.evaluate import EvaluateConfig, GateConfig
from infra.config.image import ImageConfig
from infra.config.milvus import MilvusConfig
from infra.config.model import AdaptConfig, EncoderConfig, ModelConfig
from infra.config.prepare import PrepareConfig
from infra.config.project import EngineConfig, IndexConfig, IndexKind, Project, Refine, StorageConfig
from infra.config.query import QueryConfig
from infra.config.rag import EndpointConfig, RagConfig
from infra.config.sources import (
    CaptionsSource,
    DeltaSource,
    FieldMap,
    FolderSource,
    ManifestSource,
    MediaFolderSource,
    Modality,
    ParquetSource,
    Source,
    SourceBase,
    VersionBy,
    WebDatasetSource,
)
from infra.config.text import TextConfig
from infra.config.train import Loss, TrainConfig
from infra.config.web import WebConfig

__all__ = [
    "AdaptConfig",
    "AgreementConfig",
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
    "Loss",
    "ManifestSource",
    "MediaFolderSource",
    "MilvusConfig",
    "Modality",
    "ModelConfig",
    "ParquetSource",
    "PrepareConfig",
    "Project",
    "QueryConfig",
    "RagConfig",
    "Refine",
    "Source",
    "SourceBase",
    "StorageConfig",
    "Strict",
    "TextConfig",
    "TrainConfig",
    "VersionBy",
    "View",
    "WebConfig",
    "WebDatasetSource",
]
