"""The installed OpenFOAM: where it is, which one, and runs of its programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path

from sciml.errors import InputError

DEBIAN = Path("/usr/share/openfoam")  # of the package `openfoam`, whose programs are on the path
PROGRAMS = ("icoFoam", "interFoam")
TAIL = 1000  # lines of a log in which a message is looked for: some list all that would have been right
NOT_FINITE = "values are not finite (floating point exception)"
LONGEST = 240  # characters of a message
MISSING = (
    "OpenFOAM is not installed: expected icoFoam and interFoam on the PATH, or WM_PROJECT_DIR set to an installation; "
    "on Debian: apt-get install openfoam"
)


def environment() -> dict[str, str] | None:
    """The environment in which OpenFOAM's programs run; None where there is none."""
    return _environment(os.environ.get("WM_PROJECT_DIR"), os.environ.get("PATH", ""), DEBIAN)


@cache
def _environment(project: str | None, path: str, debian: Path) -> dict[str, str] | None:
    found = dict(os.environ)
    own = project is not None and shutil.which("icoFoam", path=path) is not None  # its bashrc has been sourced
    bashrc = (debian if project is None else Path(project)) / "etc" / "bashrc"
    if not own and bashrc.exists():
        shell = f'source "{bashrc}" >/dev/null 2>&1; env -0'
        told = subprocess.run(["bash", "-c", shell], capture_output=True, check=False).stdout.decode(errors="replace")
        found = dict(line.split("=", 1) for line in told.split("\0") if "=" in line) or found
    there = all(shutil.which(name, path=found.get("PATH", "")) for name in PROGRAMS)
    return found if there else None


def required(name: str) -> dict[str, str]:
    """`environment()`.

    Raises:
        InputError: there is none; begins with `name`.
    """
    found = environment()
    if found is None:
        raise InputError(f"{name}: {MISSING}")
    return found


def version() -> str:
    """As icoFoam names itself: release and patch; "" where there is none."""
    found = environment()
    return "" if found is None else _version(found["PATH"], found.get("WM_PROJECT_DIR", ""))


@cache
def _version(path: str, project: str) -> str:
    told = subprocess.run(["icoFoam", "-help"], env=environment(), capture_output=True, check=False, text=True).stdout
    found = re.search(r"OpenFOAM-\s*\(?(\w+).*?patch=(\w+)", told, re.DOTALL)
    short = re.search(r"OpenFOAM-\s*\(?(\w+)", told)
    return f"{found[1]} patch {found[2]}" if found else short[1] if short else "unknown"


def run(program: str, folder: Path, watch: Callable[[float | None, float | None], str | None]) -> str | None:
    """Run a program on the case in `folder`; its output is appended to the file log.<program> there.

    Args:
        watch: called with the time of each step that begins and None, and with None and each largest Courant number;
            what it gives, if not None, ends the run.

    Returns:
        One line that says why it ended early; None where it did not.
    """
    last: deque[str] = deque(maxlen=TAIL)
    stopped = None
    with (
        (folder / f"log.{program}").open("a") as log,
        subprocess.Popen(
            [program], cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        ) as process,
    ):  # fmt: skip
        try:
            for line in process.stdout or ():
                log.write(line)
                last.append(line)
                if line.startswith("Time = "):
                    stopped = watch(float(line[7:].strip().removesuffix("s")), None)
                elif line.startswith("Courant Number"):
                    stopped = watch(None, float(line.rsplit("max:", 1)[1]))
                if stopped is not None:
                    process.kill()
                    break
        except BaseException:
            process.kill()
            raise
    if stopped is not None:
        return stopped
    return None if process.returncode == 0 else failure(program, list(last), process.returncode)


def failure(program: str, lines: list[str], code: int) -> str:
    """What the last lines of a log say of why a program failed, as one line."""
    told = [line.strip() for line in lines if line.strip()]
    begins = [k for k, line in enumerate(told) if "FOAM FATAL" in line]
    if begins:
        message = []
        for line in told[begins[0] + 1 :]:
            if line.startswith(("From ", "in file", "FOAM exiting", "FOAM aborting", "file:")):
                break
            message.append(line)
        text = " ".join(message) or told[begins[0]]
        return f"{program}: {text if len(text) <= LONGEST else text[:LONGEST] + ' ...'}"
    if code in (-8, 136) or any("sigFpe" in line or "Floating point" in line for line in told):
        return f"{program}: {NOT_FINITE}"
    return f"{program} ended with status {code}: {told[-1] if told else 'it said nothing'}"
