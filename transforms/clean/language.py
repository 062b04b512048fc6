"""The language a text is written in (py3langid: a naive Bayes model over byte n-grams, 150 languages)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

from trichord.infra.packages import version
from trichord.transforms.batch import Batch
from trichord.transforms.clean import annotate
from trichord.transforms.op import Op

LABEL = "text_language"
_READ_CHARS = 2_000  # of a text; more would change nothing
# The labels of the model, which takes long to load.
_LABELS = (
    "ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr "
    "fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko "
    "ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru "
    "rw sa sdh se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo yue "
    "zh zu zxx"
)
KNOWN_LANGUAGES = frozenset(_LABELS.split())
# a label that the model gives to plain texts of another language: Chinese addresses and numbers are not Wu
_TAKEN_FOR = {"wuu": "zh"}


@lru_cache(maxsize=1)
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def language_of(text: str) -> tuple[str, float]:
    """Return the likeliest language (ISO 639) and its probability, rounded so that all machines agree."""
    found, probability = _identifier().classify(text[:_READ_CHARS])
    return str(found), round(float(probability), 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLanguage(Op):
    """Labels the text's language `text_language` and measures `text_language_score`, its probability.

    If only some languages are allowed, `text_language_foreign` is that probability for any other language, else 0: an
    uncertain result stays below the threshold. Where Chinese is allowed, Wu is: the model takes one for the other.
    """

    version: ClassVar[int] = 2

    allowed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The op's name."""
        return "text_language"

    def libraries(self) -> Mapping[str, str]:
        """Return the library, which carries its model."""
        return {"py3langid": version("py3langid")}

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, measured = list(batch.rows), [dict[str, float]() for _ in batch.rows]
        for i, row in enumerate(batch.rows):
            if row.text is None:
                continue
            language, score = language_of(row.text)
            rows[i] = annotate.set_label(row, LABEL, language)
            measured[i] = {"text_language_score": score}
            if self.allowed:
                known = language in self.allowed or _TAKEN_FOR.get(language) in self.allowed
                measured[i]["text_language_foreign"] = 0.0 if known else score
        return replace(batch, rows=tuple(rows)).with_scores(measured)
