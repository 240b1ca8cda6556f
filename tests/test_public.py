"""What runs elsewhere, as far as it can be checked without a network: the public CI, Binder, the buttons."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
SUPPORTED = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])


def requirements():
    lines = (line.partition(" #")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_are_bounded_and_install_the_package():
    *libraries, package = requirements()
    assert package == "-e ."
    parsed = [Requirement(line) for line in libraries]
    assert [str(r) for r in parsed if not any("<" in s.operator for s in r.specifier)] == []
    assert len({r.name for r in parsed}) == len(parsed)


def test_binder_installs_the_same_for_a_python_that_we_support():
    runtime = (ROOT / ".binder" / "runtime.txt").read_text().strip()
    assert re.fullmatch(r"python-3\.\d+", runtime) and runtime.removeprefix("python-") in SUPPORTED
    lines = (ROOT / ".binder" / "requirements.txt").read_text().splitlines()
    included = [line.split()[1] for line in lines if line.startswith("-r ")]
    assert [(ROOT / ".binder" / name).resolve() for name in included] == [ROOT / "requirements.txt"]


@pytest.fixture
def workflow():
    return yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())


def test_the_public_ci_runs_what_ours_runs(workflow):
    check, publish = workflow["jobs"]["check"], workflow["jobs"]["publish"]
    assert ".ci/run" in [step.get("run") for step in check["steps"]]
    assert all(version in SUPPORTED for version in check["strategy"]["matrix"]["python"])
    assert publish["needs"] == "check"


def test_what_is_published_is_what_the_readme_builds(workflow):
    steps = workflow["jobs"]["publish"]["steps"]
    (upload,) = [step for step in steps if "upload-pages-artifact" in step.get("uses", "")]
    assert upload["with"]["path"] == "_build/html"
    (command,) = re.findall(r"jupyter-book build [^\n`]+", (ROOT / "README.md").read_text())
    assert command in [step.get("run") for step in steps]


def test_the_buttons_have_where_to_lead_once_the_address_is_set():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert set(config["repository"]) == {"url", "branch"}
    assert set(config["launch_buttons"]) == {"colab_url", "binderhub_url"}
