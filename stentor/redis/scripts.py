"""The text of the Lua scripts, with the shared functions, the keys and the constants that each of them uses.

Lua in Redis has no includes, and a key has one builder, in ``stentor.redis.keys``. So a script's text is put together
here: ``keys.job(id)`` in a script becomes a Lua function that is generated from the builder ``keys.job``.
"""

from __future__ import annotations

import functools
import inspect
import re
from importlib import resources
from typing import Final

from stentor import days
from stentor.redis import keys

#: What the first line of a script begins with if it uses files of ``stentor/redis/lua/shared``; their names follow.
INCLUDE: Final = "--!include "
#: Constants that a script may use by name.
CONSTANTS: Final = {"DAY_S": days.DAY_S, "USAGE_KEPT_S": days.USAGE_KEPT_S}
_COMMENT: Final = re.compile(r"--.*")


@functools.cache
def source(name: str) -> str:
    """The complete text of ``stentor/redis/lua/<name>.lua``.

    Raises:
        AttributeError: it uses a key that ``stentor.redis.keys`` does not have.
    """
    own = _lua(name)
    first = own.partition("\n")[0]
    shared = first.removeprefix(INCLUDE).split() if first.startswith(INCLUDE) else []
    text = "".join([*(_lua(f"shared/{one}") for one in shared), own])
    return _prelude(text) + text


def _lua(name: str) -> str:
    return resources.files("stentor.redis").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


def _prelude(text: str) -> str:
    """Lua code that defines the constants and the table ``keys``, as far as the script uses them."""
    code = _COMMENT.sub("", text)
    lines = [f"local {name} = {value}\n" for name, value in CONSTANTS.items() if re.search(rf"\b{name}\b", code)]
    if used := sorted(set(re.findall(r"\bkeys\.(\w+)", code))):
        lines += ["local keys = {\n", *(f"  {name} = {_key(name)},\n" for name in used), "}\n"]
    return "".join(lines)


def _key(name: str) -> str:
    """A key of ``stentor.redis.keys`` in Lua: a string, or a function with the builder's parameters."""
    builder = getattr(keys, name)
    if isinstance(builder, str):
        return f"'{builder}'"
    parameters = list(inspect.signature(builder).parameters)
    template = builder(*(f"\0{parameter}\0" for parameter in parameters))
    parts = [part if at % 2 else f"'{part}'" for at, part in enumerate(template.split("\0")) if part]
    return f"function({', '.join(parameters)}) return {' .. '.join(parts)} end"
