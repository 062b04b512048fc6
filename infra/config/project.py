"""The whole project file."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.agreement import AgreementConfig
from trichord.infra.config.augment import AugmentConfig
from trichord.infra.config.base import Strict
from trichord.infra.config.engine import EngineConfig
from trichord.infra.config.evaluate import EvaluateConfig, GateConfig
from trichord.infra.config.index import IndexConfig
from trichord.infra.config.milvus import MilvusConfig
from trichord.infra.config.model import ModelConfig
from trichord.infra.config.observe import AlertsConfig, MetricsConfig
from trichord.infra.config.prepare import PrepareConfig
from trichord.infra.config.query import QueryConfig
from trichord.infra.config.rag import RagConfig
from trichord.infra.config.rates import RatesConfig
from trichord.infra.config.sources import Source
from trichord.infra.config.storage import StorageConfig
from trichord.infra.config.train import TrainConfig
from trichord.infra.config.watch import WatchConfig
from trichord.infra.config.web import WebConfig


class Project(Strict):
    """The whole project file, `trichord.yaml`."""

    lake: str = Field(
        "lake", description="Folder (relative to the project file) or URI (s3://, gs://, az://) of the lake."
    )
    sources: tuple[Source, ...] = Field(min_length=1, description="Where records come from, in order of precedence.")
    storage: StorageConfig = StorageConfig()
    web: WebConfig = WebConfig()
    prepare: PrepareConfig = PrepareConfig()
    augment: AugmentConfig = AugmentConfig()
    agreement: AgreementConfig = AgreementConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    index: IndexConfig = IndexConfig()
    milvus: MilvusConfig = MilvusConfig()
    gate: GateConfig = GateConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    query: QueryConfig = QueryConfig()
    rag: RagConfig = RagConfig()
    engine: EngineConfig = EngineConfig()
    metrics: MetricsConfig = MetricsConfig()
    alerts: AlertsConfig = AlertsConfig()
    watch: WatchConfig = WatchConfig()
    rates: RatesConfig = RatesConfig()
    keep_publications: int = Field(5, ge=1, description="Publications whose files `gc` and `maintain` keep.")
    gc_grace_s: float = Field(86_400.0, ge=0, description="Age below which `gc` and `maintain` never remove a file.")
