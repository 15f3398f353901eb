"""The reference pages say what the code says. Run as a program, this file writes their generated parts anew."""

from __future__ import annotations

import importlib.metadata
import re
import socket
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import SecretStr

from api.app import create_app
from api.http import metrics as api_metrics
from scheduler.metrics import names as scheduler_metrics
from stentor import errors
from stentor.cli.main import cli
from stentor.formats import FORMATS
from stentor.redis import keys
from stentor.settings import CLIENT_VARIABLES, PREFIX, Settings
from tests.support.lua import purpose, script_names

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
#: Failures that neither an HTTP answer nor a job shows: of a start, of a driver, or for the command line's eyes only.
NOT_SHOWN = (errors.ConfigurationError, errors.GpuError, errors.ApiUnavailable, errors.RoomSilent, errors.Problem)


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


# --- settings


def limits(schema: dict[str, Any]) -> str:
    """What a value may be, in words."""
    found = next(one for one in schema.get("anyOf", [schema]) if one.get("type") != "null")
    kind = {"integer": "whole number", "number": "number", "string": "text"}[found["type"]]
    words = ["folder" if found.get("format") == "path" else kind]
    if "minimum" in found and "maximum" in found:
        words.append(f"{found['minimum']} to {found['maximum']}")
    elif "minimum" in found:
        words.append(f"at least {found['minimum']}")
    elif "exclusiveMinimum" in found:
        words.append(f"more than {found['exclusiveMinimum']}")
    if "minLength" in found:
        words.append(f"{found['minLength']} to {found['maxLength']} characters")
    if "pattern" in found:
        words.append("`" + found["pattern"].replace("|", "\\|") + "`")
    return ", ".join(words)


def default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is socket.gethostname:
        return "the machine's host name"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return "not set" if value is None else "empty" if value == "" else f"`{value}`"


def settings_table() -> str:
    schema = Settings.model_json_schema()["properties"]
    rows = ["| variable | default | what it is | allowed |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        rows.append(
            f"| `{PREFIX}{name.upper()}` | {default(name)} | {field.description} | {limits(schema[name])} |",
        )
    return "\n".join(rows)


def test_the_variables_of_clients_are_told_apart() -> None:
    text = page("reference/settings.md")
    assert [name for name in sorted(CLIENT_VARIABLES) if f"| `{name}` |" not in text] == []


# --- errors


def is_public(kind: type[errors.StentorError]) -> bool:
    return kind.__module__.startswith(f"{errors.__name__}.")


def children(kind: type[errors.StentorError]) -> list[type[errors.StentorError]]:
    return [child for child in kind.__subclasses__() if is_public(child)]


def all_errors(kind: type[errors.StentorError] = errors.StentorError) -> set[type[errors.StentorError]]:
    return {kind}.union(*(all_errors(child) for child in children(kind)))


def error_tree(kind: type[errors.StentorError] = errors.StentorError, lines: str = "") -> Iterator[str]:
    """One line per class: its place, code, HTTP status, and whether a retry helps."""
    name = f"{lines.replace('+', '├── ').replace('`', '└── ').replace('|', '│   ').replace('.', '    ')}{kind.__name__}"
    yield f"{name:<36} {kind.code:<25} {kind.status}{'  retry' if kind.retryable else ''}"
    below = lines.replace("+", "|").replace("`", ".")
    for number, child in enumerate(found := children(kind), 1):
        yield from error_tree(child, below + ("`" if number == len(found) else "+"))


def tree_of_errors() -> str:
    return "\n".join(["```text", *error_tree(), "```"])


def test_no_two_errors_have_the_same_code() -> None:
    codes = [kind.code for kind in all_errors()]
    assert sorted(codes) == sorted(set(codes))
    assert all(errors.error_class(kind.code) is kind for kind in all_errors())


def shown_errors() -> set[type[errors.StentorError]]:
    """The leaves of the tree that an HTTP answer or a job may carry."""
    return {kind for kind in all_errors() if not children(kind) and not issubclass(kind, NOT_SHOWN)}


