"""Speech and transcript: whether the text is what is spoken, and when each word is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from trichord.infra.config import AlignConfig
from trichord.infra.errors import ConfigError
from trichord.transforms.align.shift import estimate_shift, shift_segments
from trichord.transforms.align.sphinx import SphinxAligner
from trichord.transforms.align.transcript import Token, tokens_of
from trichord.transforms.align.words import Aligner, Alignment
from trichord.transforms.batch import Batch, Row, Segment, Waveform
from trichord.transforms.clean.annotate import change, set_label
from trichord.transforms.clean.voice import RATE_HZ, VAD_LIBRARIES, speech_spans
from trichord.transforms.media import resample
from trichord.transforms.op import Op, Threshold
from trichord.transforms.word_breaks import is_unspaced, language_of_script

_SURE = 0.8  # from this probability on, the text's language is trusted; short English texts score less for others


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechAlign(Op):
    """Aligns speech with the row's text.

    Rows without text, without sound or without speech get no score. Measures `speech_score` (agreement of
    transcript and sound, in [0, 1]), `speech_coverage` (share of the speech that the words account for) and
    `speech_rate_wps` (words in a second of speech). `Row.segments` become the words with their times and scores;
    segments that the source gave stay, with scores, and are shifted where all are late or early by the same time. Rows
    that are too large or in another language are labelled `speech_skipped`.
    """

    version: ClassVar[int] = 2

    aligner: Aligner
    min_speech_s: float
    min_speech_share: float
    min_words: int
    max_words: int
    max_s: float
    max_shift_s: float

    @property
    def name(self) -> str:
        """The op's name."""
        return "speech_align"

    def libraries(self) -> Mapping[str, str]:
        """Return the package that finds speech."""
        return VAD_LIBRARIES

    def __call__(self, batch: Batch) -> Batch:
        """Apply the op."""
        rows, measured = list(batch.rows), [dict[str, float]() for _ in batch.rows]
        for i, (row, wave, scores) in enumerate(zip(batch.rows, batch.waves, batch.scores, strict=True)):
            tokens = _transcript(row)
            if wave is None or len(tokens) < self.min_words:
                continue
            if len(tokens) > self.max_words:
                rows[i] = set_label(row, "speech_skipped", f"more than {self.max_words} words")
            elif (foreign := self._foreign(row, scores)) is not None:
                rows[i] = set_label(row, "speech_skipped", f"language {foreign}")
            elif wave.duration_s > self.max_s:
                rows[i] = set_label(row, "speech_skipped", f"longer than {self.max_s:g} s")
            else:
                speech_s = _speech_s(wave, scores)
                # an earlier op's share is of the untrimmed sound: a trimmed sneeze is all "speech"
                share = scores.get("audio_speech_share", speech_s / max(wave.duration_s, 1e-3))
                if speech_s >= max(self.min_speech_s, 1e-3) and share >= self.min_speech_share:
                    rows[i], measured[i] = self._align(row, wave, tokens, speech_s)
        return replace(batch, rows=tuple(rows)).with_scores(measured)

    def _foreign(self, row: Row, scores: Mapping[str, float]) -> str | None:
        """Return the text's language if its script, or an earlier op surely, says that the aligner does not know it."""
        if not self.aligner.languages:
            return None
        script = language_of_script((row.text or "", *(segment.text for segment in row.segments)))
        if script and script not in self.aligner.languages:
            return script
        language = dict(row.labels).get("text_language")
        if language is None or language in self.aligner.languages:
            return None
        return language if scores.get("text_language_score", 0.0) >= _SURE else None

    def _align(
        self, row: Row, wave: Waveform, tokens: Sequence[Token], speech_s: float
    ) -> tuple[Row, dict[str, float]]:
        found = self.aligner(wave, tokens)
        measured = {"speech_score": 0.0, "speech_coverage": 0.0, "speech_rate_wps": _count(tokens) / speech_s}
        if found is None:
            return row, measured
        measured |= {"speech_score": found.score, "speech_coverage": min(1.0, found.spoken_s / speech_s)}
        if not row.segments:
            words = tuple(
                Segment(start_s=word.span[0], end_s=word.span[1], text=word.text, score=word.score)
                for word in found.words
                if word.span is not None
            )
            return replace(row, segments=words), measured
        return self._with_given(row, found, wave.duration_s), measured

    def _with_given(self, row: Row, found: Alignment, duration_s: float) -> Row:
        """Return the row with the source's segments scored and, if all are off by the same time, shifted."""
        counts = [len(tokens_of(segment.text)) for segment in row.segments]
        offset = estimate_shift(row.segments, counts, found.words, self.max_shift_s)
        segments = shift_segments(row.segments, counts, found.words, offset, duration_s)
        if offset:
            first, last = _times(row.segments), _times(segments)
            noted = change(self.name, "segments", first, f"{last} (all by {-offset:+.2f} s)")
            row = replace(row, changes=(*row.changes, noted))
        return replace(row, segments=segments)


