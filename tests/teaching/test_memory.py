"""A kernel holds what its notebook needs, and loads nothing large that it does not."""

import subprocess
import sys

import pytest

FREED = """
import psutil
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell({setup!r})
before = psutil.Process().memory_info().rss
shell.run_cell("blocks = [numpy.ones(5000) for _ in range(5000)]; last = blocks[-1]; del blocks")
print((psutil.Process().memory_info().rss - before) / 1e6)
"""


def said(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_what_a_cell_frees_goes_back():
    """Of 200 MB in blocks too small for a map of their own, the last in memory is still in use."""
    asked = "import numpy; from dcgan_book.teaching import memory; memory.give_back_after_cells()"
    kept, given_back = (
        float(said(FREED.format(setup=setup))) for setup in ("import numpy, dcgan_book", asked)
    )
    assert kept > 100 and given_back < 20, (kept, given_back)


def test_weights_and_live_figures_load_nothing_large():
    """Random weights on PyTorch's device "meta" would import its compiler: 70 MB and a second for every kernel; and
    chapters 1 and 2 need no scikit-learn, 80 MB."""
    program = 'import sys; from dcgan_book import live, measure, pretrained; pretrained.load("rooms"); print(*sys.modules)'
    assert not {"torch._dynamo", "sklearn"} & set(said(program).split())
