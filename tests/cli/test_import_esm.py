"""`headrace import esm`: what is read, what is written where, and what is told instead."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from headrace.cli import main
from headrace.settings import load

MAPPINGS = Path(__file__).parents[1] / "settings" / "mappings"
FULL = json.loads((MAPPINGS / "full.json").read_text())
TOML = (MAPPINGS / "full.toml").read_text()
UUID = FULL["UUID"]
OTHER = {**FULL, "UUID": "0f7e9a1c-3b1d-4c58-9d8e-2a4b6c8d0e1f", "BatchSize": 7}
QUEUE = {"UUID": "3", "EventSourceArn": "arn:aws:sqs:eu-west-1:111111111111:queue", "FunctionArn": FULL["FunctionArn"]}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty one, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEADRACE_")]:
        monkeypatch.delenv(name)
    return tmp_path


def given(document, name="mapping.json"):
    Path(name).write_text(json.dumps(document))
    return name


def test_a_mapping_becomes_headrace_toml_and_a_table(capsys):
    """The file with its comments; every field on standard error, standard output stays empty."""
    assert main(["import", "esm", given(FULL)]) == 0
    out, err = capsys.readouterr()
    assert Path("headrace.toml").read_text() == TOML
    assert out == ""
    assert all(any(line.startswith(field) for line in err.splitlines()) for field in FULL)
    assert (
        "Written to headrace.toml.\nFill in handler (or set HEADRACE_HANDLER), then `headrace settings` checks" in err
    )
    assert load([], {"HEADRACE_HANDLER": "app.handler"}).batch.size == 500


def test_from_standard_input_to_standard_output(monkeypatch, capsys):
    """`aws lambda get-event-source-mapping ... | headrace import esm - --output -`; a byte order mark does no harm."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\xef\xbb\xbf" + json.dumps(FULL).encode())))
    assert main(["import", "esm", "-", "--output", "-"]) == 0
    assert capsys.readouterr().out == TOML
    assert not Path("headrace.toml").exists()


def test_with_the_handler_nothing_is_left_to_fill_in(capsys):
    """The file alone is enough for a worker."""
    assert main(["import", "esm", given(FULL), "--handler", "app.handler", "--application", "orders-v2"]) == 0
    assert "Fill in" not in capsys.readouterr().err
    assert (load([], {}).handler, load([], {}).application) == ("app.handler", "orders-v2")


def test_a_file_that_is_there_is_left_alone_unless_told_otherwise(capsys):
    """It may have been edited."""
    Path("headrace.toml").write_text("mine")
    assert main(["import", "esm", given(FULL)]) == 2
    assert (
        capsys.readouterr().err == "--output = 'headrace.toml': is there already. Name another file, or add --force\n"
    )
    assert Path("headrace.toml").read_text() == "mine"
    assert main(["import", "esm", given(FULL), "--force"]) == 0
    assert Path("headrace.toml").read_text() == TOML


@pytest.mark.parametrize(
    ("document", "options", "size"),
    [
        ({"EventSourceMappings": [FULL]}, [], 500),
        ([FULL], [], 500),
        ({"EventSourceMappings": [QUEUE, FULL]}, [], 500),
        ({"EventSourceMappings": [FULL, OTHER]}, ["--uuid", OTHER["UUID"]], 7),
        (FULL, ["--uuid", UUID], 500),
    ],
)
def test_one_mapping_of_a_list_is_taken(document, options, size):
    """The only one of a Kinesis stream, or the one that is named."""
    assert main(["import", "esm", given(document), *options]) == 0
    assert load([], {"HEADRACE_HANDLER": "app.handler"}).batch.size == size


