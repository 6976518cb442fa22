"""CONFORMANCE.md names tests that exist."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_named_test_exists():
    rows = [line for line in (HERE / "CONFORMANCE.md").read_text().splitlines() if re.match(r"\| \d+\.\d+ ", line)]
    assert len(rows) > 60
    functions = {
        path.name: {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        for path in HERE.glob("test_*.py")
    }
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)
        assert named, f"no test: {row}"
        for file, test in named:
            assert test in functions.get(file, ()), f"{file}::{test} does not exist"
