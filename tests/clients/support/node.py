"""JavaScript clients: scripts below tests/clients/node, which print what they found as JSON."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from .calls import missing

SCRIPTS = Path(__file__).parents[1] / "node"


def modules():
    """Where the packages are that the scripts need."""
    path = os.environ.get("NODE_PATH") or str(Path.home() / ".cache/strongroom/node/node_modules")
    if shutil.which("node") is None or not Path(path, "minio").is_dir():
        missing("the JavaScript clients are not installed (make node)")
    return path


def run(server, script, **variables):
    """Runs a script against `server`; what it found."""
    environment = server.environment() | {"NODE_PATH": modules(), "NODE_EXTRA_CA_CERTS": server.ca or ""} | variables
    done = subprocess.run(["node", SCRIPTS / script], env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