def test_every_code_that_a_client_may_see_is_on_the_page() -> None:
    codes = {errors.StentorError.code} | {error.code for error in shown_errors()}
    listed = set(re.findall(r"^\| `([a-z_]+)` \|", page("reference/http.md"), re.MULTILINE))
    assert len(codes) > 20
    assert codes - listed == set()


def test_statuses_on_the_page_are_those_of_the_classes() -> None:
    listed = dict(re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", page("reference/http.md"), re.MULTILINE))
    known = {error.code: str(error.status) for error in all_errors()}
    assert {code: known[code] for code in listed if code in known} == {c: s for c, s in listed.items() if c in known}


# --- HTTP


def test_every_path_of_the_description_is_on_the_page() -> None:
    description = create_app(Settings()).test_client().get("/openapi.json").get_json()
    headings = [line for line in page("reference/http.md").splitlines() if line.startswith("### ")]
    for path, item in description["paths"].items():
        for method in item:
            wanted = f"{method.upper()} {path}"
            assert any(wanted in re.split(r"`|, ", heading) for heading in headings), wanted


def test_every_format_is_on_the_page() -> None:
    text = page("reference/http.md")
    assert [name for name, form in FORMATS.items() if f"| `{name}` | `{form.content_type}` |" not in text] == []


# --- Redis keys


def test_every_key_of_the_legend_is_on_the_page() -> None:
    legend = re.findall(r"^\| (stentor:.*?) +\|", keys.__doc__ or "", re.MULTILINE)
    text = page("reference/redis-keys.md")
    assert len(legend) > 10
    assert [key for key in legend if f"`{key}`" not in text] == []


def test_every_lua_script_is_on_the_page() -> None:
    text = page("reference/redis-keys.md")
    assert [name for name in script_names() if f"| `{name}` | {purpose(name)} |" not in text] == []


# --- command line


def commands(command: click.Command, name: str = "stentor") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for child_name in command.list_commands(ctx):
            child = command.get_command(ctx, child_name)
            assert child is not None
            yield from commands(child, f"{name} {child_name}")


@pytest.mark.parametrize(
    ("name", "command"), list(commands(cli)), ids=lambda value: value if type(value) is str else ""
)
def test_every_command_is_on_the_page_with_its_options(name: str, command: click.Command) -> None:
    sections = re.split(r"^##+ ", page("reference/cli.md"), flags=re.MULTILINE)
    section = next((text for text in sections if text.startswith(f"`{name}`\n")), None)
    assert section is not None, f"no section for `{name}`"
    options = [parameter.opts[-1] for parameter in command.params if isinstance(parameter, click.Option)]
    assert [option for option in options if f"`{option}" not in section] == []


# --- dependencies


def dependencies() -> set[str]:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [
        data["build-system"]["requires"],
        data["project"]["dependencies"],
        *data["project"]["optional-dependencies"].values(),
        *data["dependency-groups"].values(),
    ]
    names = {re.split(r"[^A-Za-z0-9_-]", line, maxsplit=1)[0] for lines in lists for line in lines}
    return names - {"stentor"}


def test_every_dependency_is_on_the_page() -> None:
    text = page("why/dependencies.md")
    assert [name for name in sorted(dependencies()) if f"| `{name}` |" not in text] == []


def licence(package: str) -> str:
    """What the package's metadata says; of a whole licence text its first line."""
    data = importlib.metadata.metadata(package)
    named = (data[name] for name in ("License-Expression", "License") if name in data)
    return next(named, "none is named").strip().splitlines()[0]


def test_licences_are_those_of_the_packages_own_metadata() -> None:
    written = dict(re.findall(r"^\| `([\w-]+)` \| ([^|]+) \|", page("why/dependencies.md"), re.MULTILINE))
    installed = {found.name for found in importlib.metadata.distributions()} & set(written) - {"setuptools"}
    assert "piper-tts" in installed
    assert {name: written[name] for name in installed} == {name: licence(name) for name in installed}


# --- metrics


def metrics_table(metrics: dict[str, tuple[str, tuple[str, ...], str]]) -> str:
    rows = ["| name | type | labels | what it is |", "|---|---|---|---|"]
    for name, (kind, labels, text) in metrics.items():
        shown = name + ("_total" if kind == "counter" else "")
        rows.append(f"| `{shown}` | {kind} | {', '.join(f'`{label}`' for label in labels) or 'none'} | {text} |")
    return "\n".join(rows)


def api_metrics_table() -> str:
    kinds = {family.name: family.type for family in api_metrics.HttpMetrics().registry.collect()}
    return metrics_table({name: (kinds[name], *found) for name, found in api_metrics.METRICS.items()})


# --- generated parts

#: Name of a part -> its page, and what makes it.
GENERATED: dict[str, tuple[str, Callable[[], str]]] = {
    "settings": ("reference/settings.md", settings_table),
    "errors": ("reference/errors.md", tree_of_errors),
    "cluster metrics": ("reference/metrics.md", lambda: metrics_table(scheduler_metrics.CLUSTER)),
    "host metrics": ("reference/metrics.md", lambda: metrics_table(scheduler_metrics.HOST)),
    "API metrics": ("reference/metrics.md", api_metrics_table),
}


def with_part(text: str, name: str) -> str:
    """The page with a new part between its two marks."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{GENERATED[name][1]()}\n{end}{rest.partition(end)[2]}"


@pytest.mark.parametrize("name", GENERATED)
def test_generated_parts_of_pages_are_up_to_date(name: str) -> None:
    text = page(GENERATED[name][0])
    assert text == with_part(text, name), "run `python tests/unit/repository/test_docs.py`"


# --- all pages


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(path: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    page = path.parent / name if name else path
    return page.exists() and (not anchor or anchor in anchors(page))


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in [ROOT / "README.md", *DOCS.rglob("*.md")]
        for target in re.findall(r"\]\((?!https?:)([^)]+)", path.read_text(encoding="utf-8"))
        if not leads_somewhere(path, target)
    ]
    assert broken == []


def exists(name: str) -> bool:
    """Whether a file of the repository ends with this path."""
    folder, _, file = name.rpartition("/")
    return any(str(path.parent).endswith(folder) for path in ROOT.glob(f"[!.]*/**/{file}"))


def test_files_and_tests_that_pages_name_exist() -> None:
    pages = [path for folder in ("why", "reference") for path in (DOCS / folder).rglob("*.md")]
    names = {name for path in pages for name in re.findall(r"`([\w./-]+)`", path.read_text(encoding="utf-8"))}
    files = {name for name in names if name.endswith((".py", ".lua"))}
    tests = {name for name in names if re.fullmatch(r"test_\w+", name)}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(files) > 20
    assert sorted(name for name in files if not exists(name)) == []
    assert sorted(name for name in tests if f"def {name}(" not in code) == []


def test_every_folder_of_code_is_on_the_code_map() -> None:
    packages = [
        path.parent for top in ("api", "worker", "scheduler", "stentor") for path in (ROOT / top).rglob("__init__.py")
    ]
    names = [str(folder.relative_to(ROOT)) for folder in packages]
    text = page("why/code-map.md")
    assert len(names) > 30
    assert [name for name in names if f"[`{name}`](../../{name})" not in text] == []


def test_every_decision_is_in_the_index() -> None:
    index = page("why/design.md")
    pages = [path.name for path in (DOCS / "why" / "decisions").glob("*.md")]
    assert len(pages) > 40
    assert [name for name in pages if f"](decisions/{name})" not in index] == []


if __name__ == "__main__":
    for part, (file, _) in GENERATED.items():
        (DOCS / file).write_text(with_part(page(file), part), encoding="utf-8")
