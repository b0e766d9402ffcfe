"""Write a template as YAML, with short tags for functions; this package has no YAML library at hand."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from fraudline.orchestration.stack.intrinsics import Noted

WIDTH = 120
# A mapping with more entries reads better in lines of its own.
_ENTRIES = 3
# A text that YAML would read as it stands; a colon or a hash with a space beside it would end it.
_PLAIN = re.compile(r"(?!.*(: |:$| #| $))[A-Za-z/$][^\[\]{},?\n]*")
# In lines of its own, a text may also hold the characters that end an entry of an inline mapping.
_PLAIN_LINE = re.compile(r"(?!.*(: |:$| #| $))[A-Za-z/$].*")
_OTHER_TYPES = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def write(template: Mapping[str, Any]) -> str:
    """Return a template's text; ``Noted`` values get their comment."""
    text = "\n".join(_entries(template, 0))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _entries(mapping: Mapping[str, Any], indent: int) -> Iterator[str]:
    for name, value in mapping.items():
        if isinstance(value, Noted):
            yield from _comment(value.comment, indent)
            value = value.value  # noqa: PLW2901 - the comment is written
        yield from _item(f"{_scalar(name)}:", value, indent, indent + 2)
        if indent == 0 or _is_resource(value):
            yield ""


def _comment(text: str, indent: int) -> list[str]:
    heading = [""] if text.endswith("\n") else []  # it stands above more than one entry
    return _wrapped(text, " " * indent + "# ") + heading


def _item(label: str, value: Any, indent: int, below: int) -> Iterator[str]:
    """Yield the lines of one entry: on one line where it fits, else in lines indented by ``below``."""
    start = " " * indent + label
    if _may_be_inline(value):
        inline = f"{start} {_inline(value, line=True)}"
        if len(inline) <= WIDTH:
            yield inline
            return
    tag, content = _tagged(value)
    start += f" {tag}" if tag else ""
    if isinstance(content, Mapping):
        yield start
        yield from _entries(content, below)
    elif isinstance(content, list):
        yield start
        for each in content:
            yield from _list_item(each, below)
    elif _folds(content):
        yield f"{start} >-"
        yield from _wrapped(content, " " * below)
    else:
        yield f"{start} {_scalar(content, line=True)}"


def _wrapped(text: str, prefix: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_long_words=False, break_on_hyphens=False
    )


def _list_item(value: Any, indent: int) -> Iterator[str]:
    if isinstance(value, Mapping) and not _tagged(value)[0] and not _short(value, indent):
        first, *rest = _entries(value, indent + 2)
        yield f"{' ' * indent}- {first.strip()}"
        yield from rest
    else:
        yield from _item("-", value, indent, indent + 2)


def _short(value: Any, indent: int) -> bool:
    return _may_be_inline(value) and indent + 2 + len(_inline(value)) <= WIDTH


def _may_be_inline(value: Any) -> bool:
    """Return False where a value needs lines of its own whatever its length."""
    if isinstance(value, Noted):
        return False
    if isinstance(value, Mapping):
        return len(value) <= _ENTRIES and not _is_resource(value) and all(map(_may_be_inline, value.values()))
    return all(map(_may_be_inline, value)) if isinstance(value, list) else True


def _is_resource(value: Any) -> bool:
    return isinstance(value, Mapping) and str(value.get("Type", "")).startswith("AWS::") and "Properties" in value


def _folds(value: Any) -> bool:
    """Return True for a text that survives folding: its only white space is single spaces."""
    return isinstance(value, str) and " " in value and " ".join(value.split()) == value


def _tagged(value: Any) -> tuple[str, Any]:
    """Return a function's short tag and its argument; the tag is empty for other values.

    A function of a function keeps its long name, because YAML allows one tag a value.
    """
    if not isinstance(value, Mapping) or len(value) != 1:
        return "", value
    ((name, argument),) = value.items()
    if not (name == "Ref" or name.startswith("Fn::")) or _tagged(argument)[0]:
        return "", value
    if name == "Fn::GetAtt":
        argument = ".".join(argument)
    return f"!{name.removeprefix('Fn::')}", argument


def _inline(value: Any, *, line: bool = False) -> str:
    """Return a value in one line; ``line`` where nothing else follows on that line."""
    tag, content = _tagged(value)
    if isinstance(content, Mapping):
        text = "{" + ", ".join(f"{_scalar(name)}: {_inline(each)}" for name, each in content.items()) + "}"
    elif isinstance(content, list):
        text = "[" + ", ".join(map(_inline, content)) + "]"
    else:
        text = _scalar(content, line=line)
    return f"{tag} {text}".lstrip()


def _scalar(value: Any, *, line: bool = False) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    pattern = _PLAIN_LINE if line else _PLAIN
    if pattern.fullmatch(value) and value.lower() not in _OTHER_TYPES:
        return value
    if '"' in value:
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)
