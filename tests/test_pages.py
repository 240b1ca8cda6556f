"""Plain Markdown on the page: exercises become boxes, captions have numbers, some cells lose their code."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parent.parent
EXERCISE = """> **Exercise: count by hand.** *10 minutes, easy, coding.* How many?
>
> More of it.

<details><summary>Solution</summary>

```python
answer = 16
```

</details>"""
COLAB = 'import os, sys; "google.colab" in sys.modules and os.getcwd()'


def shown(kind, data):
    return [new_output("display_data", data={kind: data})]


@pytest.fixture(scope="module")
def dressed(tmp_path_factory):
    """The page of a notebook with one of each."""
    folder = tmp_path_factory.mktemp("pages")
    cells = [
        new_markdown_cell("# Title\n\nA Latent, and the latent again.\n\n> Only a quotation."),
        new_code_cell(COLAB, outputs=shown("text/plain", "False")),
        new_code_cell("x = 1", outputs=shown("text/plain", "one")),
        new_markdown_cell("**Figure: Two rooms.** Look at the bed."),
        new_markdown_cell("**Figure: Three rooms.** Look at the *lamp*.\n\n**Figures:** none."),
        new_markdown_cell(EXERCISE),
        new_code_cell('Markdown(f"{x} of *two*")', outputs=shown("text/markdown", "1 of *two*")),
        new_code_cell('ledger.card(\n    "forget",\n)', outputs=shown("text/html", "<p>card</p>")),
        new_code_cell('y = 2\nMarkdown(f"{y}")', outputs=shown("text/markdown", "2")),
    ]
    notebook = new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    nbformat.write(notebook, folder / "index.ipynb")
    (folder / "glossary.md").write_text(
        "---\norphan: true\n---\n# Glossary\n\n```{glossary}\nlatent\n  What G is given.\n```\n",
        encoding="utf-8",
    )
    (folder / "conf.py").write_text(
        f"import sys; sys.path.insert(0, {str(ROOT / 'book' / 'extensions')!r})\n"
        "extensions = ['myst_nb', 'reading']; nb_execution_mode = 'off'\n",
        encoding="utf-8",
    )
    subprocess.run([sys.executable, "-m", "sphinx", "-qW", folder, folder / "out"], check=True)
    text = (folder / "out" / "index.html").read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser")


def test_an_exercise_is_a_box_and_a_quotation_stays_one(dressed):
    (box,) = dressed.select(".admonition.exercise")
    assert box.select_one(".admonition-title").text == "Exercise: count by hand"
    assert [p.text for p in box.select("p:not(.admonition-title)")] == [
        "10 minutes, easy, coding. How many?", "More of it.",
    ]  # fmt: skip
    assert dressed.blockquote.text.strip() == "Only a quotation."
    assert dressed.details.select_one("pre").text.strip() == "answer = 16"


def test_captions_are_numbered_and_can_be_linked_to(dressed):
    captions = dressed.select(".figure-caption")
    assert [caption.text for caption in captions] == [
        "Figure 1: Two rooms. Look at the bed.", "Figure 2: Three rooms. Look at the lamp.",
    ]  # fmt: skip
    assert [caption["id"] for caption in captions] == ["fig-two-rooms", "fig-three-rooms"]


def test_cells_of_one_sentence_or_card_lose_their_code_and_that_for_colab_goes(dressed):
    inputs = {
        cell.pre.text.strip(): "sentence" in cell["class"] for cell in dressed.select(".cell")
    }
    assert inputs == {
        "x = 1": False, 'Markdown(f"{x} of *two*")': True,
        'ledger.card(\n    "forget",\n)': True, 'y = 2\nMarkdown(f"{y}")': False,
    }  # fmt: skip
    assert "False" not in dressed.text


def test_the_first_use_of_a_term_leads_to_the_glossary(dressed):
    assert [link.text for link in dressed.select("p a[href^=glossary]")] == ["Latent"]
