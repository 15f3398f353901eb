"""Speech parameters: everything that shapes the audio of a text, defined once.

HTTP bodies and answers, columns of bulk files, CLI options, records in Redis and S3, manifests, fingerprints and the
engines' segments are derived from the fields of ``SpeechParams``. A new field is a line here and its use in an engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, Final, Self, get_args, get_type_hints

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from stentor.formats import FORMATS, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ

#: How much faster or slower than its own pace a voice can be asked to speak.
MIN_SPEED, MAX_SPEED = 0.25, 4.0
#: Characters spoken per second, about, at a voice's own pace: 14 to 16 in English with the voices measured.
CHARS_PER_S: Final = 15.0
#: Seeds are 32 bits wide: the range that numpy's generators and torch have in common.
MAX_SEED: Final = 2**32 - 1
#: The fields of the first release. Its records keep each in a field of its own, its fingerprints in this order.
FIRST_FIELDS: Final = ("voice", "speed", "seed", "format", "sample_rate_hz")


class OneOf:
    """Annotates a type whose values are these names: an enum's, or those of a table.

    The schema lists the names in place, and text is accepted where models are strict.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = [str(name) for name in names]

    def __get_pydantic_core_schema__(self, source: Any, _: GetCoreSchemaHandler) -> CoreSchema:
        """How pydantic checks a value: it is one of the names, and becomes a member where the type is an enum."""
        names = core_schema.literal_schema(self.names)
        if isinstance(source, type) and issubclass(source, Enum):
            return core_schema.no_info_after_validator_function(source, names)
        return names


def _whole_number(value: Any) -> Any:
    """JSON has one kind of number, and JSON Schema calls 2.0 an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeechParams:
    """How to speak a text. A field without a default is filled in by the service where a client leaves it out."""

    voice: Annotated[str, Field(description="A name from `GET /v1/voices`; the service's default voice if absent.")]
    speed: Annotated[
        float,
        Field(ge=MIN_SPEED, le=MAX_SPEED, allow_inf_nan=False, description="2 speaks in half the time."),
    ] = 1.0
    #: The default is fixed, so that the same request gives the same bytes.
    seed: Annotated[
        int,
        Field(ge=0, le=MAX_SEED, description="The same text with the same seed gives the same audio."),
        BeforeValidator(_whole_number),
    ] = 0
    format: Annotated[str, OneOf(FORMATS), Field(description="`wav` is 16-bit PCM, `ogg` is Opus.")] = "wav"
    sample_rate_hz: Annotated[
        Annotated[int, Field(ge=MIN_SAMPLE_RATE_HZ, le=MAX_SAMPLE_RATE_HZ), BeforeValidator(_whole_number)] | None,
        Field(description="Sample rate of the audio; the voice's own rate if absent."),
    ] = None

    @classmethod
    def pick(cls, values: Mapping[str, Any], **own: Any) -> Self:
        """The parameters among ``values``, which are not checked; None and what is absent become the default."""
        found = {name: values[name] for name in field_names(cls) if values.get(name) is not None}
        return cls(**(found | own))

    def values(self) -> dict[str, Any]:
        """The values by field name."""
        return dict(vars(self))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Param:
    """One field of speech parameters, for what is derived from it."""

    name: str
    #: The type without what is annotated, and with it: its range, for pydantic.
    plain_type: Any
    annotated: Any
    #: The names that it may have; None where it is not one of a few.
    choices: tuple[str, ...] | None
    help: str
    default: Any
    #: Whether it has a default.
    required: bool


def params_of(kind: type[SpeechParams] = SpeechParams) -> tuple[Param, ...]:
    """The fields of ``kind``, in order."""
    plain, annotated = get_type_hints(kind), get_type_hints(kind, include_extras=True)
    return tuple(
        Param(
            name=field.name,
            plain_type=plain[field.name],
            annotated=annotated[field.name],
            choices=_choices(annotated[field.name]),
            help=FieldInfo.from_annotation(annotated[field.name]).description or "",
            default=None if field.default is dataclasses.MISSING else field.default,
            required=field.default is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
    )


def _choices(annotated: Any) -> tuple[str, ...] | None:
    return next((tuple(one.names) for one in get_args(annotated) if isinstance(one, OneOf)), None)


def field_names(kind: type[SpeechParams] = SpeechParams) -> tuple[str, ...]:
    """The names of the fields of ``kind``, in order."""
    return tuple(kind.__dataclass_fields__)


def added_defaults(kind: type[SpeechParams]) -> Mapping[str, Any]:
    """The fields of ``kind`` that the first release did not have, with their defaults."""
    fields = kind.__dataclass_fields__.items()
    return {name: field.default for name, field in fields if name not in FIRST_FIELDS}
