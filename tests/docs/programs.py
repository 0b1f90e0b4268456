"""Is a command one that its program would take? Asked of the program's own parser, or of what describes it.

Nothing is run here. `CHECKS` says for each program who is asked; a program that is not in it is nobody's, and fails the
test. What cannot be run on a machine without an engine, a cluster or an account stands in `NOT_RUN`, with the reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from functools import cache
from io import StringIO
from typing import Any
from unittest import mock

import botocore.session
import typer.main
import yaml
from botocore import xform_name
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from deploy import compose, tools
from opentelemetry.sdk import environment_variables

from docs.pages import ROOT, blocks
from docs.shell import SUBSTITUTED, Command, commands
from headrace.cli import seek
from headrace.cli.app import app as headrace_app
from headrace.cli.dead_letters import Wanted
from headrace.cli.options import SettingsCommand, take_word
from headrace.settings import load
from headrace.settings.units import duration
from headrace_producer.cli import app as producer_app

NOT_RUN = {
    "aws": "needs an account: service, operation and options are looked up in botocore's model of the API",
    "curl": "needs a worker: the path has to be one that a worker serves, which the tutorial and tests/page call",
    "docker": "needs an engine: files, services, build arguments and, of compose, options are looked up",
    "git": "is not ours, and changes nothing here",
    "helm": "needs a cluster: the chart is rendered with the page's own values",
    "kubectl": "needs a cluster: verbs are listed, names and labels have to be in what the chart renders",
    "openssl": "is not ours: it makes a token",
    "pip": "needs headrace on an index: the extra that it names has to be one",
    "uv": "is not ours: the Makefile calls it",
}
"""Programs that no test runs, why, and what is looked at instead."""

BUILT_IN = {".", "cd", "echo", "grep", "kill", "mkdir", "sleep"}
"""The shell's own, and as good as that. Where they matter, in the tutorial, they are run."""

LEAST = {"HEADRACE_APPLICATION": "a-name", "HEADRACE_STREAM_NAME": "a-stream", "HEADRACE_SINK_TABLE": "a-table"}
"""What the settings of a command are completed with."""


class Wrong(Exception):
    """A command that would not work. The message says why."""


def check(command: Command, *, is_whole: bool = True) -> None:
    """Raises Wrong. A command that is not whole, as text mentions it, may lack what is required."""
    check_variables(command.assigned)
    if not command.words:
        return
    program = command.words[0].rpartition("/")[2]
    if "/" in command.words[0] and not command.words[0].startswith(".venv/bin/"):
        raise Wrong(f"{command.words[0]} is no program of this repository")
    if program in BUILT_IN:
        return
    if program not in CHECKS:
        raise Wrong(f"nobody knows what {program} takes: add it to CHECKS in tests/docs/programs.py")
    CHECKS[program](command.words[1:], command.assigned, is_whole)


# --- variables ----------------------------------------------------------------------------------------------------------


def check_variables(assigned: Mapping[str, str]) -> None:
    """Settings with values that are taken, variables of botocore and OpenTelemetry, and those of docker-compose.yml."""
    ours = {name: value for name, value in assigned.items() if name.startswith("HEADRACE_")}
    try:
        load([], LEAST | ours)
    except Exception as error:
        raise Wrong(str(error)) from error
    for name in assigned.keys() - ours.keys():
        if name not in {*botocores(), *composes(), *opentelemetrys()} and not name.islower():
            raise Wrong(f"{name} is no variable that anybody reads")


@cache
def opentelemetrys() -> set[str]:
    return {
        value for value in vars(environment_variables).values() if isinstance(value, str) and value.startswith("OTEL_")
    }


