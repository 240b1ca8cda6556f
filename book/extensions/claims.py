"""The ledger on the pages: `{claims} 02-walking` is the cards of a chapter's claims, `{claims-summary}` the picture of all.

Both read the registry and the files of book/results when the book is built; a page is read anew when one has changed.
"""

from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from dcgan_book.teaching import cards, ledger
from dcgan_book.teaching.verdicts import registry

BOOK = Path(__file__).parents[1]


class FromLedger(SphinxDirective):
    def known(self):
        """The registry, and what was measured of it."""
        for path in (BOOK / "claims.yml", *(BOOK / "results").glob("*.json")):
            self.env.note_dependency(str(path))
        return registry(BOOK / "claims.yml"), ledger.load(BOOK / "results")

    def shown(self, *parts):
        return [nodes.raw("", "\n".join([cards.STYLE, *parts]), format="html")]


class Claims(FromLedger):
    """The cards of the claims that one chapter tests."""

    required_arguments = 1

    def run(self):
        claims, measured = self.known()
        chapter = self.arguments[0]
        made = []
        for claim in ledger.chapters(claims)[chapter]:
            place = f"#claim-{claim.id}" if claim.id in measured else ""
            link = "Where it is tested", f"{chapter}.html{place}"
            made.append(cards.card(claim, measured.get(claim.id), link))
        return self.shown(*made)


class Summary(FromLedger):
    """All claims as one picture, value against control."""

    def run(self):
        claims, measured = self.known()
        headed = {heading(name): of for name, of in ledger.chapters(claims).items()}
        return self.shown(cards.overview(headed, measured, "claims.html#claim-{id}"))


def heading(chapter):
    """ "Chapter 2: walking" for "02-walking"."""
    number, _, name = chapter.partition("-")
    return f"Chapter {int(number)}: {name}"


def setup(app):
    app.add_directive("claims", Claims)
    app.add_directive("claims-summary", Summary)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
