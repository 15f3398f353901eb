"""The sixty notices of `docs/examples/notices.txt`, as `make demo` speaks them: is each of them speech that says it?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import Measured
from tests.support.speech.listening import Report, listen
from tests.support.stacks.stack import Stack

NOTICES = Path(__file__).parents[2] / "docs" / "examples" / "notices.txt"
#: What counts as silence at the ends of a file: 40 dB below full scale.
SILENCE = 0.01


@pytest.fixture(scope="module")
def spoken(up: Stack, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Each notice and its WAV file."""
    folder = tmp_path_factory.mktemp("notices")
    done = up.cli("submit", str(NOTICES), "--output", str(folder), "--no-cache", "--json")
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert result["mean_batch_size"] > 2
    return list(zip(NOTICES.read_text(encoding="utf-8").splitlines(), sorted(folder.iterdir()), strict=True))


def test_every_notice_is_speech_and_not_noise_or_silence(spoken: list[tuple[str, Path]]) -> None:
    assert len(spoken) == 60
    for text, path in spoken:
        samples, rate_hz = soundfile.read(path, dtype="float32")
        peak = float(np.abs(samples).max())
        loud = np.flatnonzero(np.abs(samples) > SILENCE)
        ends_s = (loud[0] / rate_hz, (len(samples) - loud[-1]) / rate_hz)
        assert len(samples) / rate_hz >= 0.3, text
        assert 0.05 < peak < 0.999, (text, peak)
        assert max(ends_s) < 0.6, (text, ends_s)


@pytest.mark.listening
@pytest.mark.parametrize("every", [15, pytest.param(1, marks=pytest.mark.slow)])
def test_a_listener_understands_the_notices(spoken: list[tuple[str, Path]], measured: Measured, every: int) -> None:
    report: Report = listen(spoken[::every])
    measured(f"word error rate {report.wer:.1%}")
    assert report.wer <= 0.08, str(report)
    assert max(heard.wer for heard in report.texts) <= 0.5, str(report)
