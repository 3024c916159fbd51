"""Virtual environments for the libraries that Ringlight is measured against, made where they are missing."""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

# OpenFHE's wheel is for CPython 3.10 on Linux with glibc 2.35 (Debian 12, Ubuntu 22.04 and later).
PEERS = {
    "openfhe": {"python": "3.10", "wheel": "openfhe==1.6.1.0.22.4", "test": "import openfhe"},
    "seal": {"python": "3.11", "wheel": "tenseal==0.3.18", "test": "import tenseal.sealapi"},
}


def quiet(command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def interpreter(version, wanted=None):
    """A Python of that version: the one named, one on the path, or one of pyenv's."""
    major, minor = version.split(".")
    candidates = [wanted] if wanted else [shutil.which(f"python{version}")]
    if not wanted:
        candidates += sorted(glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python{version}")))
    for candidate in filter(None, candidates):
        if quiet([candidate, "-c", f"import sys, venv; assert sys.version_info[:2] == ({major}, {minor})"]):
            return candidate
    raise RuntimeError(f"no CPython {version} found; install one")


def python_of(peer, wanted=None, venv=None):
    """The Python of the peer's environment, which is outside the repository; RuntimeError says why there is none."""
    need = PEERS[peer]
    venv = venv or os.path.join(tempfile.gettempdir(), f"ringlight-peer-{peer}")
    python = os.path.join(venv, "bin", "python")
    if os.path.exists(python) and quiet([python, "-c", need["test"]]):
        return python
    for command in (
        [interpreter(need["python"], wanted), "-m", "venv", "--clear", venv],
        [python, "-m", "pip", "install", "-q", need["wheel"]],
        [python, "-c", need["test"]],
    ):
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
            raise RuntimeError(f"{need['wheel']} could not be installed: {' '.join(command)} failed")
    return python
