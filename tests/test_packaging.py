"""What is published: the wheel and the sdist, as hatchling builds them."""

import email
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

import durable_monty
from tests.documents import README, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "durable_monty").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with both; without uv or a network there may be no build tool."""
    folder = tmp_path_factory.mktemp("dist")
    optional = not os.environ.get("CI")
    if optional and not shutil.which("uv"):
        pytest.skip("uv is not installed")
    done = subprocess.run(
        ["uv", "build", "--quiet", "--python", sys.executable, "--out-dir", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    if optional and "Failed to fetch" in done.stderr:
        pytest.skip("hatchling cannot be fetched")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(wheel.read(name))


def test_the_wheel_is_pure_and_named_for_the_version(wheel):
    name = f"django_durable_monty-{durable_monty.__version__}-py3-none-any.whl"
    assert wheel.filename.endswith(f"/{name}")


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    packaged = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packaged == SOURCES


def test_the_wheel_holds_what_is_not_python(wheel):
    names = set(wheel.namelist())
    for needed in (
        "durable_monty/py.typed",
        "durable_monty/ARCHITECTURE.md",
        "durable_monty/docs/index.md",
        "durable_monty/docs/how-to/choose-an-executor.md",
        "durable_monty/migrations/0001_initial.py",
        "durable_monty/management/commands/runworker.py",
        "durable_monty/locale/de/LC_MESSAGES/django.mo",
        "durable_monty/static/durable_monty/admin.css",
        "durable_monty/templates/admin/durable_monty/app_index.html",
    ):
        assert needed in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_metadata(metadata):
    assert metadata["Name"] == "django-durable-monty"
    assert metadata["Version"] == durable_monty.__version__ == PROJECT["version"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Summary"] == PROJECT["description"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True).decode() == README.read_text()
    extras = {name.replace("_", "-") for name in PROJECT["optional-dependencies"]}
    assert set(metadata.get_all("Provides-Extra")) == extras


def test_installing_it_brings_four_packages(metadata):
    """The example's, the tests' and the linters' needs are groups of the checkout."""
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(line.partition("<")[0].partition(">")[0] for line in required) == [
        "django", "django-q2", "pydantic-monty", "pygments",
    ]  # fmt: skip
    assert all(">=" in line and "<" in line for line in required)


def test_the_sdist_can_be_tested(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= SOURCES
    for needed in (
        "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "manage.py",
        "tests/conftest.py", "example_project/settings.py",
    ):  # fmt: skip
        assert needed in names
    assert not [name for name in names if name.endswith((".sqlite3", ".mp4", ".zip", ".pyc"))]
    assert not [
        name for name in names if name.startswith((".ci", ".venv", "example_project/media"))
    ]
