"""The libraries of the ops. They are imported at first use: planning reads settings and versions alone."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from trichord.infra.lazy import lazy
from trichord.infra.packages import version

if TYPE_CHECKING:
    import cv2
    import ftfy
    import PIL
    import scipy
    import scipy.fft
    import scipy.ndimage
    import scipy.sparse
    import scipy.sparse.csgraph
    import soundfile
    from PIL import Image as Pillow
else:

    def _prepare_opencv(module: Any) -> None:
        module.setNumThreads(1)  # workers use the cores; more threads would only compete for them

    def _prepare_pillow(_: Any) -> None:
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1

    cv2 = lazy("cv2", _prepare_opencv)
    ftfy, scipy, soundfile = lazy("ftfy"), lazy("scipy"), lazy("soundfile")
    PIL, Pillow = lazy("PIL"), lazy("PIL.Image", _prepare_pillow)

logging.getLogger("PIL").addHandler(logging.NullHandler())  # its messages on a damaged file are in the MediaError

__all__ = ["PIL", "Pillow", "audio_libraries", "cv2", "ftfy", "image_libraries", "opencv_version", "scipy", "soundfile"]


@cache
def opencv_version() -> str:
    """Return `cv2.__version__`; the package's own has the build's number behind it."""
    return version("opencv-python-headless").rpartition(".")[0]


@cache
def image_libraries() -> dict[str, str]:
    """Return the versions of what decodes and scales pictures. Do not change it."""
    return {"pillow": version("pillow"), "opencv": opencv_version()}


@cache
def audio_libraries() -> dict[str, str]:
    """Return the versions of what decodes and resamples sound. Do not change it."""
    return {"libsndfile": soundfile.__libsndfile_version__, "resampling": "2"}  # raised when its samples change
