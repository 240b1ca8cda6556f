"""Stored results: each says which weights it is of, and a chapter refuses those of others."""

import json
import re
import runpy
from pathlib import Path

import pytest
import torch

from dcgan_book.teaching import experiments

BOOK = Path(__file__).parents[2] / "book"
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))
# runs of their own, what was boxed by hand (its digest is another's), times, an order by lot
WITHOUT_WEIGHTS = re.compile(
    r"(batchnorm|beta1-09|half-rate|labels|lr-0001|noise|paper)-\d|g-twice|window-boxes|scale|blind-key"
)


def test_results_of_other_weights_are_refused_in_one_line(tmp_path):
    path = tmp_path / "found.json"
    stamped = experiments.stamped(
        {"share": 0.5}, "found.py", "rooms/generator", "instruments/instrument"
    )
    path.write_text(json.dumps(stamped), encoding="utf-8")
    assert experiments.load(path) == {"share": 0.5}
    stamped["made_by"]["weights"]["instruments/instrument"] = "0" * 12
    path.write_text(json.dumps(stamped), encoding="utf-8")
    with pytest.raises(
        experiments.StaleError, match="today's instruments/instrument: run .*found.py again"
    ) as refused:
        experiments.load(path)
    assert "\n" not in str(refused.value)
    path.write_text('{"share": 0.5}', encoding="utf-8")
    with pytest.raises(experiments.StaleError, match="does not say"):
        experiments.load(path)


def test_a_mark_names_the_weights_themselves(tmp_path, monkeypatch):
    """Another file under the name is another mark."""
    (tmp_path / "rooms").mkdir()
    shipped = experiments.made_by("x/y.py", "rooms/generator")
    assert shipped["script"] == "y.py"
    monkeypatch.setattr(experiments.pretrained, "WEIGHTS", tmp_path)
    (tmp_path / "rooms" / "generator.safetensors").write_bytes(b"other")
    experiments.digest.cache_clear()
    try:
        assert experiments.made_by("y.py", "rooms/generator")["weights"] == {
            "rooms/generator": "d9298a10d1b0"
        }
    finally:
        experiments.digest.cache_clear()
    assert shipped["weights"] != {"rooms/generator": "d9298a10d1b0"}


@pytest.mark.parametrize(
    "path", sorted(BOOK.glob("experiments/*.json")), ids=lambda path: path.stem
)
def test_every_result_is_of_todays_weights(path):
    if WITHOUT_WEIGHTS.fullmatch(path.stem):
        return
    made = json.loads(path.read_text(encoding="utf-8"))["made_by"]
    assert (path.parent / made["script"]).exists()
    experiments.load(path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_read_results_only_through_the_check(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    unchecked = re.findall(r"json\.loads\(Path\(f?\"experiments/([\w{}-]+)\.json\"\)", code)
    assert [name for name in unchecked if not WITHOUT_WEIGHTS.fullmatch(name)] == []


@pytest.mark.parametrize("path", sorted(BOOK.glob("experiments/*.py")), ids=lambda path: path.stem)
def test_a_script_computes_nothing_when_it_is_imported(path, monkeypatch):
    """It reads no file of the book and draws no latents, on which all else depends."""

    def refuse(*_arguments, **_options):
        raise AssertionError(f"{path.name} computes on import")

    opened = Path.open

    def watched(file, *arguments, **options):
        return refuse() if BOOK in file.resolve().parents else opened(file, *arguments, **options)

    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(Path, "open", watched)
    for function in ("rand", "randn"):
        monkeypatch.setattr(torch, function, refuse)
    monkeypatch.setattr(torch.nn.Module, "__call__", refuse)
    runpy.run_path(str(path), run_name="imported")
