"""Languages that are close to each other count as one where the classifier confuses them."""

from __future__ import annotations

import pytest

from trichord.infra.config import TextConfig
from trichord.transforms.batch import Batch
from trichord.transforms.clean.text import text_ops
from trichord.transforms.op import run_chain

ADDRESS = "北京市朝阳区建国路88号1号楼2单元1001室"  # Wu, says the model


@pytest.mark.parametrize(("wanted", "kept"), [("zh", 1), ("wuu", 1), ("ja", 0)])
def test_chinese_that_is_taken_for_wu_is_chinese(wanted: str, kept: int) -> None:
    config = TextConfig(languages=(wanted,), min_language_score=0.5)
    after, _ = run_chain(Batch.of(texts=[ADDRESS]), text_ops(config))
    assert len(after.rows) == kept
    assert [reject.reason for reject in after.rejects] == ["text_language"] * (1 - kept)
