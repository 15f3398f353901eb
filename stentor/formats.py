"""The audio formats that a job may ask for, known to every room without any audio library."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

#: Lowest ``sample_rate_hz`` that a job may ask for: the telephone's.
MIN_SAMPLE_RATE_HZ = 8_000
#: Highest ``sample_rate_hz`` that a job may ask for: the studio's, and the highest of Opus and MP3.
MAX_SAMPLE_RATE_HZ = 48_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioFormat:
    """One way to write audio into a file."""

    name: str
    content_type: str
    #: The end of the file's name, without a dot.
    extension: str
    #: What OpenAI's API calls it.
    openai_name: str
    #: The sample rates that the codec knows, ascending; empty when it takes any.
    sample_rates_hz: tuple[int, ...] = ()

    def nearest_rate_hz(self, wanted_hz: int) -> int:
        """The lowest rate of this format that loses nothing of audio at ``wanted_hz``, or else its highest."""
        if not self.sample_rates_hz:
            return wanted_hz
        return next((rate_hz for rate_hz in self.sample_rates_hz if rate_hz >= wanted_hz), self.sample_rates_hz[-1])


#: Formats by the name that a job's ``format`` has.
FORMATS: Mapping[str, AudioFormat] = MappingProxyType(
    {
        audio_format.name: audio_format
        for audio_format in (
            AudioFormat(name="wav", content_type="audio/wav", extension="wav", openai_name="wav"),
            AudioFormat(name="flac", content_type="audio/flac", extension="flac", openai_name="flac"),
            AudioFormat(
                name="mp3",
                content_type="audio/mpeg",
                extension="mp3",
                openai_name="mp3",
                # MPEG-2.5, MPEG-2 and MPEG-1 (ISO/IEC 13818-3, 11172-3).
                sample_rates_hz=(8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
            ),
            AudioFormat(
                name="ogg",
                content_type="audio/ogg",
                extension="ogg",
                openai_name="opus",
                # What an Opus encoder takes (RFC 6716, section 2).
                sample_rates_hz=(8_000, 12_000, 16_000, 24_000, 48_000),
            ),
        )
    }
)
