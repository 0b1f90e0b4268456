"""Puts uv into .tools/uv with nothing but the standard library's means; run by the Makefile."""

import subprocess
import sys
import venv
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent / ".tools" / "uv"
MINIMUM = (3, 11)
VERSION = "0.13.9"


def main() -> None:
    """Make the environment and install uv in it; one line and exit code 2 where this machine cannot."""
    if sys.version_info < MINIMUM:
        sys.exit(f"python3 is {sys.version.split()[0]}: headrace needs Python {'.'.join(map(str, MINIMUM))} or newer.")
    try:
        venv.create(HOME, with_pip=True, clear=True)
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"python3 cannot make an environment ({error}): install its venv module (Debian: python3-venv).")
        sys.exit(2)
    pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    sys.exit(subprocess.call([*pip, f"uv=={VERSION}"]))


if __name__ == "__main__":
    main()
