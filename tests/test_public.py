"""What runs elsewhere, as far as it can be checked without a network: what pip installs, our CI, Binder, the buttons."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SUPPORTED = SpecifierSet(PROJECT["requires-python"])


def requirements():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lines = (line.partition(" #")[0].strip() for line in lines)
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_are_bounded_and_install_the_package():
    *libraries, package = requirements()
    assert package == "-e ."
    parsed = [Requirement(line) for line in [*libraries, *PROJECT["dependencies"]]]
    assert [str(r) for r in parsed if not any("<" in s.operator for s in r.specifier)] == []
    assert len({canonicalize_name(r.name) for r in parsed}) == len(parsed), (
        "each stands in one place"
    )


def test_the_package_asks_for_all_that_it_imports():
    trees = [
        ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "dcgan_book").rglob("*.py")
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    imported = (
        {name.partition(".")[0] for name in imported}
        - set(sys.stdlib_module_names)
        - {"dcgan_book"}
    )
    lines = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["engine"]
    asked = {canonicalize_name(Requirement(line).name) for line in lines}
    brought_by = packages_distributions()
    missing = {
        name for name in imported if not asked & {canonicalize_name(d) for d in brought_by[name]}
    }
    assert imported and not missing


def test_binder_installs_the_same():
    lines = (ROOT / ".binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    included = [line.split()[1] for line in lines if line.startswith("-r ")]
    assert [(ROOT / ".binder" / name).resolve() for name in included] == [ROOT / "requirements.txt"]


def test_what_runs_elsewhere_runs_a_python_that_we_support():
    binder = (
        (ROOT / ".binder" / "runtime.txt")
        .read_text(encoding="utf-8")
        .strip()
        .removeprefix("python-")
    )
    container = json.loads(
        (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    )["image"]
    jobs = yaml.safe_load(
        (ROOT / ".github" / "workflows" / "book.yml").read_text(encoding="utf-8")
    )["jobs"]
    checked = jobs["check"]["strategy"]["matrix"]["python"]
    for version in (
        binder,
        container.rpartition(":")[2],
        *checked,
        *jobs["package"]["strategy"]["matrix"]["python"],
    ):
        assert version in SUPPORTED, version
    minor = [int(version.partition(".")[2]) for version in checked]
    assert f"3.{min(minor) - 1}" not in SUPPORTED and f"3.{max(minor) + 1}" not in SUPPORTED, (
        "both ends are checked"
    )


@pytest.fixture
def ci(tmp_path):
    """Runs `.ci/run` in a repository with a README of these commands, and tools that only say what they are asked."""
    tools, repository = tmp_path / "tools", tmp_path / "repository"
    (repository / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", repository / ".ci" / "run")
    tools.mkdir()
    said = (
        '#!/bin/sh\necho Requirement already satisfied: $(basename $0)\necho $(basename $0) "$@"\n'
    )
    for name in ("pip", "ruff", "mypy", "chromium"):
        (tools / name).write_text(said, encoding="utf-8")
    activate = "#!/bin/sh\nmkdir -p .venv/bin && : > .venv/bin/activate\n"
    (tools / "python3").write_text(activate, encoding="utf-8")

    def run(*commands, fail=None):
        if fail:
            (tools / fail).write_text("#!/bin/sh\necho bad; exit 3\n", encoding="utf-8")
        for tool in tools.iterdir():
            tool.chmod(0o755)
        blocks = "".join(f"```bash\n{command}\n```\n" for command in commands)
        (repository / "README.md").write_text(f"```\na tree/\n```\n{blocks}", encoding="utf-8")
        git = ["git", "-C", repository, "-c", "user.name=x", "-c", "user.email=x@x"]
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
            subprocess.run(git + words, check=True)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        command = ["bash", repository / ".ci" / "run"]
        return subprocess.run(
            command, env=os.environ | {"PATH": path}, capture_output=True, text=True
        )

    return run


needs_bash = pytest.mark.skipif(os.name == "nt", reason="a script for bash")


@needs_bash
def test_our_ci_runs_the_checks_and_then_the_readmes_commands(ci):
    done = ci("echo built", "echo '= 5 passed in 3 s ='")
    lines = [
        line for line in done.stdout.splitlines() if line and line[0] != "$" and "took" not in line
    ]
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines == ["pip install -r requirements.txt", "ruff check", "ruff format --check", "mypy", "built",
                     "= 5 passed in 3 s ="]  # fmt: skip
    assert done.stdout.endswith("= 5 passed in 3 s =\n")


@needs_bash
@pytest.mark.parametrize("commands, fail, last", [
    (("echo built", "echo 1 failed; false"), None, "1 failed"), (("echo built", "echo passed"), "mypy", "bad"),
    (("echo built",), None, "README.md has 1 commands, not 2"),
])  # fmt: skip
def test_our_ci_ends_where_something_fails(ci, commands, fail, last):
    done = ci(*commands, fail=fail)
    assert done.returncode != 0 and done.stdout.splitlines()[-1] == last


def first_cells():
    """The source of the first code cell of each notebook, the one that matters on Colab alone, by name."""
    cells = {}
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        found = json.loads(path.read_text(encoding="utf-8"))["cells"]
        cells[path.name] = "".join(next(c for c in found if c["cell_type"] == "code")["source"])
    return cells


def test_every_notebook_knows_where_the_book_is():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    (source,) = set(first_cells().values())
    assert f"git clone -q --depth 1 '{config['repository']['url']}' book" in source
    assert len(first_cells()) > 5


def test_on_colab_a_notebook_fetches_what_it_stands_beside_and_elsewhere_does_nothing(
    tmp_path, monkeypatch
):
    source, asked = next(iter(first_cells().values())), []
    (tmp_path / "book" / "book").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", asked.append)
    exec(source, {})
    assert asked == [] and Path.cwd() == tmp_path
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    exec(source, {})
    assert Path.cwd() == tmp_path / "book" / "book"
    clone, install = asked[0].split(" && ")
    assert clone.startswith("git clone") and install == "pip install -q ./book"
    assert (ROOT / "pyproject.toml").exists()  # what pip installs is the repository
