"""The one decoder and encoder of image and audio bytes; its time and memory are bounded.

A medium that is not whole raises `MediaError` with one of these reasons, and no other error:

| reason | the bytes |
|---|---|
| media_empty | none, or no pixel or sample |
| image_too_large, audio_too_large | over `max_bytes`; not looked at |
| image_format, audio_format | not an allowed format, or an unsupported kind of one |
| image_bomb | declare more than `max_pixels`, or an absurd number of scans; not decoded |
| image_truncated, audio_truncated | end before what they declare |
| image_corrupt, audio_corrupt | contradict themselves |
| audio_too_long | longer than `max_duration_s`; not decoded further |
| audio_nan | hold a sample that is not a number |

Allowed are JPEG, PNG, WebP, GIF, BMP, TIFF and AVIF (Pillow, first frame), and the sounds of `sound_files`
(libsndfile). What a file is says its content, never its ending.
"""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trichord.transforms import containers
from trichord.transforms.batch import Image, Samples, Waveform
from trichord.transforms.blas import one_thread
from trichord.transforms.libraries import PIL, Pillow, cv2, soundfile
from trichord.transforms.picture_kinds import Prepared, other_kind, prepare, read_kind
from trichord.transforms.sound_files import find_sounds

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

_EXIF_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Callable[[Image], Image]] = {
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    5: lambda rgb: rgb.transpose(1, 0, 2),
    6: lambda rgb: rgb.transpose(1, 0, 2)[:, ::-1],
    7: lambda rgb: rgb.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda rgb: rgb.transpose(1, 0, 2)[::-1],
}
# what Pillow's parsers raise on damaged files, besides their own errors
_PARSE_ERRORS = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError,
                 NotImplementedError, RuntimeError, struct.error, zlib.error)  # fmt: skip

MAX_CHANNELS, RATES_HZ = 32, range(1_000, 192_001)
_BLOCK_VALUES = 1 << 20  # samples × channels decoded at a time
_KERNEL_VALUES = 2_000_000  # a resampling kernel never holds more
_RESAMPLE_BLOCK = 1 << 20  # input samples resampled at a time
_ZEROS, _ROLLOFF = 6, 0.99  # of the sinc on each side, and its cut as a share of the lower rate's half
_BAND = 16  # output samples filtered by one matrix product: fewer are more calls, more are more products with zeros


