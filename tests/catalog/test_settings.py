"""One settings file; whatever is wrong in it is refused with its line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fraudline.catalog import plan
from fraudline.catalog.errors import InputError
from fraudline.catalog.settings import Settings, load, overridden, template
from fraudline.catalog.settings_table import DECIDED_ELSEWHERE, SETTINGS, Setting
from fraudline.catalog.stages import IMAGES
from fraudline.orchestration.stack.parameters import parameters

# A value of a wrong type for each kind.
WRONG = {
    "text": "12",
    "location": "true",
    "file": "[]",
    "integer": "0.5",
    "number": '"0.5"',
    "boolean": '"true"',
    "list": '"subnet-1"',
    "table": '"a=b"',
}
EVERY = [pytest.param(setting, id=f"{setting.section}.{setting.key}") for setting in SETTINGS.values()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fraudline.toml"


def read(file: Path, text: str) -> Settings:
    file.write_text(text)
    return load(file)


def refusal(file: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        read(file, text)
    return str(caught.value)


def test_the_template_sets_nothing(file: Path):
    settings = read(file, template())
    assert settings.values == {}
    assert settings.parameters() == []
    assert settings.stack() == {}


def test_the_uncommented_template_equals_the_defaults(file: Path):
    text = re.sub(r"(?m)^#(?=\w)", "", template())
    for setting in SETTINGS.values():
        assert tomllib.loads(text)[setting.section][setting.key] == ("" if setting.default is None else setting.default)
    settings, defaults = read(file, text), load(None)
    for field in fields(Settings):
        if field.name not in ("path", "values", "root"):  # a root in the file is relative to the file
            assert getattr(settings, field.name) == getattr(defaults, field.name), field.name


@pytest.mark.parametrize("setting", EVERY)
def test_wrong_type_is_refused(setting: Setting, file: Path):
    message = refusal(file, f"# a comment\n[{setting.section}]\n\n{setting.key} = {WRONG[setting.kind]}\n")
    assert f"{file}, line 4: [{setting.section}] {setting.key}: expected " in message


@pytest.mark.parametrize("setting", EVERY)
def test_default_is_valid(setting: Setting, file: Path):
    assert setting.description
    if setting.default not in (None, "", [], {}):
        setting.parse(str(setting.default).lower() if isinstance(setting.default, bool) else str(setting.default))


def test_every_stage_setting_has_a_key_or_a_reason():
    keys = {setting.parameter or setting.key for setting in SETTINGS.values()}
    stage_settings = set(plan.settings())
    assert stage_settings <= keys | set(DECIDED_ELSEWHERE)
    assert set(DECIDED_ELSEWHERE) <= stage_settings
    assert not keys & set(DECIDED_ELSEWHERE)


def test_every_stack_parameter_of_a_user_has_a_key():
    """The deployment itself fills in the others."""
    keys = {setting.cloudformation for setting in SETTINGS.values()} - {""}
    filled_in = {"BucketPrefix", "ArtifactsBucket", "ArtifactsPrefix", "Wheel", "GlueModules"}
    filled_in |= {f"{image.title()}Image" for image in IMAGES}
    assert set(parameters()) == keys | filled_in


def test_stage_settings_are_read_as_set_takes_them(file: Path):
    settings = read(
        file,
        """
        [parameters]
        threshold = 0.7
        rounds = 40
        learning_rate = 1
        [input.columns]
        merchant = "TERMINAL_ID"
        amount = "TX_AMOUNT"
        """,
    )
    assert settings.parameters() == [
        ("column", "merchant=TERMINAL_ID"),
        ("column", "amount=TX_AMOUNT"),
        ("rounds", "40"),
        ("learning_rate", "1"),
        ("threshold", "0.7"),
    ]


def test_stack_gets_what_the_file_sets_by_its_own_names(file: Path):
    settings = read(
        file,
        """
        parameters.label_delay_days = 5
        input = { columns = { merchant = "TERMINAL_ID", amount = "TX_AMOUNT" } }
        site.name = "cards"
        site.time_zone = "Europe/Berlin"
        [aws]
        subnets = ["subnet-1", "subnet-2"]
        host_endpoint = true
        serving_instances = 2
        role = ""
        [operations]
        operations_email = "ops@bank.example"
        """,
    )
    assert settings.stack() == {
        "LabelDelayDays": "5",
        "Column": "merchant=TERMINAL_ID,amount=TX_AMOUNT",
        "Name": "cards",
        "Timezone": "Europe/Berlin",
        "SubnetIds": "subnet-1,subnet-2",
        "Hosting": "Endpoint",
        "ServingInstances": "2",
        "OperationsEmail": "ops@bank.example",
    }


def test_locations_are_relative_to_the_file(file: Path):
    settings = read(file, '[site]\ndata = "cards"\nroot = "s3://bucket/fraud"\n[aws]\nimages = "dist/images.json"\n')
    assert settings.data == str(file.parent / "cards")
    assert settings.root == "s3://bucket/fraud"
    assert settings.images == file.parent / "dist/images.json"


def test_without_a_file_the_defaults_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert load(None).root == "var/fraudline"
    Path("fraudline.toml").write_text('[site]\nroot = "elsewhere"\n')
    assert load(None).root == "elsewhere"


def test_command_line_overrides_the_file():
    columns = [("column", "merchant=SHOP"), ("column", "amount=EUR")]
    assert overridden([("threshold", "0.7"), ("rounds", "9"), *columns], [("threshold", "0.9"), columns[0]]) == [
        ("rounds", "9"),
        ("column", "amount=EUR"),
        ("threshold", "0.9"),
        ("column", "merchant=SHOP"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[parameters]\nthreshold = 80", "line 2: [parameters] threshold: expected a number from 0.0 to 1.0"),
        ("[parameters]\nthreshold = 80", "got 80; write 80 % as 0.8"),
        ('[parameters]\nthreshold = "80 %"', "write 80 % as 0.8"),
        ('[parameters]\nrounds = "40"', 'got "40"; write it without quotation marks: 40'),
        ("[parameters]\nlabel_delay_days = 31", "expected a number from 0 to 30 (days: "),
        ("[parameters]\nrounds = true", "line 2: [parameters] rounds: expected a whole number"),
        ("[parameters]\ntreshold = 0.7", "line 2: [parameters] has no key treshold; did you mean threshold?"),
        ("[aws]\nthreshold = 0.7", "line 2: [aws] has no key threshold; it belongs below [parameters]"),
        ("\nthreshold = 0.7", "line 2: no section [threshold]; it belongs below [parameters]"),
        ('[parameters]\ntopic = "a"', "[parameters] has no key topic; the stack decides it; remove it"),
        ("[parameters]\ncolumn = []", "[parameters] has no key column; it is columns below [input]"),
        ("\n\n[paramters]\nthreshold = 0.7", "line 3: no section [paramters]; did you mean parameters?"),
        ("site = 3", "line 1: [site] is a section, got a value"),
        ('[site]\nname = "Fraud!"', "line 2: [site] name: expected up to 20 letters"),
        ('[site]\ntime_zone = "Berlin"', "expected an IANA time zone, such as Europe/Berlin"),
        ('[schedule]\nengine = "Airflow"', "expected StepFunctions or SageMakerPipelines"),
        ('[aws]\nprocessing_instance = "m5.xlarge"', "expected a SageMaker instance type, such as ml.m5.xlarge"),
        ("[operations]\nlog_retention_days = 91", "expected one of 30, 60, 90"),
        ("[input.columns]\nmerchant = 3", "line 2: [input] columns: expected a table of strings"),
        ('[aws]\nsubnets = ["subnet-1",\n 3]', "line 2: [aws] subnets: expected a list of strings"),
    ],
)
def test_error_says_line_expectation_and_remedy(text: str, message: str, file: Path):
    assert message in refusal(file, text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("aws.spot = 1", 1),
        ('# [aws]\n"aws" . spot = 1', 2),
        ('[aws]\nsubnets = [\n  "subnet-1",  # ]\n\n]\n\nspot = 1', 7),
        ('[operations]\ntransaction_source = """\n\n"""\nanswer_seconds = 0', 5),
        ("[aws]\nrole = '''\nspot = 1\n\nspot = 2'''", 2),  # the key is only named in a text; role itself is wrong
        ('[site]\r\nname = "a"\r\n[aws]\r\nspot = 1', 4),
        ("[site]\naws = 1", 2),
        ('aws = { role = "", spot = 1 }', 1),
    ],
)
def test_error_names_the_line_where_the_statement_begins(text: str, line: int, file: Path):
    file.write_bytes(text.encode())
    with pytest.raises(InputError, match=rf", line {line}: "):
        load(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a = ", "not valid TOML: .*line 1"), (b"\xff", "expected UTF-8"), (None, "write one with: fraudline init ")],
)
def test_unreadable_file_is_refused(content: bytes | None, message: str, file: Path):
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(file)


def test_percentages_are_no_hint_where_none_is_meant(file: Path):
    text: dict[str, Any] = {"rounds": 0, "urgent_loss": -1.0}
    for key, value in text.items():
        assert "%" not in refusal(file, f"[parameters]\n{key} = {value}")
