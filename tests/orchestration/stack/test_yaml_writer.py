"""A written template reads back as the data it was written from, and reads well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.decode import decode

from fraudline.orchestration.stack import yaml_writer
from fraudline.orchestration.stack.intrinsics import Noted, attribute, choose, join, ref, sub

LONG = "a sentence that goes on, " * 8 + "and ends"


def read(text: str, folder: Path) -> Any:
    (folder / "template.yaml").write_text(text)
    yaml.compose(text, Loader=yaml.SafeLoader)  # PyYAML's own scanner is stricter than cfn-lint's
    template, errors = decode(str(folder / "template.yaml"))
    assert not errors
    return json.loads(json.dumps(template))


@pytest.mark.parametrize(
    "value",
    [
        *("plain", "", "*", "true", "No", "N", "null", "5", "2010-09-09", "0x1F", "1e3", "a: b", "a #b", "ends: "),
        *(
            "[a]",
            "{a}",
            "a, b",
            "it's",
            'say "x"',
            'it\'s "x"',
            "- a",
            "& a",
            "! a",
            "% a",
            "@a",
            "`a`",
            "a\nb",
            "ü",
            "  a ",
        ),
        *("cron(0 2 ? * SUN *)", "s3:*", "${Name}", "/aws/${Name}", LONG, f"{LONG}: {LONG}", "x" * 200),
        *(0, -1, 1.5, True, False, None, [], {}, [[]], [{}], [[1, [2]], 3]),
        [{"a": 1, "b": [{"c": LONG}, LONG]}, [LONG, {"a": LONG}], "a, b"],
        {"a:b": {"aws:SourceAccount": "x"}, "true": "a", "5": 1},
        [ref("AWS::Region"), sub("${A}, ${B}"), attribute("Key"), choose("A", ref("B"), {"C": LONG})],
        {"Fn::Base64": choose("A", sub("${B}", B=join('", "', ref("C"))), "{}")},
        choose("A", [choose("B", LONG, LONG)], sub(LONG)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_data_survives_writing_and_reading(value: Any, tmp_path: Path):
    template = {"Resources": {"A": {"Type": "AWS::A", "Properties": {"Value": value, "List": [value, value]}}}}
    text = yaml_writer.write(template)
    assert read(text, tmp_path) == template
    assert all(len(line) <= yaml_writer.WIDTH for line in text.splitlines() if "xxx" not in line)


def test_a_comment_stands_above_its_value(tmp_path: Path):
    text = yaml_writer.write({"A": {"B": Noted("Why.", {"C": 1}), "D": [{"E": Noted("Because.", 2)}]}})
    assert "  # Why.\n  B: {C: 1}\n" in text
    assert read(text, tmp_path) == {"A": {"B": {"C": 1}, "D": [{"E": 2}]}}


def test_functions_have_short_tags():
    text = yaml_writer.write({"A": {"B": attribute("Key"), "C": choose("D", ref("E"), ref("AWS::NoValue"))}})
    assert text == "A: {B: !GetAtt Key.Arn, C: !If [D, !Ref E, !Ref AWS::NoValue]}\n"