class MediaError(Exception):
    """The medium is not whole: a reason code of the table above, and the evidence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def decode_image(data: bytes, *, max_pixels: int, max_bytes: int) -> Image:
    """Decode a picture to uint8 RGB (H, W, 3), upright.

    EXIF orientation is applied (unreadable EXIF counts as upright), transparency becomes white, deeper greys are scaled
    to 8 bits and rounded (16 bits: by 257), deeper colours keep their upper 8 bits (at most 1 off), CMYK and
    palettes are converted without colour profiles, and an animation gives its first frame.
    Kinds that would be decoded wrongly are refused (`picture_kinds`).

    Raises:
        MediaError: see the module's table.
    """
    if not data:
        raise MediaError("media_empty", "no bytes")
    if len(data) > max_bytes:
        raise MediaError("image_too_large", f"{len(data)} bytes; the limit is {max_bytes}")
    if (plain := _plain_jpeg(data, max_pixels)) is not None:
        return plain
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about what is decided here
        try:
            containers.check_comments(data)
            whole = prepare(data)
            with Pillow.open(io.BytesIO(whole.data), formats=IMAGE_FORMATS) as picture:
                _cap(picture, max_pixels)
                containers.check_image(data)
                picture.load()
                orientation = _orientation(picture)  # of a TIFF, Pillow has applied and forgotten it by now
                _cap(picture, max_pixels)
                rgb = _to_rgb(picture, whole)
        except containers.ContainerError as error:
            raise MediaError(f"image_{error.fault}", str(error)) from error
        except Pillow.DecompressionBombError as error:
            raise MediaError("image_bomb", str(error)) from error
        except PIL.UnidentifiedImageError:
            raise _unidentified(data) from None
        except _PARSE_ERRORS as error:
            _require_whole(data)
            cut = "truncated" in str(error).lower() or isinstance(error, EOFError)
            detail = f"{type(error).__name__}: {error}"
            raise MediaError("image_truncated" if cut else "image_corrupt", detail) from error
    return np.ascontiguousarray(_UPRIGHT[orientation](rgb)) if orientation in _UPRIGHT else rgb


def _unidentified(data: bytes) -> MediaError:
    """Return why Pillow opens no picture of these bytes: it keeps the reason of the format that they begin as."""
    if other := other_kind(data):
        return MediaError("image_format", f"{other} is not read; {', '.join(IMAGE_FORMATS)} are")
    if not (kind := read_kind(data)):
        return MediaError("image_format", f"none of {', '.join(IMAGE_FORMATS)}: begins {data[:8]!r}")
    _require_whole(data)
    try:
        Pillow.OPEN[kind][0](io.BytesIO(data), "")
        problem = "its first frame is damaged"
    except Pillow.DecompressionBombError as error:
        return MediaError("image_bomb", str(error))
    except _PARSE_ERRORS as error:
        problem = str(error) or type(error).__name__
    unknown = re.search("cannot handle|unsupported|unknown|not supported", problem, re.IGNORECASE)
    return MediaError("image_format" if unknown else "image_corrupt", f"a {kind} that is not read: {problem}")


def _require_whole(data: bytes) -> None:
    """Raise MediaError if the container shows what is wrong: it says more than Pillow does."""
    try:
        containers.check_image(data)
    except containers.ContainerError as error:
        raise MediaError(f"image_{error.fault}", str(error)) from error


def _cap(picture: Pillow.Image, max_pixels: int) -> None:
    width, height = picture.size
    if width * height > max_pixels:
        raise MediaError("image_bomb", f"{width} × {height} pixels; the limit is {max_pixels}")
    if width * height == 0:
        raise MediaError("media_empty", f"{width} × {height} pixels")


def _plain_jpeg(data: bytes, max_pixels: int) -> Image | None:
    """Decode a plain JPEG without Pillow's copies but to the same pixels; None if Pillow must decode it or say why not.

    OpenCV ignores faults after the last pixel and prints those before it to stderr, so it only gets what looks whole.
    """
    size = containers.plain_jpeg(data)
    if size is None or not 0 < size[0] * size[1] <= max_pixels:
        return None
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)


def _orientation(picture: Pillow.Image) -> int:
    if "exif" not in picture.info and picture.format not in ("TIFF", "PNG", "WEBP"):
        return 1
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except _PARSE_ERRORS:
        return 1


def _to_rgb(picture: Pillow.Image, whole: Prepared) -> Image:
    mode = picture.mode
    if mode == "F":
        raise MediaError("image_format", "floating-point pixels have no agreed white")
    if mode.startswith("I"):
        return _deep_grey(picture, whole)
    if mode == "L" and "transparency" not in picture.info:
        return np.repeat(np.asarray(picture)[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        if whole.bits == 16 and mode == "RGB":
            return _deep_keyed(whole.data)
        if whole.bits < 8 and mode == "L":  # the transparent grey is given in the file's own depth
            picture.info["transparency"] *= 255 // ((1 << whole.bits) - 1)
        clear = picture if mode == "RGBA" else picture.convert("RGBA")
        white = Pillow.new("RGB", clear.size, "white")
        white.paste(clear, mask=clear.getchannel("A"))
        return np.asarray(white)
    return np.asarray(picture if mode == "RGB" else picture.convert("RGB"))


def _deep_grey(picture: Pillow.Image, whole: Prepared) -> Image:
    """Return a grey of 12, 16 or 32 bits in 8, rounded; its transparent value is white."""
    if whole.bits <= 8:
        raise MediaError("image_format", f"pixels of mode {picture.mode} have no known depth")
    values, bits = np.asarray(picture), min(whole.bits, 16)
    deep = values.view(np.uint32) >> 16 if whole.bits == 32 else values  # Pillow has no unsigned 32 bits
    scale = np.rint(np.arange(1 << bits) * (255 / ((1 << bits) - 1))).astype(np.uint8)
    grey: npt.NDArray[np.uint8] = (scale[::-1] if whole.negative else scale)[deep]
    if (clear := picture.info.get("transparency")) is not None:
        grey[deep == clear] = 255
    return np.repeat(grey[:, :, None], 3, axis=2)


def _deep_keyed(png: bytes) -> Image:
    """Return a PNG of 16-bit RGB with a transparent colour: Pillow would compare that with the upper 8 bits alone."""
    deep = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3 or deep.shape[2] != 4:
        raise MediaError("image_corrupt", "a PNG of 16-bit RGB with a transparent colour that cannot be decoded")
    rgb: Image = np.right_shift(deep[:, :, 2::-1], 8, dtype=np.uint16).astype(np.uint8)
    rgb[deep[:, :, 3] == 0] = 255
    return rgb


def encode_image(rgb: Image, quality: int) -> bytes:
    """Encode an RGB picture as JPEG (4:2:0, no metadata); equal pixels give equal bytes.

    Raises:
        ValueError: a JPEG cannot hold the picture.
    """
    made, file = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not made:
        raise ValueError(f"a picture of {rgb.shape} cannot be a JPEG")
    return file.tobytes()


def shrink_image(rgb: Image, side: int) -> Image:
    """Shrink a picture so that its longer side is at most `side` pixels, averaged; small pictures are unchanged."""
    height, width = rgb.shape[:2]
    if max(height, width) <= side:
        return rgb
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # down to one half, linear averages all there is, in a sixth of the time
    way = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=way), np.uint8)


def decode_audio(data: bytes, *, max_bytes: int, max_duration_s: float) -> Waveform:
    """Decode a sound to mono float32 at its own rate: channels are averaged, values clipped to [-1, 1].

    Sounds that are joined in one file are one sound, at the rate of the first.

    Raises:
        MediaError: see the module's table.
    """
    if not data:
        raise MediaError("media_empty", "no bytes")
    if len(data) > max_bytes:
        raise MediaError("audio_too_large", f"{len(data)} bytes; the limit is {max_bytes}")
    parts: list[Waveform] = []
    total_s = 0.0
    try:
        for sound in find_sounds(data, max_duration_s):
            part = _decode_part(sound, max_duration_s, total_s)
            total_s += part.duration_s
            if len(part.samples):
                parts.append(part)
    except containers.ContainerError as error:
        raise MediaError(f"audio_{error.fault}", str(error)) from error
    if not parts:
        raise MediaError("media_empty", "no samples")
    return parts[0] if len(parts) == 1 else _join(parts)


def _join(parts: list[Waveform]) -> Waveform:
    """Return joined sounds as one, at the rate of the first."""
    rate_hz = parts[0].rate_hz
    same = (part if part.rate_hz == rate_hz else resample(part, rate_hz) for part in parts)
    return Waveform(np.concatenate([part.samples for part in same]), rate_hz)


def _decode_part(data: bytes, max_duration_s: float, before_s: float) -> Waveform:
    """Decode one sound of a file, of which earlier ones have taken `before_s`."""
    stream = io.BytesIO(data)
    try:
        with soundfile.SoundFile(stream) as file:
            samples, rate_hz = _mono(file, max_duration_s, before_s), file.samplerate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        # a decoder that ran out of bytes has read them all
        reason = "audio_truncated" if stream.tell() >= len(data) else "audio_corrupt"
        raise MediaError(reason, str(error)) from error
    if not len(samples):
        return Waveform(samples, rate_hz)
    lowest, highest = float(samples.min()), float(samples.max())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise MediaError("audio_nan", "a sample is NaN or infinite")
    return Waveform(np.clip(samples, -1, 1, out=samples) if lowest < -1 or highest > 1 else samples, rate_hz)


def _mono(file: soundfile.SoundFile, max_duration_s: float, before_s: float) -> Samples:
    """Read all samples and average the channels."""
    declared, channels = max(0, file.frames), file.channels
    if file.samplerate not in RATES_HZ or not 1 <= channels <= MAX_CHANNELS:
        raise MediaError("audio_format", f"{channels} channels at {file.samplerate} Hz")
    seconds = before_s + declared / file.samplerate
    if seconds > max_duration_s:
        raise MediaError("audio_too_long", f"{seconds:.1f} s; the limit is {max_duration_s:g} s")
    samples, at = np.empty(declared, np.float32), 0  # memory is touched only as far as samples really come
    while at < declared:
        most = min(declared - at, _BLOCK_VALUES // channels)
        out = samples[at : at + most] if channels == 1 else None
        block = file.read(most, dtype="float32", out=out)
        if len(block) == 0:
            raise MediaError("audio_truncated", f"declares {declared} samples, holds {at}")
        mixed = samples[at : at + len(block)]
        if channels > 1:
            mixed[:] = block[:, 0]
            with np.errstate(invalid="ignore", over="ignore"):  # infinities are found below
                for channel in range(1, channels):
                    mixed += block[:, channel]
                mixed *= np.float32(1 / channels)
        at += len(block)
    return samples


def pcm16(samples: Samples) -> npt.NDArray[np.int16]:
    """Round samples to the 16 bits that are stored; 16-bit sources come back unchanged."""
    scaled: Samples = np.rint(samples * np.float32(32_768))
    np.clip(scaled, -32_768, 32_767, out=scaled)
    return scaled.astype(np.int16)


def encode_audio(wave: Waveform) -> bytes:
    """Encode a sound as 16-bit FLAC; equal samples give equal bytes."""
    out = io.BytesIO()
    soundfile.write(out, pcm16(wave.samples), wave.rate_hz, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def resample(wave: Waveform, rate_hz: int) -> Waveform:
    """Resample a sound, clipped to [-1, 1]: torchaudio's windowed sinc of 6 zeros, without its products with zeros.

    The ratio of odd rates is rounded to a simpler fraction (off by less than 0.1 %), so that kernels stay small.
    """
    ratio = Fraction(rate_hz, wave.rate_hz)
    if ratio.numerator * ratio.denominator > _KERNEL_VALUES:
        ratio = ratio.limit_denominator(max(1, int(math.sqrt(_KERNEL_VALUES / ratio))))
    if ratio == 1:
        return Waveform(wave.samples, rate_hz)
    kernel, samples = _kernel(ratio.denominator, ratio.numerator), wave.samples
    periods = -(-len(samples) // kernel.period_in)
    out = np.empty((periods, kernel.period_out), np.float32)
    block = max(1, _RESAMPLE_BLOCK // kernel.period_in)
    with one_thread():
        for first in range(0, periods, block):
            count = min(block, periods - first)
            start, stop = first * kernel.period_in - kernel.width, (first + count) * kernel.period_in + kernel.width
            heard = samples[max(0, start) : stop]
            padded = np.zeros(stop - start, np.float32)
            padded[max(0, -start) : max(0, -start) + len(heard)] = heard
            for at, begin, taps in kernel.bands:
                strides = (padded.itemsize * kernel.period_in, padded.itemsize)
                windows = np.ndarray((count, len(taps)), np.float32, padded, begin * padded.itemsize, strides)
                np.matmul(windows, taps, out=out[first : first + count, at : at + taps.shape[1]])
    resampled = out.ravel()[: math.ceil(len(samples) * ratio)]
    return Waveform(np.clip(resampled, -1, 1, out=resampled), rate_hz)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kernel:
    """The filters of a period's output samples, in bands of neighbours, whose taps begin near each other."""

    period_in: int
    period_out: int
    width: int  # input samples before and after a period that its output needs; band's count from there
    bands: tuple[tuple[int, int, Samples], ...]  # first output sample, first input sample, (taps, output samples)


@lru_cache(maxsize=8)
def _kernel(period_in: int, period_out: int) -> _Kernel:
    """Return the filters of torchaudio's `sinc_interp_hann` (rolloff 0.99), computed in float64."""
    scale = min(period_in, period_out) * _ROLLOFF / period_in
    width = math.ceil(_ZEROS / scale)
    periods = -(-_BAND // period_out)  # short periods are taken together
    period_in, period_out = periods * period_in, periods * period_out
    bands = []
    for at in range(0, period_out, _BAND):
        centres = np.arange(at, min(at + _BAND, period_out)) * (period_in / period_out)
        begin, end = math.floor(centres[0]) - width, math.ceil(centres[-1]) + width + 1
        begin, end = max(begin, -width), min(end, period_in + width)
        t = scale * (np.arange(begin, end)[:, None] - centres)
        taps = np.where(np.abs(t) < _ZEROS, scale * np.sinc(t) * np.cos(np.pi / 2 / _ZEROS * t) ** 2, 0.0)
        bands.append((at, begin + width, taps.astype(np.float32)))
    return _Kernel(period_in=period_in, period_out=period_out, width=width, bands=tuple(bands))
