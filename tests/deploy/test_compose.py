"""The compose file, without an engine to start it: every name in it is one that exists, and its own environment works."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest import mock

import aiohttp
import pytest
import servers
import yaml
from render import alerts, boards

from deploy import awslocal, compose
from deploy.expressions import NAME
from deploy.tools import BIN, ROOT, accepted
from headrace.ops.catalogue import CATALOGUE
from headrace.settings import load
from headrace.settings.names import known_names
from headrace_producer.workload import WORKLOADS

SERVICES = compose.read()["services"]
EVERY_FILE = [compose.FILE, *compose.OVERRIDES]
NEEDED = {"HANDLER": "app:handle", "HANDLERS": "."}
"""What compose.handler.yml asks a person for."""

SCRIPT = ROOT / "docker" / "aws" / "ready.d" / "resources.sh"


@pytest.mark.parametrize("override", [None, *compose.OVERRIDES], ids=lambda path: path.name if path else "alone")
def test_docker_compose_accepts_it(override, monkeypatch):
    """Its own parser, which knows the whole specification."""
    for name, text in NEEDED.items():
        monkeypatch.setenv(name, text)
    files = ["-f", compose.FILE, *(["-f", override] if override else [])]
    whole = yaml.safe_load(accepted("docker-compose", *files, "--profile", "traces", "config"))
    assert set(whole["services"]) == set(SERVICES)


def test_every_file_that_is_mounted_is_there():
    """A missing one becomes an empty folder without a word."""
    sources = [mount.split(":")[0] for one in SERVICES.values() for mount in one.get("volumes", [])]
    assert sources
    for source in sources:
        assert source.startswith("./")
        assert (ROOT / source).exists(), source


def test_every_image_is_pinned_and_localstack_at_the_last_tag_without_an_account():
    """`latest` of LocalStack refuses to start without a token since March 2026."""
    images = {name: compose.filled(one["image"]) for name, one in SERVICES.items()}
    for name, image in images.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+|headrace:local", image), (name, image)
    from_test = re.search(r'IMAGE = "(.+)"', (ROOT / "tests" / "process" / "test_localstack.py").read_text())
    assert images["aws"] == from_test[1]


def test_ministack_is_the_version_that_the_tests_run():
    """What is tried here is what the override file starts."""
    pinned = tomllib.loads((ROOT / "tools" / "emulators" / "pyproject.toml").read_text())["project"]["dependencies"]
    image = compose.read(ROOT / "docker" / "compose.ministack.yml")["services"]["aws"]["image"]
    assert f"ministack=={compose.filled(image).partition(':')[2]}" in pinned


def test_the_workers_settings_are_good():
    """Loaded as the worker loads them: a wrong name, value or combination fails here."""
    settings = load([], compose.environment("worker"))
    assert settings.stream.name == settings.sink.table == "readings"
    for path in EVERY_FILE:
        for name in re.findall(r"\b(HEADRACE_[A-Z_]+):", path.read_text()):
            assert name in {known.env for known in known_names().values()}, name


def test_a_handler_of_ones_own_replaces_the_mapping():
    """What the override file says is good together with the rest."""
    over = compose.read(ROOT / "docker" / "compose.handler.yml")["services"]["worker"]["environment"]
    settings = load([], {**compose.environment("worker"), **over, "HEADRACE_HANDLER": "app:handle"})
    assert (settings.handler, settings.item.key) == ("app:handle", None)


def test_the_port_is_the_same_for_worker_image_and_prometheus():
    """A scrape of another port is a board without figures."""
    port = known_names()["ops", "port"].field.default
    assert SERVICES["worker"]["ports"] == [f"127.0.0.1:8080-8089:{port}"]
    (job,) = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    assert job["dns_sd_configs"][0]["port"] == port
    assert job["dns_sd_configs"][0]["names"] == ["worker"]
    published = [text for one in SERVICES.values() for text in one.get("ports", [])]
    assert all(text.startswith("127.0.0.1:") for text in published), "nothing is offered to the network"


def test_traces_are_off_until_asked_for_and_go_to_the_jaeger_of_the_profile():
    """By its name and port within the network of the file."""
    environment = compose.environment("worker")
    assert load([], environment).traces.enabled is False
    host, _, port = environment["OTEL_EXPORTER_OTLP_ENDPOINT"].removeprefix("http://").partition(":")
    assert SERVICES[host]["profiles"] == ["traces"]
    assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]


def test_a_worker_has_more_time_to_stop_than_it_takes():
    """Docker kills after the grace period."""
    settings = load([], compose.environment("worker"))
    grace_s = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= settings.shutdown.timeout.total_seconds() + 5


def test_everything_waits_for_what_it_needs():
    """Nothing is started on hope: the look-alike is healthy when its hook has made the resources."""
    waits = {
        name: {needed: how["condition"] for needed, how in one.get("depends_on", {}).items()}
        for name, one in SERVICES.items()
    }
    assert waits == {
        "aws": {},
        "worker": {"aws": "service_healthy"},
        "producer": {"aws": "service_healthy", "worker": "service_healthy"},
        "prometheus": {"worker": "service_healthy"},
        "grafana": {"prometheus": "service_healthy"},
        "jaeger": {},
    }
    marker = re.search(r"touch (\S+)", SCRIPT.read_text())[1]
    assert SERVICES["aws"]["healthcheck"]["test"] == ["CMD-SHELL", f"test -e {marker}"]


def test_worker_and_producer_have_a_read_only_root_and_no_rights():
    """As the image is meant to run."""
    for name in ("worker", "producer"):
        one = SERVICES[name]
        assert one["read_only"]
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]


def test_every_variable_is_documented():
    """A person finds them in docs/compose.md; and none of them is taken for a setting by `headrace run`."""
    page = (ROOT / "docs" / "compose.md").read_text()
    for path in EVERY_FILE:
        for name in compose.variables(path):
            assert f"`{name}`" in page, name
            assert not name.startswith("HEADRACE_"), name
    for path in compose.OVERRIDES:
        assert f"docker/{path.name}" in page


def test_prometheus_and_grafana_are_given_what_they_understand():
    """Rules, scrape configuration, data source and boards hang together."""
    for text in SERVICES["prometheus"]["volumes"]:
        assert text.endswith(":ro")
    source = yaml.safe_load((ROOT / "docker/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    boards = yaml.safe_load((ROOT / "docker/grafana/provisioning/dashboards/headrace.yml").read_text())
    mounted = {text.split(":")[1]: text.split(":")[0] for text in SERVICES["grafana"]["volumes"]}
    folder = ROOT / mounted[boards["providers"][0]["options"]["path"]]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (folder / Path(home).name).exists()


def test_promtool_accepts_the_scrape_configuration(tmp_path):
    """With the rules beside it, as they are mounted."""
    for text in SERVICES["prometheus"]["volumes"]:
        source, target, _ = text.split(":")
        (tmp_path / Path(target).name).write_bytes((ROOT / source).read_bytes())
    accepted("promtool", "check", "config", tmp_path / "prometheus.yml")


# --- the file's own environment, on this machine ------------------------------------------------------------------------


def local(service: str, server: servers.Server) -> dict[str, str]:
    """A service's environment with the look-alike at another address."""
    given = {k: v for k, v in os.environ.items() if not re.match(r"(AWS|HEADRACE|OTEL)_", k)}
    inside = {k: v.replace("http://aws:4566", server.endpoint) for k, v in compose.environment(service).items() if v}
    return {**given, **inside, "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}


@pytest.fixture
def prepared(tmp_path, ministack):
    """A look-alike in which the hook has run, twice: a restart must not fail."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "awslocal"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("awslocal.py")} "$@"\n')
    command.chmod(0o755)
    marker = tmp_path / "marker"
    script = tmp_path / "resources.sh"
    script.write_text(SCRIPT.read_text().replace("/tmp/resources-are-there", str(marker)))
    given = local("producer", ministack)
    for _ in range(2):
        marker.unlink(missing_ok=True)
        done = subprocess.run(
            ["sh", script],
            env={**given, "PATH": f"{tmp_path / 'bin'}:{given['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert marker.exists()
    return ministack


def test_the_hook_may_be_run_by_localstack():
    """It runs what is executable and has a first line that says by what."""
    assert os.access(SCRIPT, os.X_OK)
    assert SCRIPT.read_text().startswith("#!/bin/sh\n")


AUDITED = """
import os, sys
told = open(sys.argv[1], "w", buffering=1)
def hook(event, arguments):
    if event in {"os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink"}:
        told.write(f"{event} {arguments}\\n")
    elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if not (isinstance(arguments[0], int) or str(arguments[0]).startswith(("/dev/", "/tmp/"))):
            told.write(f"open {arguments}\\n")
sys.addaudithook(hook)
sys.dont_write_bytecode = True
from headrace.cli import main
sys.exit(main(["run"]))
"""
"""A worker that notes every file that it opens for writing, but for those in /tmp, where its container may write."""


@pytest.mark.process
@pytest.mark.servers
async def test_hook_producer_and_worker_work_together_in_the_files_own_environment(prepared, tmp_path):
    """What `docker compose up` does, but for the containers: records come in, items go out, poison lands in the queue."""
    port = servers.free_port()
    given = {**local("worker", prepared), "HEADRACE_OPS_PORT": str(port)}
    service = SERVICES["producer"]
    command = [compose.filled(word) for word in service["command"]]
    assert command[command.index("--workload") + 1] in WORKLOADS
    done = await run(
        *[sys.executable, "-m", "headrace_producer", *command, "--count", "300", "--json"],
        environment=local("producer", prepared),
        folder=tmp_path,
        instead={"--rate": "5000", "--poison-rate": "0.02"},
    )
    told = json.loads(done)
    assert told["records"] == 300
    assert told["poison"] > 0
    written = tmp_path / "written"
    worker = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", AUDITED, str(written)], env=given, cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        await until_written(given, 300 - told["poison"])
        assert '"ok":true' in await run(sys.executable, "-m", "headrace", "health", environment=given, folder=tmp_path)
        assert (await queued(given)) == told["poison"]
        await metrics_are_as_documented(port, buried=told["poison"])
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), 25) == 0
        assert written.read_text() == "", "the root file system of its container is read-only"
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


async def metrics_are_as_documented(port, buried):
    """The live endpoint pleases promtool, and shows what the table, the boards and the alerts name."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        page = await answer.text()
    if (BIN / "promtool").exists():
        assert accepted("promtool", "check", "metrics", given=page) == ""
    shown = set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))
    documented = {metric.name for metric in CATALOGUE}
    assert shown - documented == {name for name in shown if not name.startswith("headrace_")}
    assert documented - shown == {"headrace_handler_timeout_seconds"}, "there is one for batch handlers alone"
    foreign = {name for rule in alerts.rules() for name in NAME.findall(rule["expr"])}
    foreign |= {
        name
        for board in boards.boards().values()
        for panel in board["panels"]
        for target in panel["targets"]
        for name in NAME.findall(target["expr"])
    }
    assert {name for name in foreign if not name.startswith("headrace_")} <= shown
    assert 'headrace_stream_shards{state="owned",stream="readings"} 4.0' in page
    assert f'headrace_records_total{{outcome="buried",stream="readings"}} {buried}.0' in page


async def run(*command, environment, folder, instead=None):
    words = list(command)
    for option, value in (instead or {}).items():
        words[words.index(option) + 1] = value
    process = await asyncio.create_subprocess_exec(
        *words, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    return out.decode()


async def until_written(environment, count):
    async with asyncio.timeout(60):
        while (seen := await asked(environment, "dynamodb", "scan", "--table-name", "readings"))["Count"] < count:  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.2)
    assert seen["Count"] == count
    assert all("#" in item["pk"]["S"] and item["sk"]["S"].isdigit() for item in seen["Items"])


async def queued(environment):
    url = environment["HEADRACE_DEAD_LETTERS_DESTINATION"].removeprefix("sqs:")
    command = ["sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "ApproximateNumberOfMessages"]
    return int((await asked(environment, *command))["Attributes"]["ApproximateNumberOfMessages"])


async def asked(environment, *command):
    names = {name: text for name, text in environment.items() if name.startswith("AWS_")}
    with mock.patch.dict(os.environ, names):
        return await asyncio.to_thread(awslocal.ask, *command)
