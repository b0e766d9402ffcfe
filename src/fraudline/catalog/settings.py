"""Read a site's settings file, ``fraudline.toml``, and report errors with the line.

The command line, ``pipeline.py`` and ``make deploy`` read the same file. Stages never do: they receive parameters.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fraudline.catalog.errors import InputError
from fraudline.catalog.settings_table import DECIDED_ELSEWHERE, SECTIONS, SETTINGS, Kind, Setting, pairs_of, text_of

FILE = Path("fraudline.toml")

# The Python types of each kind of value in TOML, and what errors say was expected.
_TYPES: Mapping[Kind, tuple[type, ...]] = {
    "text": (str,),
    "location": (str,),
    "file": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "table": (dict,),
}
_EXPECTED: Mapping[Kind, str] = {
    "text": "text in quotation marks",
    "location": "a folder or an s3:// URI in quotation marks",
    "file": "a file's path in quotation marks",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "list": 'a list of strings, such as ["a", "b"]',
    "table": 'a table of strings, such as { name = "value" }',
}


@dataclass(frozen=True)
class Settings:
    """The settings of a site: those that its file sets, and defaults for the others.

    Attributes:
        path: the file, or None if there is none.
        values: the values that the file sets, by section and key; an empty value counts as not set.

    The other attributes are the keys of [site] and [aws] that tools read by name.
    """

    path: Path | None
    values: Mapping[tuple[str, str], Any]
    data: str
    root: str
    name: str
    role: str
    kms_key: str
    subnets: Sequence[str]
    security_groups: Sequence[str]
    network_isolation: bool
    spot: bool
    tags: Mapping[str, str]
    images: Path | None
    processing_instance: str
    training_instance: str
    host_endpoint: bool
    endpoint_name: str
    serving_instance: str
    serving_instances: int

    def parameters(self) -> list[tuple[str, str]]:
        """Return the stage settings that the file sets, as pairs of name and text, in the form of ``--set``."""
        pairs = []
        for key, value in self.values.items():
            name = SETTINGS[key].parameter
            if isinstance(value, dict):
                pairs += [(name, text) for text in pairs_of(value) if name]
            elif name:
                pairs.append((name, text_of(value)))
        return pairs

    def stack(self) -> dict[str, str]:
        """Return the values that the file sets for the stack, by the name of the CloudFormation parameter."""
        return {
            setting.cloudformation: setting.stack_text(self.values[key])
            for key, setting in SETTINGS.items()
            if setting.cloudformation and key in self.values
        }


def overridden(parameters: Sequence[tuple[str, str]], by: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return a file's stage settings, overridden by those of a command line.

    Args:
        parameters: the settings of the file.
        by: the settings of the command line; a ``column`` overrides only the mapping of the same canonical column.
    """
    replaced = {_identity(*pair) for pair in by}
    return [*(pair for pair in parameters if _identity(*pair) not in replaced), *by]


