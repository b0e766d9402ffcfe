"""How the report writes numbers, identifiers and text that came from outside."""

from __future__ import annotations

import html
import math
import unicodedata

# What came from outside is cut to so many characters that no row outgrows a page; an identifier may be a hash.
LONGEST, LONGEST_ID = 40, 64


def masked(identifier: str) -> str:
    """The last four characters, and never more than half."""
    shown = min(4, len(identifier) // 2)
    return "•" * (len(identifier) - shown) + identifier[len(identifier) - shown :]


def text(outside: str, longest: int = LONGEST) -> str:
    """Text from outside, safe inside a Paragraph: cut, in the font's characters, its markup shown as it is."""
    return html.escape(plain(outside, longest), quote=False)


def plain(outside: str, longest: int = LONGEST) -> str:
    """Text from outside: cut, and in the font's characters."""
    composed = unicodedata.normalize("NFC", outside)
    cut = composed if len(composed) <= longest else f"{composed[: longest - 1]}…"
    return "".join(_drawable(character) for character in cut)


def _drawable(character: str) -> str:
    """The character where Helvetica has it, else a visible question mark: nothing vanishes silently."""
    if character.isspace():
        return " "
    return character.encode("cp1252", "replace").decode("cp1252") if character.isprintable() else "?"


def value_of(value: float | None) -> str:
    """A feature's value, short."""
    if value is None or math.isnan(value):
        return "missing"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def threshold_of(threshold: float) -> str:
    """A threshold with as many decimals as it has."""
    return f"{threshold:.2f}" if round(threshold, 2) == threshold else f"{threshold:.4f}"


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural where it is one."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
