"""Page size, paragraph styles and table styles of the report."""

from __future__ import annotations

from typing import Any

from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Spacer

from fraudline.score.report.charts import INK, MUTED, RULE

MARGIN, FOOT = 34.0, 40.0
WIDTH = A4[0] - 2 * MARGIN
HALF_WIDTH = WIDTH / 2 - 8

TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=17, leading=20, textColor=INK)
BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9, leading=12.5, textColor=INK)
RIGHT = ParagraphStyle("right", BODY, alignment=TA_RIGHT)
NOTE = ParagraphStyle("note", BODY, fontSize=7.5, leading=10, textColor=MUTED)
HEADING = ParagraphStyle("heading", BODY, fontName="Helvetica-Bold", fontSize=10.5, leading=14, spaceAfter=3)
CELL = ParagraphStyle("cell", BODY, fontSize=7, leading=8.4)
NUMBER = ParagraphStyle("number", CELL, alignment=TA_RIGHT)
HEAD = ParagraphStyle("head", CELL, fontName="Helvetica-Bold", textColor=MUTED)
HEAD_NUMBER = ParagraphStyle("head number", HEAD, alignment=TA_RIGHT)

TableCommand = tuple[Any, ...]

UNPADDED: list[TableCommand] = [
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
]
# Two flowables side by side, with a gap between them.
SIDE_BY_SIDE: list[TableCommand] = [*UNPADDED, ("LEFTPADDING", (1, 0), (1, 0), 16)]
RULED: list[TableCommand] = [
    ("LINEBELOW", (0, 0), (-1, 0), 0.8, MUTED),
    ("LINEBELOW", (0, 1), (-1, -1), 0.4, RULE),
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 3),
    ("RIGHTPADDING", (0, 0), (-1, -1), 3),
    ("TOPPADDING", (0, 0), (-1, -1), 1.8),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2.2),
]


def section_gap() -> Spacer:
    """Return the space between two sections."""
    return Spacer(0, 12)
