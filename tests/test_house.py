"""The package is laid out as the README draws it: arrows point one way, functions are short, the tree is true."""

import ast
import importlib
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dcgan_book"
FLOORS = (  # a module imports from its own floor and from those before it
    {"cache", "figures", "worlds", "models", "latents", "hooks"},
    {"authors"},
    {"training"},
    {"pretrained"},
    {"measure"},
    {"walking", "features", "forgetting", "arithmetic"},
    {"live"},
    {"teaching"},
)
CHAPTERS = {"training", "walking", "features", "forgetting", "arithmetic"}
LONGEST = 60  # lines of a function, its docstring among them


def arrows(package):
    """Which modules of the package each of its modules imports, anywhere in it, as names: {importer: {imported}}."""
    names = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        names[".".join(part for part in parts if part != "__init__")] = path
    found = {}
    for name, path in names.items():
        asked = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                asked |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, (
                    f"{name}: imports name the package, so that they can be looked for"
                )
                asked |= {f"{node.module}.{alias.name}" for alias in node.names}
        ours = (each.partition(".")[2] for each in asked if each.partition(".")[0] == package.name)
        # what is imported from a module is a module, or a name in the module before it
        found[name] = {each if each in names else each.rpartition(".")[0] for each in ours} - {""}
    return found


def wing(name):
    """The entry of the package's folder that a module belongs to."""
    return name.partition(".")[0]


def wrong_arrows(found):
    """Arrows that point up, or from a chapter to another one, as "importer -> imported"."""
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    pairs = [
        (one, other)
        for one, others in found.items()
        for other in others
        if wing(one) != wing(other)
    ]
    up = {pair for pair in pairs if floor[wing(pair[0])] < floor[wing(pair[1])]}
    across = {pair for pair in pairs if {wing(name) for name in pair} <= CHAPTERS}
    return sorted(f"{one} -> {other}" for one, other in up | across)


def test_every_module_has_its_floor():
    assert {wing(name) for name in arrows(PACKAGE)} - {""} == set.union(*FLOORS)


def test_arrows_point_one_way():
    assert wrong_arrows(arrows(PACKAGE)) == []


def test_there_are_no_circles():
    try:
        TopologicalSorter(arrows(PACKAGE)).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_a_wrong_arrow_is_seen_wherever_it_hides(tmp_path):
    package = tmp_path / "dcgan_book"
    for name, text in {
        "__init__": "",
        "latents": "def draw():\n    from dcgan_book import measure",  # up, and late
        "measure/__init__": "from dcgan_book.measure.reading import load",
        "measure/reading": "import dcgan_book.latents",  # a circle
        "walking": "from dcgan_book.training.loop import train",  # down, but into another chapter
        "training/__init__": "",
        "training/loop": "import torch\nfrom dcgan_book import latents\nfrom dcgan_book.latents import draw",
    }.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = arrows(package)
    assert found["training.loop"] == {"latents"} and found["measure"] == {"measure.reading"}
    assert wrong_arrows(found) == ["latents -> measure", "walking -> training.loop"]
    with pytest.raises(CycleError):
        TopologicalSorter(found).prepare()


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_functions_are_short(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                 if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]  # fmt: skip
    lines = {node.name: node.end_lineno - node.lineno + 1 for node in functions}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_the_readmes_tree_is_there_and_whole():
    (tree,) = re.findall(
        r"```\n(dcgan_book/\n.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    drawn = set()
    for line in tree.splitlines()[1:]:
        inside, *_ = re.findall(r"^  (\w+/)", line) or [""]
        drawn |= {inside} | {inside + name for name in re.findall(r"\w+\.\w+", line)}
    drawn -= {""}
    assert [name for name in sorted(drawn) if not (PACKAGE / name).exists()] == []
    entries = {
        path.name + "/" * path.is_dir() for path in PACKAGE.iterdir() if path.name != "__pycache__"
    }
    assert entries - {"__init__.py"} <= drawn


def test_what_is_called_slow_is_there(pytestconfig):
    (plugin,) = [
        each for each in pytestconfig.pluginmanager.get_plugins() if hasattr(each, "SLOW_FIXTURES")
    ]
    files = list((ROOT / "tests").rglob("*.py"))
    defined = {
        name
        for path in files
        for name in re.findall(r"def (\w+)\(", path.read_text(encoding="utf-8"))
    }
    assert plugin.SLOW | plugin.SLOW_FIXTURES <= defined
    assert plugin.SLOW_FILES <= {path.name for path in files}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "book" / "experiments").glob("*.py")), ids=lambda path: path.name
)
def test_what_a_script_takes_from_the_package_is_there(path):
    """Most scripts run for an hour, so no test runs them: at least each name that they ask a module for exists."""
    tree, modules, missing = ast.parse(path.read_text(encoding="utf-8")), {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("dcgan_book"):
            for alias in node.names:
                try:
                    found = importlib.import_module(f"{node.module}.{alias.name}")
                    modules[alias.asname or alias.name] = found
                except ModuleNotFoundError:
                    if not hasattr(importlib.import_module(node.module), alias.name):
                        missing.append(f"{node.module}.{alias.name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module is not None and not hasattr(module, node.attr):
                missing.append(f"{node.value.id}.{node.attr}")
    assert missing == []
