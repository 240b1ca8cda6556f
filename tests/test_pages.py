"""Plain Markdown on the page: exercises become boxes, captions have numbers, some cells lose their code."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "book" / "extensions"))
import pages  # noqa: E402

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


def test_without_a_script_a_page_says_what_is_missing_and_shows_the_answers():
    body = '<figure class="dcgan-live" data-figure="{}"><img src="x" alt="y"></figure>'
    body += '<div id="Ab1" data-shufflequestions="False"></div>'
    right = {"answer": "Six & more.", "feedback": "Count them.", "correct": True}
    page = BeautifulSoup(
        pages.without_script(body, [{"question": "How many?", "answers": [right]}]), "html.parser"
    )
    figure, test = page.find_all("noscript")
    assert figure.parent.name == "figure" and "needs JavaScript" in figure.get_text()
    assert test.find_next_sibling("div")["id"] == "Ab1"
    assert test.get_text() == "How many?Six & more. Count them."


def test_a_page_has_no_empty_header_and_says_what_is_korean():
    made = pages.accessible(
        '<table><tr><th class="head"><p></p></th><th></th><th>a</th></tr></table>'
        '<dl><dt id="a">활성값</dt><dt id="b">unit</dt></dl><div class="bd-sidebar-primary bd-sidebar"></div>'
    )
    page = BeautifulSoup(made, "html.parser")
    assert [tag.get_text() for tag in page.find_all("th")] == ["a"] and len(
        page.find_all("td")
    ) == 2
    assert [tag.get("lang") for tag in page.find_all("dt")] == ["ko", None]
    assert page.select_one(".bd-sidebar-primary")["role"] == "navigation"


def test_pictures_lead_to_themselves_unless_they_lead_elsewhere():
    made = pages.enlargeable(
        '<img alt="a" src="../_images/a.webp"><a href="b"><img alt="b" src="../_images/b.webp"></a><img src="data:,">'
    )
    links = BeautifulSoup(made, "html.parser").find_all("a")
    assert [link["href"] for link in links] == ["../_images/a.webp", "b"]
