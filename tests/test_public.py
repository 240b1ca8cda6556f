"""What runs elsewhere, as far as it can be checked without a network: the public CI, Binder, the buttons."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
SUPPORTED = SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"])


def requirements():
    lines = (line.partition(" #")[0].strip() for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_are_bounded_and_install_the_package():
    *libraries, package = requirements()
    assert package == "-e ."
    parsed = [Requirement(line) for line in libraries]
    assert [str(r) for r in parsed if not any("<" in s.operator for s in r.specifier)] == []
    assert len({r.name for r in parsed}) == len(parsed)


def test_binder_installs_the_same_for_a_python_that_we_support():
    runtime = (ROOT / ".binder" / "runtime.txt").read_text(encoding="utf-8").strip()
    assert re.fullmatch(r"python-3\.\d+", runtime) and runtime.removeprefix("python-") in SUPPORTED
    lines = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    included = [line.split()[1] for line in lines if line.startswith("-r ")]
    assert [(ROOT / ".binder" / name).resolve() for name in included] == [ROOT / "requirements.txt"]


@pytest.fixture
def workflow():
    return yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8"))


def test_the_public_ci_runs_what_ours_runs(workflow):
    check, publish = workflow["jobs"]["check"], workflow["jobs"]["publish"]
    assert ".ci/run" in [step.get("run") for step in check["steps"]]
    assert all(version in SUPPORTED for version in check["strategy"]["matrix"]["python"])
    assert publish["needs"] == "check"


def test_what_is_published_is_what_the_readme_builds(workflow):
    steps = workflow["jobs"]["publish"]["steps"]
    (upload,) = [step for step in steps if "upload-pages-artifact" in step.get("uses", "")]
    assert upload["with"]["path"] == "_build/html"
    (command,) = re.findall(r"jupyter-book build [^\n`]+", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert command in [step.get("run") for step in steps]


def test_the_buttons_have_where_to_lead_once_the_address_is_set():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert set(config["repository"]) == {"url", "branch"}
    assert set(config["launch_buttons"]) == {"colab_url", "binderhub_url"}


def first_cells():
    """The first code cell of each notebook, the one that matters on Colab alone: name to (source, tags)."""
    cells = {}
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        cell = next(cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code")
        cells[path.name] = "".join(cell["source"]), cell["metadata"].get("tags")
    return cells


def test_every_notebook_knows_where_the_book_is():
    cells = first_cells()
    address = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    assert len(set(source for source, _ in cells.values())) == 1 and len(cells) > 5
    for name, (source, tags) in cells.items():
        assert tags == ["remove-cell"] and f"repository = {address!r}" in source, name


def test_on_colab_a_notebook_fetches_what_it_stands_beside_and_elsewhere_does_nothing(tmp_path, monkeypatch):
    origin = tmp_path / "origin"
    (origin / "book").mkdir(parents=True)
    (origin / "book" / "beside.json").write_text("{}", encoding="utf-8")
    git = ["git", "-C", origin, "-c", "user.name=x", "-c", "user.email=x@x"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(git + command, check=True)
    source = next(iter(first_cells().values()))[0]
    source = re.sub("repository = '.*'", f"repository = {origin.as_uri()!r}", source)
    asked = []

    class Shell:
        def system(self, command):
            asked.append((command.split(), Path.cwd().name))
            if command.startswith("git"):
                subprocess.run(command.split(), check=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    exec(source, {"get_ipython": Shell})
    assert asked == [] and Path.cwd() == tmp_path
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(source, {"get_ipython": Shell})
    (clone, _), (install, where) = asked
    assert clone[:2] == ["git", "clone"] and install[1:] == "-m pip install -q -r requirements.txt".split()
    assert (ROOT / "requirements.txt").exists() and where == sys.path[0].split("/")[-1] == "dcgan-book"
    assert Path("beside.json").exists()