@pytest.mark.parametrize(
    ("document", "options", "words"),
    [
        (
            {"EventSourceMappings": [FULL, OTHER]},
            [],
            f"holds 2 mappings of Kinesis streams: {UUID} (orders-to-table:live), {OTHER['UUID']} (orders-to-table:live). Choose",
        ),
        ({"EventSourceMappings": []}, [], "FILE = 'mapping.json': holds no mapping of a Kinesis stream"),
        ({"EventSourceMappings": [QUEUE, QUEUE]}, [], "holds no mapping of a Kinesis stream"),
        ({"EventSourceMappings": [QUEUE]}, [], "is an SQS queue, and headrace reads Kinesis streams only"),
        (FULL, ["--uuid", "other"], "--uuid = 'other': is not in mapping.json"),
        ("text", [], "FILE = 'mapping.json': is no event source mapping. Take what"),
        ([3], [], "is no event source mapping"),
        ({**FULL, "New": "\ud800"}, [], "is not JSON"),
        ({**FULL, "New": 1}, [], "New = 1: is not known here"),
        (
            FULL,
            ["--output", "no/such/folder.toml"],
            "--output = 'no/such/folder.toml': cannot be written (No such file",
        ),
        (FULL, ["--application", "a b"], "--application = 'a b': is not a good name for an application"),
        (
            {**FULL, "MaximumRecordAgeInSeconds": 30},
            [],
            "MaximumRecordAgeInSeconds = 30: becomes retry.maximum_record_age = '30s', which is refused: is out of range. retry.",
        ),
        ({**FULL, "BatchSize": 10_001}, [], "BatchSize = 10001: is out of range. It may be 1 to 10000"),
        (
            {**FULL, "TumblingWindowInSeconds": 60},
            [],
            "ParallelizationFactor = 4: is more than one, and tumbling windows have one state for a shard",
        ),
        (
            {**FULL, "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:eu-west-1:111111111111:q.fifo"}}},
            [],
            "DestinationConfig.OnFailure.Destination = 'arn:aws:sqs:eu-west-1:111111111111:q.fifo': becomes",
        ),
    ],
)
def test_what_cannot_be_taken_is_told_and_nothing_is_written(capsys, document, options, words):
    """Exit code 2; what the loader has to say is said of the field."""
    assert main(["import", "esm", given(document), *options]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert "Traceback" not in err
    assert out == ""
    assert not Path("headrace.toml").exists()


def test_every_field_that_the_loader_refuses_is_told(capsys):
    """One line each."""
    assert main(["import", "esm", given({**FULL, "BatchSize": 0, "MaximumRecordAgeInSeconds": 59})]) == 2
    told = [line.partition(" ")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ["BatchSize", "MaximumRecordAgeInSeconds"]


def test_a_stream_consumer_is_fan_out_or_a_refusal(capsys):
    """As soon as the settings take fan-out, so does this command."""
    consumer = f"{FULL['EventSourceArn']}/consumer/orders:1700000000"
    code = main(["import", "esm", given({**FULL, "EventSourceArn": consumer})])
    err = capsys.readouterr().err
    if code == 0:
        settings = load([], {"HEADRACE_HANDLER": "app.handler"})
        assert (settings.stream.consumer, settings.stream.name) == ("fan-out", FULL["EventSourceArn"])
    else:
        assert code == 2
        assert err.startswith("EventSourceArn = ")
        assert "becomes stream.consumer = 'fan-out', which is refused" in err
        assert "Put the stream's ARN in its place to poll the stream" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(("content", "words"), [(b"{", "is not JSON"), (b"\xff\xfe", "is not JSON"), (b"[" * 99_999, "is not JSON")])  # fmt: skip
def test_a_file_that_is_no_json_is_refused(capsys, content, words):
    """With what to take instead."""
    Path("mapping.yaml").write_bytes(content)
    assert main(["import", "esm", "mapping.yaml"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.endswith("Take what `aws lambda get-event-source-mapping --output json` prints\n")


def test_a_file_that_is_not_there_is_refused(capsys):
    """By its name."""
    assert main(["import", "esm", "missing.json"]) == 2
    assert (
        capsys.readouterr().err
        == "FILE = 'missing.json': cannot be read (No such file or directory). Name a readable file\n"
    )


def test_settings_from_outside_do_not_meddle(monkeypatch):
    """The file is checked as it is, whatever the shell that makes it has set."""
    monkeypatch.setenv("HEADRACE_BATCH_SIZE", "nonsense")
    monkeypatch.setenv("HEADRACE_WRONG", "1")
    assert main(["import", "esm", given(FULL)]) == 0
