"""Configuration enters once, and a slip stops the start."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from stentor.errors import SettingInvalid, SettingUnknown
from stentor.settings import Settings


def test_defaults_stand_where_nothing_is_set() -> None:
    settings = Settings.from_environ({"PATH": "/bin", "REDIS_URL": "redis://elsewhere"})
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert (settings.merge_window_ms, settings.drain_s, settings.lease_s, settings.max_attempts) == (30, 20, 60, 3)


def test_variables_are_read_by_their_type() -> None:
    settings = Settings.from_environ({"STENTOR_MERGE_WINDOW_MS": "45", "STENTOR_LEASE_S": "1.5"})
    assert (settings.merge_window_ms, settings.lease_s) == (45, 1.5)


def test_an_unknown_variable_is_named() -> None:
    with pytest.raises(SettingUnknown, match="STENTOR_MERGE_WINDOW_MSEC is set, but no setting has this name"):
        Settings.from_environ({"STENTOR_MERGE_WINDOW_MSEC": "45"})
    with pytest.raises(SettingUnknown, match="STENTOR_FILE"):
        Settings.from_environ({"STENTOR_FILE": "45"})


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("STENTOR_MERGE_WINDOW_MS", "soon", "STENTOR_MERGE_WINDOW_MS is 'soon'"),
        ("STENTOR_MERGE_WINDOW_MS", "-1", "STENTOR_MERGE_WINDOW_MS is '-1'"),
        ("STENTOR_LEASE_S", "nan", "STENTOR_LEASE_S"),
        ("STENTOR_LEASE_S", "inf", "STENTOR_LEASE_S"),
        ("STENTOR_REDIS_URL", "localhost:6379", "STENTOR_REDIS_URL is set to a secret value: The URL must begin"),
        ("STENTOR_S3_ENDPOINT", "127.0.0.1:8333", "STENTOR_S3_ENDPOINT is '127.0.0.1:8333'"),
        ("STENTOR_LOG_LEVEL", "loud", "STENTOR_LOG_LEVEL is 'loud'"),
        ("STENTOR_WORKER_DEVICE", "gpu", "STENTOR_WORKER_DEVICE is 'gpu'"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(SettingInvalid, match=sentence):
        Settings.from_environ({variable: value})


def test_every_bad_value_is_named_at_once() -> None:
    with pytest.raises(SettingInvalid) as raised:
        Settings.from_environ({"STENTOR_DRAIN_S": "0", "STENTOR_MAX_ATTEMPTS": "0"})
    assert "STENTOR_DRAIN_S" in raised.value.detail
    assert "STENTOR_MAX_ATTEMPTS" in raised.value.detail


def test_a_secret_comes_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    settings = Settings.from_environ({"STENTOR_S3_SECRET_KEY_FILE": str(secret)})
    assert settings.s3_secret_key.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)


def test_a_secret_file_that_cannot_be_read_or_stands_beside_its_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="STENTOR_REDIS_URL_FILE names"):
        Settings.from_environ({"STENTOR_REDIS_URL_FILE": str(tmp_path / "none")})
    with pytest.raises(SettingInvalid, match="both set"):
        Settings.from_environ({"STENTOR_REDIS_URL_FILE": "x", "STENTOR_REDIS_URL": "y"})


def test_settings_are_frozen() -> None:
    with pytest.raises(pydantic.ValidationError):
        Settings().drain_s = 3  # type: ignore[misc]