@cache
def botocores() -> set[str]:
    named = [name if isinstance(name, list) else [name] for _, name, *_ in BOTOCORE_DEFAUT_SESSION_VARIABLES.values()]
    services = botocore.session.get_session().get_available_services()
    endpoints = {f"AWS_ENDPOINT_URL_{name.replace('-', '_').upper()}" for name in services}
    keys = {"AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    return {name for names in named for name in names if name} | endpoints | keys


@cache
def composes() -> set[str]:
    return {name for path in [compose.FILE, *compose.OVERRIDES] for name in compose.variables(path)}


# --- ours ---------------------------------------------------------------------------------------------------------------


def headrace(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    command: Any = typer.main.get_command(headrace_app)
    name, parent, rest = "headrace", None, list(words)
    while hasattr(command, "commands"):
        if not rest and not is_whole:
            return
        if not rest or (not rest[0].startswith("-") and rest[0] not in command.commands):
            raise Wrong(f"{name} has no command {' '.join(rest[:1])!r}: {', '.join(command.commands)}")
        if rest[0].startswith("-"):
            parsed(command, name, rest, parent, is_whole)
            return
        command, name, rest = command.commands[rest[0]], f"{name} {rest[0]}", rest[1:]
    context = parsed(command, name, rest, parent, is_whole)
    if context is not None and isinstance(command, SettingsCommand):
        positional(command, context.args)
        settings(context.args, assigned)
    if context is not None:
        values(context.params)


def positional(command: Any, arguments: list[str]) -> None:
    """The word that a command takes itself, which stands before its options in its usage."""
    takes_one = not command.options_metavar.startswith("[OPTIONS")
    if takes_one:
        take_word(arguments)


def settings(arguments: Sequence[str], assigned: Mapping[str, str]) -> None:
    try:
        load(arguments, LEAST | {name: value for name, value in assigned.items() if name.startswith("HEADRACE_")})
    except Exception as error:
        raise Wrong(str(error)) from error


def values(given: Mapping[str, Any]) -> None:
    """Of options whose text the command reads only when it runs."""
    try:
        for name, value in given.items():
            if value is None or SUBSTITUTED in str(value):
                continue
            if name in {"lasting", "duration", "wait", "every"} and isinstance(value, str):
                duration(value)
        if {"since", "until", "reason"} <= given.keys():
            Wanted.of(None, None, given["since"], given["until"], given["reason"], None)
        if isinstance(given.get("to"), str) and "every" in given:
            seek.place(given["to"], seek.SystemClock().wall())
    except Exception as error:
        raise Wrong(str(error)) from error


def headrace_producer(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    context = parsed(typer.main.get_command(producer_app), "headrace-producer", list(words), None, is_whole)
    if context is not None:
        values(context.params)


def parsed(command: Any, name: str, words: list[str], parent: Any, is_whole: bool) -> Any:
    """The context that the command would run in; None where it ends by itself (--version) or lacks what is required."""
    try:
        return command.make_context(name, words, parent=parent)
    except typer.Exit:
        return None
    except Exception as error:
        if type(error).__name__ == "MissingParameter" and not is_whole:
            return None
        told = error.format_message() if hasattr(error, "format_message") else str(error)
        raise Wrong(f"{name}: {told}") from error


def make(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    """`make -n` knows the targets; what a target would call with the variables given is looked at likewise."""
    done = subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(done.stderr)
    makefile = (ROOT / "Makefile").read_text()
    for name in (word.partition("=")[0] for word in words if "=" in word):
        if f"$({name})" not in makefile:
            raise Wrong(f"no target reads {name}")
    for line in done.stdout.replace("\\\n", " ").splitlines():
        if " -m " in line:
            for command in commands(line):
                python(command.words[1:], {}, True)


PARSERS = {
    "chaos": ("chaos.__main__", "_parser"),
    "simulation": ("simulation.__main__", "_parser"),
    "benchmarks": ("benchmarks.__main__", "_arguments"),
    "transcoder.fuzz": ("transcoder.fuzz", "_parser"),
}
"""Modules that are called, and where they make their parser."""

PAGES_MADE = {"headrace.settings.table", "headrace.cli.reference", "headrace.ops.catalogue_page"}
"""Modules that print a page; tests compare it with the one in docs/."""

TOOLS = {"render"}
"""Modules of tools/ that the Makefile calls; tests/deploy runs what is in them."""


def python(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    if words[:1] == ["-c"]:
        compile(words[1], "<docs>", "exec")
        return
    if words[:1] != ["-m"] or len(words) < 2:
        raise Wrong(f"python {shlex.join(words)} calls no module")
    module, arguments = words[1], words[2:]
    if module in PARSERS:
        home, maker = PARSERS[module]
        with mock.patch.object(sys, "path", [*sys.path, str(ROOT)]):
            parser = getattr(importlib.import_module(home), maker)()
        argparse_takes(parser, arguments)
    elif module not in PAGES_MADE | TOOLS or arguments:
        raise Wrong(f"nobody knows what module {module} takes")
    elif importlib.util.find_spec(module) is None:
        raise Wrong(f"there is no module {module}")


def argparse_takes(parser: Any, arguments: Sequence[str]) -> None:
    told = StringIO()
    try:
        with redirect_stderr(told):
            parser.parse_args(arguments)
    except SystemExit as end:
        if end.code:
            raise Wrong(told.getvalue()) from None


def pytest_(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    for word in words:
        if not word.startswith("-") and not (ROOT / word).exists():
            raise Wrong(f"there is no {word}")


def pre_commit(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    if list(words) != ["install"] or not (ROOT / ".pre-commit-config.yaml").exists():
        raise Wrong(f"pre-commit {shlex.join(words)}")


# --- not ours: what describes them is asked -----------------------------------------------------------------------------

AWS_OPTIONS = {"--query", "--output", "--region", "--profile", "--endpoint-url"}


def aws(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    service, operation, *rest = words
    try:
        model = botocore.session.get_session().get_service_model(service)
    except Exception as error:
        raise Wrong(f"aws has no service {service}") from error
    known = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in known:
        raise Wrong(f"aws {service} has no operation {operation}")
    shape = model.operation_model(known[operation]).input_shape
    members = {f"--{xform_name(name, '-')}": shape.members[name] for name in shape.members}
    given = [word for word in rest if word.startswith("--")]
    for option in given:
        plain = option.replace("--no-", "--", 1)
        is_flag = plain in members and members[plain].type_name == "boolean"
        if option not in members and option not in AWS_OPTIONS and not is_flag:
            raise Wrong(f"aws {service} {operation} has no option {option}")
    lacking = {f"--{xform_name(name, '-')}" for name in shape.required_members} - set(given)
    if lacking and is_whole:
        raise Wrong(f"aws {service} {operation} needs {', '.join(sorted(lacking))}")


def docker(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    match words:
        case ["compose", *rest]:
            docker_compose(list(rest))
        case ["build", *rest]:
            file = ROOT / rest[rest.index("-f") + 1]
            arguments = re.findall(r"^ARG (\w+)", file.read_text(), re.MULTILINE)
            for name in (rest[at + 1].partition("=")[0] for at, word in enumerate(rest) if word == "--build-arg"):
                if name not in arguments:
                    raise Wrong(f"{file.name} takes no argument {name}")
        case ["push", _] | ["run", *_]:
            pass
        case _:
            raise Wrong(f"nobody looked at docker {shlex.join(words)}")


def docker_compose(words: list[str]) -> None:
    known = {"worker", "producer", *compose.read()["services"]}
    while words and words[0].startswith("-"):
        option, value, *words = words
        if option == "-f" and not (ROOT / value).exists():
            raise Wrong(f"there is no file {value}")
        if option not in {"-f", "--profile"}:
            raise Wrong(f"nobody looked at docker compose {option}")
    verb, *rest = words
    takes_options("docker-compose", [verb], rest)
    for word in rest:
        if not word.startswith("-") and word.partition("=")[0] not in known:  # a service, or what --scale gives it
            raise Wrong(f"there is no service {word}")


@cache
def options_of(tool: str, *verb: str) -> set[str]:
    """What a program's help lists; nothing where the program is not here."""
    program = tools.BIN / tool
    if not program.exists():
        return set()
    told = subprocess.run([program, *verb, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", told))


def takes_options(tool: str, verb: Sequence[str], words: Sequence[str]) -> None:
    known = options_of(tool, *verb)
    for word in words:
        if known and word.startswith("-") and word.partition("=")[0] not in known:
            raise Wrong(f"{tool} {' '.join(verb)} has no option {word}")


def helm(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    match words:
        case ["lint", *_]:
            return
        case ["rollback", _, *rest]:
            takes_options("helm", ["rollback"], rest)
        case ["test", release, *rest]:
            takes_options("helm", ["test"], rest)
            rendered(release)
        case ["install" | "upgrade" as verb, release, chart, *rest]:
            takes_options("helm", [verb], rest)
            if not (ROOT / chart / "Chart.yaml").exists():
                raise Wrong(f"{chart} is no chart")
            rendered(release)
        case _:
            raise Wrong(f"nobody looked at helm {shlex.join(words)}")


@cache
def rendered(release: str) -> str:
    """What the chart makes of the values on the page about it; empty where helm is not here."""
    if not (tools.BIN / "helm").exists():
        return ""
    given = next(block.text for block in blocks(ROOT / "docs" / "kubernetes.md") if block.language == "yaml")
    done = tools.run("helm", "template", release, "k8s/headrace", "--namespace", "streams", "-f", "-", given=given)
    if done.returncode:
        raise Wrong(done.stderr)
    return done.stdout


KUBECTL = {"logs", "port-forward", "rollout", "get", "scale", "exec"}
STANDS_FOR = re.compile(r"[A-Z][A-Z0-9_-]*")
"""A word in capitals stands for what is the reader's."""


def kubectl(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    rest = list(words)
    while rest and rest[0] == "-n":
        rest = rest[2:]
    if "--" in rest:
        within = rest[rest.index("--") + 1 :]
        check(Command(within), is_whole=is_whole)
        rest = rest[: rest.index("--")]
    if not rest or rest[0] not in KUBECTL:
        raise Wrong(f"nobody looked at kubectl {shlex.join(words)}")
    text = rendered("readings")
    kinds = {one["kind"].lower() for one in yaml.safe_load_all(text) if one} or {"deployment"}
    for word in rest[1:]:
        kind, slash, name = word.partition("/")
        if slash and kind in {"deployment", "configmap", "serviceaccount"}:
            if kind not in kinds:
                raise Wrong(f"the chart makes no {kind}")
            if text and not STANDS_FOR.fullmatch(name) and f"name: {name}\n" not in text:
                raise Wrong(f"the chart names no {kind} {name}")
        label, equals, _ = word.partition("=")
        if equals and not word.startswith("-") and text and f"{label}: " not in text:
            raise Wrong(f"the chart sets no label {label}")


@cache
def paths_served() -> set[str]:
    sources = [*(ROOT / "consumer" / "headrace" / "ops").glob("*.py")]
    named = {
        path for file in sources for path in re.findall(r'"(?:\{API\}|/api/v1)?(/[a-z{][\w/{}-]*)"', file.read_text())
    }
    return {re.sub(r"/\{+\w+\}+", "", path) for path in named}


def curl(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    (url,) = [word for word in words if word.startswith("http://")]
    path = re.sub(r"^http://[^/]+", "", url).removeprefix("/api/v1")
    if path not in paths_served() and path.rpartition("/")[0] not in paths_served():
        raise Wrong(f"no worker serves {url}")


def pip(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    """`pip install 'headrace[EXTRA]'`: there is such an extra."""
    extra = re.fullmatch(r"headrace\[(\w+)\]", words[-1])
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    if words[:-1] != ["install"] or extra is None or extra[1] not in extras:
        raise Wrong(f"headrace has the extras {', '.join(extras)}")


def unasked(words: Sequence[str], assigned: Mapping[str, str], is_whole: bool) -> None:
    """Not ours: see NOT_RUN."""


Check = Callable[[Sequence[str], Mapping[str, str], bool], None]

CHECKS: dict[str, Check] = {
    "headrace": headrace,
    "headrace-producer": headrace_producer,
    "make": make,
    "python": python,
    "pytest": pytest_,
    "pre-commit": pre_commit,
    "aws": aws,
    "curl": curl,
    "docker": docker,
    "git": unasked,
    "helm": helm,
    "kubectl": kubectl,
    "openssl": unasked,
    "pip": pip,
    "uv": unasked,
}
