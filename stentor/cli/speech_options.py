"""The options that say how a text is spoken: one for each speech parameter."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import NoneType
from typing import Any, TypeVar, get_args

import click

from stentor.speech import Param, SpeechParams, params_of

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: A unit at the end of a field's name stands behind its option: `--sample-rate HZ`.
_UNIT = re.compile(r"_(hz|ms|s|lufs)$")


def speech_options(params: type[SpeechParams] = SpeechParams) -> Callable[[_Command], _Command]:
    """A decorator: the command with an option for each parameter; it gets None for one that is not given."""

    def add(command: _Command) -> _Command:
        for param in reversed(params_of(params)):
            command = _option(param)(command)
        return command

    return add


def _option(param: Param) -> Callable[[_Command], _Command]:
    unit = _UNIT.search(param.name)
    flag = "--" + _UNIT.sub("", param.name).replace("_", "-")
    default = f"  [default: {param.default}]" if param.choices else ""
    return click.option(
        flag, param.name, type=_type(param), metavar=unit[1].upper() if unit else None, help=param.help + default
    )


def _type(param: Param) -> Any:
    kinds = [kind for kind in get_args(param.plain_type) if kind is not NoneType] or [param.plain_type]
    # The service says what is out of range: it knows its own release.
    return click.Choice(param.choices) if param.choices else kinds[0]