def _times(segments: Sequence[Segment]) -> str:
    return ", ".join(f"{segment.start_s:.2f}-{segment.end_s:.2f}" for segment in segments[:20])


def _transcript(row: Row) -> tuple[Token, ...]:
    """Return the words of the row's segments, or of its text if it has no segments."""
    if row.segments:
        return tuple(token for segment in row.segments for token in tokens_of(segment.text))
    return tokens_of(row.text) if row.text else ()


def _count(tokens: Sequence[Token]) -> float:
    """Return how many words are spoken; a character of a script without blanks is about half a word."""
    return len(tokens) - sum(is_unspaced(token.text[0]) for token in tokens) / 2


def _speech_s(wave: Waveform, scores: Mapping[str, float]) -> float:
    """Return the seconds of speech: measured by an earlier op, else by voice activity detection."""
    if "audio_speech_s" in scores:
        return scores["audio_speech_s"]
    if "audio_speech_share" in scores:
        return scores["audio_speech_share"] * wave.duration_s
    heard = wave if wave.rate_hz == RATE_HZ else resample(wave, RATE_HZ)
    return sum(end - start for start, end in speech_spans([heard.samples])[0])


def speech_ops(config: AlignConfig, aligner: Aligner | None = None) -> tuple[Op, ...]:
    """Return the ops that align speech with its transcript.

    Args:
        config: `speech: ctc` needs an aligner.
        aligner: replaces the built-in one; for CTC `trichord.transforms.align.ctc.CtcAligner`,
            whose model `pipelines` loads.

    Raises:
        ConfigError: CTC without an aligner.
    """
    if config.speech == "off":
        return ()
    if aligner is None and config.speech == "ctc":
        raise ConfigError(
            "align.speech: ctc needs a loaded model, and this chain got none.\n"
            "Use align.speech: pocketsphinx, or run a command that loads align.ctc_model."
        )
    measure = SpeechAlign(
        aligner=SphinxAligner() if aligner is None else aligner,
        min_speech_s=config.min_speech_s,
        min_speech_share=config.min_speech_share,
        min_words=config.min_words,
        max_words=config.max_words,
        max_s=config.max_s,
        max_shift_s=config.max_shift_s,
    )
    limits: list[Op] = []
    if config.min_speech_score is not None:
        limits.append(Threshold(score="speech_score", reason="speech_mismatch", least=config.min_speech_score))
    if config.min_speech_coverage is not None:
        limits.append(Threshold(score="speech_coverage", reason="speech_uncovered", least=config.min_speech_coverage))
    least, most = config.min_speech_rate_wps, config.max_speech_rate_wps
    if least is not None or most is not None:
        limits.append(Threshold(score="speech_rate_wps", reason="speech_rate", least=least, most=most))
    return (measure, *limits)
