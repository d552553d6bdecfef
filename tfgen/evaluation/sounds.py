"""Samples as sounds."""

import io
import wave
from typing import Any

import numpy as np

from tfgen.data.audio import FULL_SCALE, mu_law_decode

GAP_SECONDS = 0.25


def wav(samples: Any, num_levels: int, sample_rate_hz: int) -> bytes:
    """The bytes of a WAV file, mono with 16 bits, of mu-law classes `[N, T]`.

    One sequence after the other, a quarter of a second of silence between them.
    """
    x = np.round(FULL_SCALE * mu_law_decode(samples, num_levels))
    gap = np.zeros((len(x), round(GAP_SECONDS * sample_rate_hz)))
    x = np.concatenate([x, gap], axis=1).ravel()[: x.size + gap.size - gap.shape[1]]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(np.clip(x, -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes())
    return buffer.getvalue()
