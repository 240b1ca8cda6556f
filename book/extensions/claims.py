"""The ledger on the pages: `{claims} 02-walking` is the cards of a chapter's claims, `{claims-summary}` the picture of all.

Both read the registry and the files of book/results when the book is built; a page is read anew when one has changed.
"""

from collections import Counter
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from dcgan_book.teaching import cards, ledger
from dcgan_book.teaching.verdicts import registry, verdict

BOOK = Path(__file__).parents[1]


class FromLedger(SphinxDirective):
    def known(self):
        """The registry, and what was measured of it."""
        for path in (BOOK / "claims.yml", *(BOOK / "results").glob("*.json")):
            self.env.note_dependency(str(path))
        return registry(BOOK / "claims.yml"), ledger.load(BOOK / "results")


class Claims(FromLedger):
    """The cards of the claims that one chapter tests."""

    required_arguments = 1

    def run(self):
        claims, measured = self.known()
        chapter = self.arguments[0]
        made = []
        for claim in claims.values():
            if claim.chapter == chapter:
                place = f"#claim-{claim.id}" if claim.id in measured else ""
                link = "Where it is tested", f"{chapter}.html{place}"
                card = cards.card(claim, measured.get(claim.id), link)
                made.append(nodes.raw("", card, format="html"))
        return made


class Summary(FromLedger):
    """All claims as one picture, value against control."""

    def run(self):
        claims, measured = self.known()
        words = Counter(verdict(claim, measured.get(name)).word for name, claim in claims.items())
        said = ", ".join(f"{count} {word}" for word, count in words.most_common())
        ordered = [claim for of in ledger.chapters(claims).values() for claim in of]
        picture = cards.overview(ordered, measured, "claims.html#claim-{id}")
        text = (
            f"Of {len(claims)} claims and questions: {said}. A full dot is what was measured, a hollow one "
            "its control, the dashed line what the words ask for."
        )
        return [nodes.raw("", picture, format="html"), nodes.paragraph("", text)]


def setup(app):
    app.add_directive("claims", Claims)
    app.add_directive("claims-summary", Summary)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
