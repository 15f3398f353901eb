"""The Lua scripts: their keys come from the builders, and each says what it takes and answers."""

from __future__ import annotations

import re

import pytest

from stentor.redis import keys, scripts
from stentor.redis.scripts import source
from tests.support.lua import FOLDER, header, script_names


def code(text: str) -> str:
    return re.sub(r"--.*", "", text)


def test_no_script_writes_a_key_or_a_number_of_seconds_itself() -> None:
    text = "".join(code(path.read_text("utf-8")) for path in FOLDER.rglob("*.lua"))
    assert re.findall(r"stentor:[\w:]*|\.\. ':\w+'|86400|34560000", text) == []


@pytest.mark.parametrize("name", script_names())
def test_a_script_opens_with_its_keys_its_arguments_and_its_answer(name: str) -> None:
    lines = header(name)
    taken = set(re.findall(r"(?:KEYS|ARGV)\[\d+", code((FOLDER / f"{name}.lua").read_text("utf-8"))))
    described = [line for line in lines if line.startswith(("KEYS", "ARGV", "Answer"))]
    assert described[-1].startswith("Answer")
    assert sorted(one for one in taken if not any(line.startswith(one) for line in described)) == []


@pytest.mark.parametrize("name", script_names())
def test_a_script_includes_what_it_calls_and_nothing_else(name: str) -> None:
    own = (FOLDER / f"{name}.lua").read_text("utf-8")
    included = re.findall(r"\w+", own.partition("\n")[0].removeprefix(scripts.INCLUDE)) if own.startswith("--!") else []
    files = {path.stem: code(path.read_text("utf-8")) for path in (FOLDER / "shared").glob("*.lua")}
    defined = {stem: re.findall(r"^local function (\w+)", text, re.MULTILINE) for stem, text in files.items()}
    needed = [stem for stem in files if any(re.search(rf"\b{one}\(", code(own)) for one in defined[stem])]
    assert sorted(included) == sorted(needed)


def test_keys_in_scripts_are_generated_from_their_builders() -> None:
    prelude = source("jobs/settle").partition("-- The outcomes")[0].splitlines()
    assert "local DAY_S = 86400" in prelude
    assert "local USAGE_KEPT_S = 34560000" in prelude
    assert "  usage = function(key_id, day) return 'stentor:usage:' .. key_id .. ':' .. day end," in prelude
    assert "  EVENTS = 'stentor:events'," in prelude


def test_every_key_that_a_script_builds_is_in_the_legend() -> None:
    legend = [
        re.sub(r"<.*?>", "*", key) for key in re.findall(r"^\| (stentor:.*?) +\|", keys.__doc__ or "", re.MULTILINE)
    ]
    built: set[str] = set()
    for name in script_names():
        prelude = source(name).partition("}\n")[0]
        found = re.findall(r"^  \w+ = (?:function\(.*?\) return (.*) end|('.*')),$", prelude, re.MULTILINE)
        for parts in found:
            built.add("".join(part.strip("'") if "'" in part else "*" for part in "".join(parts).split(" .. ")))
    assert len(built) > 20
    assert sorted(built - set(legend)) == []


def test_a_key_that_has_no_builder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "_lua", lambda _: "return keys.nothing_like_it(1)")
    with pytest.raises(AttributeError):
        source.__wrapped__("any")
