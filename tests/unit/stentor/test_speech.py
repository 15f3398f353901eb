"""A speech parameter is defined once: one that a subclass adds is found in everything that is derived."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import click
import pydantic
import pytest
from click.testing import CliRunner
from pydantic import Field

from api.http.speech_fields import speech_answer, speech_request
from api.jobs.schemas import JobOut, JobRequest
from stentor.bulks.manifest import speech_columns
from stentor.cli.speech_options import speech_options
from stentor.jobs.cache import fingerprint
from stentor.jobs.job import VERSION
from stentor.jobs.records import job_items, read_job
from stentor.redis.record import encode, from_json
from stentor.speech import OneOf, SpeechParams, field_names
from tests.support.speech.factories import a_job
from tests.support.work.intake import VOICE, voice_of
from worker.bulks.intake.columns import known_columns
from worker.bulks.intake.report import CheckOptions
from worker.bulks.intake.rows import CheckedRow, RowChecker
from worker.engines.contract import Segment

MOODS = ("calm", "sad")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Emotional(SpeechParams):
    emotion: Annotated[str, OneOf(MOODS), Field(description="The mood of the voice.")] = "calm"
    strength: Annotated[float, Field(ge=0, le=1, description="How much of it.")] = 0.5


SAD = Emotional(voice="joe", emotion="sad", strength=0.75)
#: As release 0.1.0 wrote it. It stays as it is.
OLD_JOB = {
    "id": "job_01jdsv0c5m3qk8z2x7w9y4t6ab", "version": "1", "owner": "acme", "state": "queued", "text": "Hello.",
    "voice": "amy", "model": "joe", "lane": "stentor:lane:joe:standard:0", "speed": "1.5", "seed": "7",
    "format": "ogg", "sample_rate_hz": "16000", "priority": "standard", "metadata": "{}",
    "created_at": "1764361200.25", "attempts": "0", "cached": "false",
}  # fmt: skip


def test_a_request_has_the_field_and_its_range() -> None:
    model: Any = speech_request(Emotional)(JobRequest)
    properties = model.model_json_schema()["properties"]
    assert properties["emotion"]["enum"] == ["calm", "sad"]
    assert properties["emotion"]["description"] == "The mood of the voice."
    assert (properties["strength"]["minimum"], properties["strength"]["maximum"]) == (0, 1)
    request = model.model_validate({"text": "Hello.", "emotion": "sad", "strength": 0.75})
    assert Emotional.pick(vars(request), voice="joe") == SAD
    with pytest.raises(pydantic.ValidationError):
        model.model_validate({"text": "Hello.", "strength": 2.0})


def test_an_answer_has_the_field() -> None:
    properties = speech_answer(Emotional)(JobOut).model_json_schema()["properties"]
    assert properties["emotion"] == {"enum": ["calm", "sad"], "title": "Emotion", "type": "string"}


def row(fields: dict[str, Any]) -> CheckedRow:
    return RowChecker(CheckOptions(default_voice="joe"), voice_of, Emotional).check(1, {"text": "Hello.", **fields})


def test_a_column_has_the_field_and_its_range() -> None:
    assert {"emotion", "strength"} <= set(known_columns(Emotional))
    good = row({"emotion": "sad", "strength": "0.75"})
    assert (good.faults, good.line["emotion"], good.line["strength"]) == ([], "sad", 0.75)
    assert Emotional.pick(json.loads(json.dumps(good.line))) == SAD
    assert row({}).line["strength"] == 0.5
    assert [fault.detail for fault in row({"emotion": "angry", "strength": "2"}).faults] == [
        "The value of emotion is 'angry'. Allowed: calm, sad.",
        "The value of strength is '2'. Allowed: a number from 0 to 1.",
    ]


def test_the_manifest_shows_the_field() -> None:
    assert speech_columns(Emotional) == ("seed", "voice", "format", "emotion", "strength")


def test_commands_have_an_option_for_the_field() -> None:
    @click.command()
    @speech_options(Emotional)
    def say(**speech: Any) -> None:
        click.echo(json.dumps(speech))

    given = CliRunner().invoke(say, ["--emotion", "sad", "--strength", "0.75"])
    assert json.loads(given.output) == dict.fromkeys(field_names()) | {"emotion": "sad", "strength": 0.75}
    assert CliRunner().invoke(say, ["--emotion", "angry"]).exit_code == 2
    assert "The mood of the voice.  [default: calm]" in CliRunner().invoke(say, ["--help"]).output


def test_the_record_has_the_field() -> None:
    assert from_json(Emotional, encode(SAD)) == SAD


def test_the_fingerprint_has_the_field_where_it_is_not_the_default() -> None:
    def print_of(speech: SpeechParams) -> str:
        return fingerprint(text="Hello.", voice=VOICE, speech=speech, loudness_lufs=None)

    assert print_of(Emotional(voice="joe")) == print_of(SpeechParams(voice="joe"))
    others = [print_of(dataclasses.replace(SAD, **change)) for change in ({"emotion": "calm"}, {"strength": 0.5}, {})]
    assert len({*others, print_of(SpeechParams(voice="joe"))}) == 4


def test_a_segment_has_the_field() -> None:
    segment = Segment(text="Hello.", voice=VOICE, speech=SAD).with_seed(2**32 + 1)
    assert segment.speech == dataclasses.replace(SAD, seed=1)


def test_a_job_survives_its_hash_with_one_field_for_speech() -> None:
    job = a_job(speed=1.5, seed=7, format="ogg", version=VERSION)
    items = job_items(job)
    fields = dict(zip(items[::2], items[1::2], strict=True))
    assert read_job(fields) == job
    assert json.loads(fields["speech"]) == {
        "voice": "tone", "speed": 1.5, "seed": 7, "format": "ogg", "sample_rate_hz": None,
    }  # fmt: skip
    # Release 0.1.0 shows no job without its voice.
    assert set(fields) & set(field_names()) == {"voice"}


def test_a_job_of_the_release_before_is_read() -> None:
    job = read_job(OLD_JOB)
    assert job.speech == SpeechParams(voice="amy", speed=1.5, seed=7, format="ogg", sample_rate_hz=16_000)
    assert (job.version, job.text, job.lane) == (1, "Hello.", "stentor:lane:joe:standard:0")


def test_a_row_of_the_release_before_is_read() -> None:
    line = (
        '{"row":1,"text":"Hello.","voice":"amy","speed":1.5,"seed":7,"format":"ogg","cache":true,'
        '"sample_rate_hz":16000}'
    )
    assert SpeechParams.pick(json.loads(line)) == read_job(OLD_JOB).speech


def test_fingerprints_are_those_of_the_release_before() -> None:
    voice = dataclasses.replace(VOICE, name="tone", model="tone", revision="1", sample_rate_hz=16_000)
    speech = SpeechParams(voice="tone", speed=1.5, seed=7, format="ogg")
    assert (
        fingerprint(text="Hello.", voice=voice, speech=speech, loudness_lufs=-16.0)
        == "b5527bcd924884604f153f5cb8159d7a477925da6a415604e60bd4b5d08a1bce"
    )


def test_formats_are_listed_once() -> None:
    root = Path(__file__).parents[3]
    lists = [
        path
        for folder in ("stentor", "api", "worker", "scheduler")
        for path in (root / folder).rglob("*.py")
        if all(f'"{name}"' in path.read_text(encoding="utf-8") for name in ("wav", "flac", "mp3"))
    ]
    assert sorted(str(path.relative_to(root)) for path in lists) == ["stentor/formats.py", "worker/finishing/audio.py"]
