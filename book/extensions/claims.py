"""The ledger on the pages: `{claims} 6.1` is the table of a section's claims, `{claims-summary}` the picture of all.

Both read the files of book/results when the book is built; a page is read anew when one of them has changed.
"""

import os
from collections import Counter
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from dcgan_book import figures
from dcgan_book.teaching import ledger

RESULTS = Path(__file__).parents[1] / "results"
SIGNS = dict(zip(ledger.VERDICTS, "●◐○–", strict=True))


class FromLedger(SphinxDirective):
    def rows(self):
        for path in RESULTS.glob("*.json"):
            self.env.note_dependency(str(path))
        return [row for rows in ledger.load_all(RESULTS).values() for row in rows]

    def parse(self, text, parent):
        self.state.nested_parse(
            StringList(text.splitlines(), "claims"), self.content_offset, parent
        )
        return parent


class Claims(FromLedger):
    """The claims of one section of the paper, a table: claim and test, what we found, the control, the verdict."""

    required_arguments = 1

    def run(self):
        table = ["| claim, and its test | here | control | verdict |", "|---|---|---|---|"]
        for row in self.rows():
            if row.section == self.arguments[0]:
                claim = row.claim[0].upper() + row.claim[1:]
                cells = (
                    f"{{ref}}`{claim} <{row.where}>`. *Test:* {row.test}.",
                    row.value,
                    row.control,
                    f"{SIGNS[row.verdict]} {row.verdict}",
                )
                table.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        if len(table) == 2:
            return [nodes.paragraph("", "No chapter has written a claim of this section yet.")]
        return self.parse("\n".join(table), nodes.container(classes=["claims"])).children


class Summary(FromLedger):
    """A figure: how many claims of each section hold, hold in part, do not, and cannot be tested."""

    option_spec = {"name": directives.unchanged}

    def run(self):
        counts = {}
        for row in self.rows():
            counts.setdefault(row.section, Counter())[row.verdict] += 1
        if not counts:
            return []
        counts = dict(sorted(counts.items()))
        path = Path(self.env.doctreedir) / "claims.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(figures.png(figures.verdicts(counts, ledger.VERDICTS)))
        said = "; ".join(
            f"{section}: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(of.items()))
            for section, of in counts.items()
        )
        total = sum(counts.values(), Counter())
        image = nodes.image(
            uri="/" + Path(os.path.relpath(path, self.env.srcdir)).as_posix(),
            alt=f"Bars that count claims by verdict, one bar for each section. {said}.",
        )
        plural = [
            verdict.replace("holds", "hold").replace("does", "do") for verdict in ledger.VERDICTS
        ]
        parts = [
            f"{total[verdict]} {words}"
            for verdict, words in zip(ledger.VERDICTS, plural, strict=True)
            if total[verdict]
        ]
        text = (
            f"Every claim that this book tests, by the section that makes it. Of {sum(total.values())}, "
            f"{', '.join(parts)}. Each is a line of {{doc}}`claims`."
        )
        caption = nodes.caption()
        for paragraph in self.parse(text, nodes.container()).children:
            caption += paragraph.children
        figure = nodes.figure("", image, caption, align="center")
        self.options and self.add_name(figure)
        return [figure]


def setup(app):
    app.add_directive("claims", Claims)
    app.add_directive("claims-summary", Summary)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
