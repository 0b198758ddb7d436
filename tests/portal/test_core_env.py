"""A wrong setting stops the start with one clear line."""

import os
import subprocess
import sys

import pytest

GOOD = {
    "SECRET_KEY": "k" * 40,
    "DATABASE_URL": "postgresql://a:b@127.0.0.1:5/c",
    "BROKER_URL": "redis://127.0.0.1:6/0",
}


def start(**changes: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], **GOOD, **changes}
    code = "import portal.settings"
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)


def test_good_settings_start() -> None:
    assert start().returncode == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SECRET_KEY", "", "is not set"),
        ("SECRET_KEY", "short", "shorter than 32"),
        ("DATABASE_URL", "sqlite:///x.db", "postgresql://"),
        ("DATABASE_URL", "postgresql://a:b@h:port/c", "port"),
        ("DATABASE_URL", "postgresql://a:b@h:5/", "names no database"),
        ("BROKER_URL", "memory://", "redis://"),
        ("CONCORD_PORT", "eighty", "not a whole number"),
        ("CONCORD_PORT", "70000", "not between"),
        ("CONCORD_ZONE", "both", "not one of"),
        ("CONCORD_DEVICE", "cuda:one", "not one of"),
        ("CONCORD_PRECISION", "half", "not one of"),
        ("CONCORD_DEBUG", "perhaps", "neither yes nor no"),
        ("STORAGE_URL", "ftp://x/y", "file:// or s3://"),
        ("CONCORD_HOME", "/dev/null", "not a folder"),
        ("CONCORD_DEVICE", "abacus", "not one of"),
    ],
)
def test_wrong_settings_stop_with_one_line(name: str, value: str, words: str) -> None:
    result = start(**{name: value})
    assert result.returncode == 78
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"concord: setting {name}: ")
    assert words in lines[0]


def test_the_identity_zone_needs_the_vault_key() -> None:
    result = start(CONCORD_ZONE="identities")
    assert result.returncode == 78
    assert "CONCORD_VAULT_KEY" in result.stderr
