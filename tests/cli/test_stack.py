"""`headrace stack`: what is wrong before it starts, and its end. The tutorial's test runs it whole."""

import asyncio
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli import main
from headrace.cli import stack as stack_module
from headrace.cli.demo.children import DemoError
from headrace.cli.demo.stack import Resources, Stack
from headrace.cli.stack import environment_file, stack

WANTED = Resources("readings", 1, "readings", ("pk",))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_port_that_is_taken_is_told(capsys):
    """Another stack, most likely."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["stack", "--port", str(port)]) == 2
    told = f"--port = {port}: cannot be listened on: Address already in use. Name another, or 0 for any free one\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("keys", [["pk", "pk"], ["a", "b", "c"]])
def test_a_key_that_no_table_can_have_is_told(capsys, keys):
    """Before anything is started."""
    assert main(["stack", *(word for key in keys for word in ("--key", key))]) == 2
    assert capsys.readouterr().err == (
        f"--key = '{' '.join(keys)}': is no table's key. Name one attribute, or two different ones\n"
    )


def test_a_folder_where_nothing_can_be_written_is_told(capsys, folder):
    """The file for other terminals goes there."""
    (folder / ".stack").write_text("a file")
    assert main(["stack", "--port", "0"]) == 2
    assert capsys.readouterr().err.startswith(".stack: cannot be made here: File exists. Change to a folder")


def test_a_shell_that_reads_the_file_reaches_the_stack_and_nothing_else():
    """A profile, a session's token or an endpoint of one service would win over it."""
    way = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "AWS_CONFIG_FILE": "/home/my own/empty"}
    script = environment_file(way, ["AWS_SSO_SESSION", "AWS_CONFIG_FILE", "HOME"])
    mine = {"AWS_PROFILE": "mine", "AWS_ENDPOINT_URL_KINESIS": "https://mine", "AWS_SSO_SESSION": "mine", "HOME": "/"}
    shown = subprocess.run(
        ["/bin/sh", "-c", f"{script}\n{shlex.quote(sys.executable)} -c 'import os; print(dict(os.environ))'"],
        env=mine,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = {name: value for name, value in eval(shown).items() if name.startswith("AWS_")}
    assert found == way


def test_a_server_that_ends_by_itself_ends_the_command(monkeypatch, folder):
    """With its last words, and without the file that would lead others to a port where nobody is."""
    files = []

    async def start(children, where, port):
        child = await children.start("local-stack", [sys.executable, "-c", "import time; print('no memory')"], {})
        return Stack(child, "http://127.0.0.1:1")

    async def make(wanted):
        await asyncio.sleep(0)

    monkeypatch.setattr(stack_module, "start_stack", start)
    monkeypatch.setattr(stack_module, "make_resources", make)
    monkeypatch.setattr(stack_module, "_say", lambda *lines: files.append(Path(".stack/environment").exists()))
    with pytest.raises(DemoError, match=r"(?s)local-stack ended with exit code 0.*no memory"):
        stack(WANTED, 0)
    assert files == [True]
    assert not Path(".stack/environment").exists()