def by_name(settings: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return settings by name; the values of a repeated setting are joined with commas."""
    merged: dict[str, str] = {}
    for name, value in settings:
        merged[name] = f"{merged[name]},{value}" if name in merged else value
    return merged


def _identity(name: str, text: str) -> tuple[str, str]:
    return name, text.partition("=")[0] if name == "column" else ""


# Reading


def load(path: Path | None) -> Settings:
    """Read a settings file.

    Args:
        path: the file; None for ./fraudline.toml if it exists, otherwise for the defaults.

    Raises:
        InputError: the file is missing or is not TOML, or a section, key or value is wrong.
    """
    if path is None and not FILE.exists():
        return _settings(None, {})
    source = _Source(path or FILE)
    values = {}
    for section, table in source.document.items():
        _check_section(source, section, table)
        for key, value in table.items():
            setting = _setting(source, section, key)
            _check(source, setting, value)
            if value not in ("", [], {}):
                values[section, key] = _relative(setting, value, source.path)
    return _settings(source.path, {key: values[key] for key in SETTINGS if key in values})


def _settings(path: Path | None, values: Mapping[tuple[str, str], Any]) -> Settings:
    named = [setting for setting in SETTINGS.values() if setting.key in Settings.__dataclass_fields__]
    attributes = {setting.key: values.get((setting.section, setting.key), setting.default) for setting in named}
    return Settings(path, values, **attributes)


def _relative(setting: Setting, value: Any, path: Path) -> Any:
    if setting.kind == "file":
        return path.parent / value
    if setting.kind == "location" and "://" not in value:
        return str(path.parent / value)
    return value


class _Source:
    """A TOML file that can name the line of each key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._text = path.read_bytes().decode()
            self.document = tomllib.loads(self._text)
        except OSError as error:
            raise InputError(
                f"settings file {path}: {error.strerror}; write one with: fraudline init {path}"
            ) from error
        except UnicodeDecodeError as error:
            raise InputError(f"settings file {path}: expected UTF-8, got other bytes; save it as UTF-8") from error
        except tomllib.TOMLDecodeError as error:
            end = f"end of document, line {len(self._text.splitlines())}"
            problem = str(error).replace("end of document", end)
            raise InputError(f"settings file {path}: not valid TOML: {problem}") from error

    def error(self, keys: Sequence[str], problem: str) -> InputError:
        """Return an error about a key, with the file and the line."""
        return InputError(f"{self.path}, line {self._line(keys)}: {problem}")

    def _line(self, keys: Sequence[str]) -> int:
        """Return the number of the line on which the statement of a key begins.

        tomllib reports no lines, so this parses longer and longer beginnings of the file. A beginning is valid TOML
        only if its last statement is complete, so the first one that contains the key ends with the key's statement.
        This works for tables, dotted keys, and values of several lines.
        """
        lines = self._text.split("\n")
        start = 1
        for end in range(1, len(lines) + 1):
            try:
                document = tomllib.loads("\n".join(lines[:end]) + "\n")
            except tomllib.TOMLDecodeError:
                continue
            if _contains(document, keys):
                break
            start = end + 1
        return start


def _contains(document: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True


def _check_section(source: _Source, section: str, table: Any) -> None:
    if section not in SECTIONS:
        homes = [f"[{setting.section}]" for setting in SETTINGS.values() if setting.key == section]
        hint = f"it belongs below {homes[0]}" if homes else _did_you_mean(section, SECTIONS)
        raise source.error([section], f"no section [{section}]; {hint}")
    if not isinstance(table, dict):
        raise source.error([section], f"[{section}] is a section, got a value; write its keys below [{section}]")


def _setting(source: _Source, section: str, key: str) -> Setting:
    if (section, key) in SETTINGS:
        return SETTINGS[section, key]
    homes = [f"[{setting.section}]" for setting in SETTINGS.values() if setting.key == key]
    if homes:
        hint = f"it belongs below {homes[0]}"
    elif key in DECIDED_ELSEWHERE:
        hint = f"{DECIDED_ELSEWHERE[key]} decides it; remove it"
    elif key == "column":
        hint = "it is columns below [input]"
    else:
        hint = _did_you_mean(key, [setting.key for setting in SETTINGS.values() if setting.section == section])
    raise source.error([section, key], f"[{section}] has no key {key}; {hint}")


def _did_you_mean(word: str, words: Sequence[str]) -> str:
    similar = difflib.get_close_matches(word, words, n=1)
    return f"did you mean {similar[0]}?" if similar else f"it may be {', '.join(words)}"


def _check(source: _Source, setting: Setting, value: Any) -> None:
    if type(value) not in _TYPES[setting.kind]:  # not isinstance: a boolean is an int
        raise source.error(
            [setting.section, setting.key],
            f"{setting.name}: expected {_EXPECTED[setting.kind]}{_purpose(setting)}, got {_toml(value)}"
            f"{_hint(setting, value)}",
        )
    if isinstance(value, dict):
        for name, item in value.items():
            _check_text(source, setting, [setting.section, setting.key, name], item, f"{name}={item}")
    elif isinstance(value, list):
        for item in value:
            _check_text(source, setting, [setting.section, setting.key], item, item)
    elif value != "":
        _parse(source, setting, [setting.section, setting.key], value, text_of(value))


def _check_text(source: _Source, setting: Setting, keys: Sequence[str], item: Any, text: str) -> None:
    if not isinstance(item, str):
        raise source.error(keys, f"{setting.name}: expected {_EXPECTED[setting.kind]}, got {_toml(item)} in it")
    _parse(source, setting, keys, item, text)


def _parse(source: _Source, setting: Setting, keys: Sequence[str], value: Any, text: str) -> None:
    try:
        setting.parse(text)
    except ValueError as error:
        problem = f"{setting.name}: {error}{_purpose(setting)}, got {_toml(value)}{_hint(setting, value)}"
        raise source.error(keys, problem) from error


def _purpose(setting: Setting) -> str:
    return f" ({setting.unit}: {setting.description})" if setting.unit else f" ({setting.description})"


def _hint(setting: Setting, value: Any) -> str:
    """Return advice for a number in quotation marks, or for a percentage where a share is expected."""
    if setting.kind not in ("integer", "number"):
        return ""
    match = re.fullmatch(r"\s*(-?[\d.]+)\s*(%?)\s*", str(value))
    if not match:
        return ""
    figure = float(match[1])
    if isinstance(value, str) and not match[2]:
        return f"; write it without quotation marks: {match[1]}"
    return f"; write {match[1]} % as {figure / 100:g}" if _is_share(setting) and 1 < figure <= 100 else ""


def _is_share(setting: Setting) -> bool:
    try:
        setting.parse("1.01")
    except ValueError:
        return setting.kind == "number"
    return False


# Writing

_HEAD = """\
# The settings of a site. `fraudline run`, pipeline.py and `make deploy` read this file; `--set` overrides it.
# Every key is here with its default. Remove the # before a key to set it; docs/settings.md lists them too.
"""


def template() -> str:
    """Return a settings file with every key commented out: its description, unit and default."""
    parts = [_HEAD]
    for section in SECTIONS:
        parts.append(f"[{section}]")
        parts += [_commented(setting) for setting in SETTINGS.values() if setting.section == section]
    return "\n".join(parts)


def _commented(setting: Setting) -> str:
    unit = f" ({setting.unit})" if setting.unit else ""
    return f"# {setting.description}{unit}\n#{setting.key} = {_toml(setting.default)}\n"


def _toml(value: Any) -> str:
    """Write a value as TOML."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        items = [f"{name} = {_toml(item)}" for name, item in value.items()]
        return f"{{ {', '.join(items)} }}" if items else "{}"
    return str(value)
