"""Speech parameters in the models of HTTP: requests and answers have a field for each, and none is named here."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, create_model

from stentor.speech import OneOf, Param, SpeechParams, params_of

Model = TypeVar("Model", bound=BaseModel)


def speech_request(params: type[SpeechParams] = SpeechParams) -> Callable[[type[Model]], type[Model]]:
    """A decorator: the request model with a field for each parameter, which may be left out."""
    return lambda model: _extend(model, {param.name: _optional(param) for param in params_of(params)})


def speech_answer(
    params: type[SpeechParams] = SpeechParams, *, only: Collection[str] | None = None
) -> Callable[[type[Model]], type[Model]]:
    """A decorator: the answer model with a field for each parameter, or for those in ``only``."""
    shown = [param for param in params_of(params) if only is None or param.name in only]
    return lambda model: _extend(model, {param.name: _answer_field(param) for param in shown})


def _optional(param: Param) -> tuple[Any, Any]:
    if not param.required:
        return param.annotated, param.default
    kind, *metadata = get_args(param.annotated)
    return Annotated[kind | None, *metadata], None


def _answer_field(param: Param) -> tuple[Any, Any]:
    return (Annotated[param.plain_type, OneOf(param.choices)] if param.choices else param.plain_type), ...


def _extend(model: type[Model], fields: dict[str, Any]) -> type[Model]:
    return create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **fields)
