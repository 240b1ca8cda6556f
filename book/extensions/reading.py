"""Dresses plain Markdown for the page: notebooks stand without it, and a page looks better with it.

A block quote that begins with bold "Exercise: ..." becomes a box, a paragraph that begins with bold "Figure: ..." a
numbered caption, a cell of one sentence or card loses its input, one that is for Colab alone goes, and the first use of
a term leads to the glossary.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

# cells whose output is a sentence, a card or a quiz: their code is the notebook's business
SENTENCE = re.compile(
    r"\A(?:#[^\n]*\n)*(?:Markdown|ledger\.card|classkit\.self_test)\((?:.|\n)*\)\s*\Z"
)
COLAB = '"google.colab" in sys.modules and'
UNLINKED = (nodes.title, nodes.reference, nodes.literal, nodes.raw, nodes.term, addnodes.pending_xref)  # fmt: skip


def dress(app, doctree):
    for quote in list(doctree.findall(nodes.block_quote)):
        box(quote)
    number = 0
    for paragraph in list(doctree.findall(nodes.paragraph)):
        words = opening(paragraph, "Figure: ")
        if words:
            number += 1
            paragraph.insert(0, nodes.strong("", f"Figure {number}: {words}"))
            paragraph["classes"].append("figure-caption")
            paragraph["ids"].append("fig-" + nodes.make_id(words))
    for cell in list(doctree.findall(nodes.container)):
        if "cell" not in cell["classes"]:
            continue
        code = cell[0].astext()
        if COLAB in code:
            cell.parent.remove(cell)
        elif len(cell) > 1 and SENTENCE.match(code):
            cell["classes"].append("sentence")


def opening(paragraph, word):
    """The words after `word` in the bold text that opens a paragraph, which is taken out; "" where there is none."""
    # MyST puts an empty text before what is bold
    shown = [node for node in paragraph if node.astext()]
    if not shown or not isinstance(shown[0], nodes.strong):
        return ""
    words = shown[0].astext()
    if not words.startswith(word):
        return ""
    paragraph.children = [node for node in paragraph if node in shown[1:]]
    return words.removeprefix(word)


def box(quote):
    """An admonition in the place of a block quote that is an exercise."""
    first = quote[0] if quote.children else None
    words = opening(first, "Exercise: ") if isinstance(first, nodes.paragraph) else ""
    if not words:
        return
    if isinstance(first[0], nodes.Text):
        first.replace(first[0], nodes.Text(first[0].astext().lstrip()))
    title = nodes.title("", f"Exercise: {words.rstrip('.')}")
    admonition = nodes.admonition("", title, classes=["tip", "exercise"])
    admonition += quote.children
    quote.replace_self(admonition)


class GlossaryLinks(SphinxPostTransform):
    """The first use of each term on a page leads to the glossary."""

    default_priority = 5  # before references are resolved

    def run(self):
        if self.env.docname.endswith(("glossary", "claims", "intro")):
            return
        objects = self.env.get_domain("std").objects
        left = {name.lower(): name for kind, name in objects if kind == "term" and name.isascii()}
        if not left:
            return
        longest_first = sorted(left, key=len, reverse=True)
        words = re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})s?\b", re.I)
        for text in list(self.document.findall(nodes.Text)):
            if isinstance(text.parent, nodes.paragraph | nodes.emphasis):
                self.link(text, words, left)

    def link(self, text, words, left):
        parent = text.parent
        while parent is not None:
            if isinstance(parent, UNLINKED):
                return
            parent = parent.parent
        pieces, at, plain = [], 0, text.astext()
        for match in words.finditer(plain):
            name = left.pop(match[1].lower(), None)
            if name is None:
                continue
            pieces.append(nodes.Text(plain[at : match.start()]))
            pieces.append(self.reference(name, match[0]))
            at = match.end()
        if pieces:
            pieces.append(nodes.Text(plain[at:]))
            text.parent.replace(text, [piece for piece in pieces if piece.astext()])

    def reference(self, name, shown):
        link = addnodes.pending_xref(
            "", nodes.inline("", shown, classes=["std", "std-term"]), refdomain="std", reftype="term",
            reftarget=name, refexplicit=True, refwarn=True, refdoc=self.env.docname,
        )  # fmt: skip
        return link


def setup(app):
    app.connect("doctree-read", dress)
    app.add_post_transform(GlossaryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
