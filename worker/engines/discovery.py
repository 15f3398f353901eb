"""Engines that are installed here, found through the entry points of the group ``stentor.engines``."""

from __future__ import annotations

from importlib.metadata import entry_points

from stentor import log
from stentor.settings import Settings
from worker.engines.contract import Engine, EngineFamily

GROUP = "stentor.engines"

_log = log.get(__name__)


def find_engines(settings: Settings) -> dict[str, Engine]:
    """All engines of this machine, unloaded, by model name; a family that cannot be imported is passed over."""
    found: dict[str, Engine] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            kind: type[EngineFamily] = point.load()
        except ImportError as exc:
            _log.warning("engine_skipped", engine=point.name, reason=str(exc))
            continue
        for model, engine in kind(settings).engines().items():
            if model in found:
                _log.warning("model_skipped", engine=point.name, model=model, reason="another engine has this name")
            else:
                found[model] = engine
    return found
