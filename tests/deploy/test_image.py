"""The image, without an engine to build it: what the Dockerfile names is there, and what it runs works."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import headrace
from deploy.tools import ROOT, accepted
from headrace.settings.names import known_names

DOCKERFILE = ROOT / "docker" / "Dockerfile"
TEXT = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
STEPS = [line.split(maxsplit=1) for line in TEXT.splitlines() if re.match(r"[A-Z]+ ", line)]
UV = ROOT / ".tools" / "uv" / "bin" / "uv"


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def copied_from_here() -> list[str]:
    """Every file and folder that comes from the checkout."""
    bound = re.findall(r"type=bind,source=([\w.]+)", TEXT)
    copies = [shlex.split(rest)[:-1] for rest in arguments("COPY") if "--from" not in rest]
    return sorted({*bound, *(source for sources in copies for source in sources)})


def test_the_dockerfile_pleases_hadolint():
    """Its rules are what people trip over."""
    assert accepted("hadolint", DOCKERFILE) == ""


def test_whatever_is_copied_exists_and_is_let_through_by_dockerignore():
    """An image that cannot be built is found here, not on a laptop."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in copied_from_here():
        assert (ROOT / source).exists(), source
        assert source in allowed, source
    assert sorted(allowed) == copied_from_here(), "what is let through and never copied only makes builds slow"


def test_the_worker_is_process_1_and_no_root():
    """SIGTERM reaches it; nothing in it may change the image."""
    assert arguments("ENTRYPOINT") == ['["headrace"]']
    assert arguments("CMD") == ['["run"]']
    assert arguments("STOPSIGNAL") == ["SIGTERM"]
    assert arguments("USER") == ["65532:65532"]
    assert arguments("HEALTHCHECK")[0].endswith('CMD ["headrace", "health"]')


def test_the_environment_names_settings_that_exist_and_the_port_is_theirs():
    """A name nobody knows would keep every container from starting."""
    names = {name.env: name for name in known_names().values()}
    given = re.findall(r"(HEADRACE_\w+)=", " ".join(arguments("ENV")))
    assert given == ["HEADRACE_OPS_ADDRESS"]
    assert set(given) <= set(names)
    assert arguments("EXPOSE") == [str(names["HEADRACE_OPS_PORT"].field.default)]


def test_the_versions_are_those_of_the_project():
    """One uv everywhere, one version of headrace, a Python that it supports."""
    given = dict(rest.split("=", 1) for rest in arguments("ARG"))
    bootstrap = (ROOT / "tools" / "bootstrap.py").read_text()
    assert f'VERSION = "{given["UV_VERSION"]}"' in bootstrap
    assert given["VERSION"] == headrace.__version__
    rust = re.match(r"rust:(\d+\.\d+)-slim", given["RUST_IMAGE"])
    oldest = re.search(r'rust-version = "(\d+\.\d+)"', (ROOT / "native" / "Cargo.toml").read_text())
    assert [int(part) for part in rust[1].split(".")] >= [int(part) for part in oldest[1].split(".")]
    python = re.match(r"python:(\d+\.\d+)-slim", given["PYTHON_IMAGE"])
    assert f"Programming Language :: Python :: {python[1]}" in (ROOT / "pyproject.toml").read_text()


def test_the_transcoder_and_headrace_are_of_one_version():
    """The extra names it exactly."""
    crate = (ROOT / "native" / "Cargo.toml").read_text()
    distribution = (ROOT / "native" / "pyproject.toml").read_text()
    for text in (crate, distribution):
        assert f'version = "{headrace.__version__}"' in text
    assert f'native = ["headrace-native=={headrace.__version__}"]' in (ROOT / "pyproject.toml").read_text()


def test_every_stage_with_a_python_stands_on_the_same_one():
    """A virtual environment moved between two of them does not run."""
    assert arguments("FROM") == ["${RUST_IMAGE} AS rust", "${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What the build stage makes of the copied files alone: an environment without the tests' own packages."""
    if not UV.exists():
        pytest.skip("uv is not here: run `make setup`")
    folder = tmp_path_factory.mktemp("image")
    (folder / "source").mkdir()
    for source in copied_from_here():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / "source" / source, ignore=shutil.ignore_patterns("target"))
        else:
            shutil.copy(ROOT / source, folder / "source" / source)
    sync = [UV, "sync", "--quiet", "--locked", "--no-dev", "--no-editable", "--python", sys.executable]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder / "opt"), "UV_SYSTEM_CERTS": "true"}
    done = subprocess.run(sync, cwd=folder / "source", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "opt" / "bin"


def in_image(installed, *command, **environment):
    """Run a command as the image does: its own path, its own settings, nothing else."""
    given = {"PATH": f"{installed}:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "HEADRACE_OPS_ADDRESS": "0.0.0.0"}
    return subprocess.run(
        command, cwd="/", env={**given, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.process
def test_both_commands_run_from_what_the_build_stage_makes(installed):
    """No file of the checkout and no package of the tests is needed."""
    assert in_image(installed, "headrace", "--version").stdout == f"headrace {headrace.__version__}\n"
    assert "--stream" in in_image(installed, "headrace-producer", "--help").stdout
    assert in_image(installed, "python", "-c", "import pytest").returncode == 1


@pytest.mark.process
def test_a_container_without_settings_says_what_is_missing(installed):
    """The first thing that everybody sees of a new image."""
    done = in_image(installed, "headrace", "run")
    assert done.returncode == 2
    assert "HEADRACE_APPLICATION" in done.stderr
    assert "Traceback" not in done.stderr
