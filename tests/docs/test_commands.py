"""Every command that README and docs/ tell a person to type is one that its program takes.

The tutorial's are run as well (`test_tutorial.py`).
"""

from __future__ import annotations

import re
import shlex

import pytest
from deploy.tools import BIN

from docs.pages import OTHERS, PAGES, ROOT, SHELL, SHOWN, blocks, name_of, spans
from docs.programs import CHECKS, NOT_RUN, Wrong, check
from docs.shell import Command, commands

EVERY = [*PAGES, *OTHERS]
GENERATED = {
    "commands.md": "usage lines, printed by the commands themselves and compared by tests/cli/test_reference.py"
}


def troubles(page):
    """What is wrong with the commands of a page's blocks."""
    for block in blocks(page):
        if block.language not in SHELL | SHOWN:
            yield f"{block.where}: a block in {block.language!r}: nobody knows whether that is typed"
        if block.language not in SHELL or page.name in GENERATED:
            continue
        exported = {}
        for command in commands(block.text):
            if not command.words:
                exported |= command.assigned
            try:
                check(Command(command.words, exported | command.assigned))
            except Wrong as wrong:
                yield f"{block.where}: {command}\n    {wrong}"


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_every_command_of_a_block_is_one_that_its_program_takes(page):
    """Typed as it stands, but for what stands for the reader's own."""
    assert list(troubles(page)) == []


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_a_command_that_text_mentions_exists(page):
    """Within a sentence or a table it may be short of what it needs; what it has must be right."""
    wrong = []
    for span in spans(page):
        for command in mentioned(span.text):
            try:
                check(command, is_whole=False)
            except Wrong as error:
                wrong.append(f"{span.where}: {span.text}\n    {error}")
    assert wrong == []


def mentioned(text):
    """The commands that a span names: `headrace dead-letters list | show` are two."""
    words = text.split()
    if len(words) < 2 or (
        words[0].rpartition("/")[2] not in CHECKS.keys() - {"python"} and words[:2] != ["python", "-m"]
    ):
        return
    first, *others = text.partition(" > ")[0].split(" | ")
    found = shlex.split(first)
    yield Command(found)
    for other in others:
        yield Command([*found[:-1], *shlex.split(other)])


# --- the check itself ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("frobnicate --all", "nobody knows what frobnicate takes"),
        ("tools/emulators/instal", "is no program of this repository"),
        ("headrace seak --all", "headrace has no command 'seak'"),
        ("headrace seek --all", "headrace seek: Missing option '--to'"),
        ("headrace seek --all --to yesterday", "is no place in a stream"),
        ("headrace seek --all --to trim --batch.sise 5", "Did you mean --batch.size"),
        ("headrace run --batch.size many", "is not a whole number"),
        ("headrace dead-letters list --reason Bored", "is not known"),
        ("headrace iam --acount 1", "--acount = '1': is not an option"),
        ("headrace-producer --stream s --rat 5", "No such option"),
        ("headrace-producer --rate 5", "Missing option '--stream'"),
        ("export HEADRACE_BATCH_SISE=5", "is not a setting"),
        ("export HEADRACE_SINK_MODE=upsert", "upsert"),
        ("AWS_ENDPOINT=x headrace run", "AWS_ENDPOINT is no variable"),
        ("make tset", "tset"),
        ("make chaos MINUTS=3", "no target reads MINUTS"),
        ('make chaos OPTIONS="--onlly kill"', "unrecognized arguments: --onlly"),
        (".venv/bin/python -m benchmarks dawdling", "dawdling"),
        ("python -m headrace.settings.tables > docs/settings.md", "nobody knows what module"),
        (".venv/bin/pytest tests/caos", "there is no tests/caos"),
        ("aws kinesys list-shards", "no service kinesys"),
        ("aws kinesis list-shard", "no operation list-shard"),
        ("aws kinesis list-shards --stream s", "no option --stream"),
        ("aws kinesis split-shard --stream-name s", "needs --new-starting-hash-key, --shard-to-split"),
        ("docker compose -f docker/compose.other.yml up", "there is no file"),
        ("docker compose up wroker", "there is no service wroker"),
        ("kubectl exec deployment/readings-headrace -- headrace docter", "has no command 'docter'"),
        ("docker build -f docker/Dockerfile --build-arg REVISON=1 .", "takes no argument REVISON"),
        ("docker system prune", "nobody looked at"),
        ("helm install readings k8s/haedrace -f values.yaml", "is no chart"),
        ("kubectl drain node", "nobody looked at"),
        ("curl http://127.0.0.1:8080/api/v1/flet", "no worker serves"),
        ("git status && frobnicate", "nobody knows"),
        ("x=$(frobnicate) && git status", "nobody knows"),
    ],
)
def test_a_command_that_would_not_work_is_found(typed, told):
    """Otherwise the tests above prove nothing."""
    with pytest.raises(Wrong, match=re.escape(told)):
        check_all(typed)


@pytest.mark.parametrize(
    ("typed", "told", "tool"),
    [
        ("docker compose up --biuld", "has no option --biuld", "docker-compose"),
        ("helm rollback readings --namspace x", "has no option --namspace", "helm"),
        ("kubectl rollout status deployment/readings-haedrace", "the chart names no deployment", "helm"),
        ("kubectl logs -l app.kubernetes.io/instances=x", "the chart sets no label", "helm"),
    ],
)
def test_a_command_that_only_a_tool_knows_to_be_wrong_is_found(typed, told, tool):
    """Where `make deploy-tools` got it; elsewhere these options and names are not looked at."""
    if not (BIN / tool).exists():
        pytest.skip(f"{tool} is not here: run `make deploy-tools`")
    with pytest.raises(Wrong, match=re.escape(told)):
        check_all(typed)


def check_all(typed):
    for command in commands(typed):
        check(command)


def test_a_program_of_others_has_a_reason_for_not_being_run():
    """The list is short, and each entry says what is looked at instead."""
    ours = {"headrace", "headrace-producer", "make", "python", "pytest", "pre-commit"}
    assert CHECKS.keys() - ours == NOT_RUN.keys()


def test_comments_quotes_and_continued_lines_are_read_as_a_shell_reads_them():
    """A comment is no command; what stands behind an operator or within `$(...)` is one."""
    text = "A=1 one 'a b' # two\nthree \\\n  four | five > six && seven \"$(eight $(nine))\"\n"
    assert [str(command) for command in commands(text)] == [
        "A=1 one 'a b'",
        "nine",
        "eight SUBSTITUTED",
        "three four",
        "five",
        "seven SUBSTITUTED",
    ]


def test_every_make_target_that_a_person_may_want_is_told_somewhere():
    """`make help` lists them; a page says what they are for."""
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    told = " ".join(page.read_text() for page in EVERY)
    assert [target for target in targets if not re.search(rf"make (?:[a-z]+ )*{target}\b", told)] == []
