"""Format numbers, and strings from the data, as text of the report."""

from __future__ import annotations

import html
import math
import unicodedata

# Strings from the data are cut, so that no table row outgrows a page. An identifier may be a SHA-256 in hex.
MAX_LENGTH, MAX_ID_LENGTH = 40, 64


def markup(text: str, max_length: int = MAX_LENGTH) -> str:
    """Return a string from the data as reportlab markup that shows it literally, cut and printable."""
    return html.escape(printable(text, max_length), quote=False)


def printable(text: str, max_length: int = MAX_LENGTH) -> str:
    """Return a string from the data, cut, with "?" for each character that Helvetica lacks."""
    composed = unicodedata.normalize("NFC", text)
    cut = composed if len(composed) <= max_length else f"{composed[: max_length - 1]}…"
    return "".join(map(_printable_character, cut))


def format_value(value: float | None) -> str:
    """Format the value of a feature."""
    if value is None or math.isnan(value):
        return "missing"
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def format_threshold(threshold: float) -> str:
    """Format a threshold with two decimals, or four if it has more than two."""
    return f"{threshold:.2f}" if round(threshold, 2) == threshold else f"{threshold:.4f}"


def format_count(count: int, noun: str) -> str:
    """Format a count with its noun, singular or plural."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _printable_character(character: str) -> str:
    if character.isspace():
        return " "
    if not character.isprintable():
        return "?"
    # reportlab encodes Helvetica, a standard font of PDF, as cp1252.
    return character.encode("cp1252", "replace").decode("cp1252")
