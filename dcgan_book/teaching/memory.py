"""What a notebook's cell has freed goes back to the system, so that a class of thirty fits on one machine.

glibc keeps freed memory, in case it is wanted again; of a chapter's kernel that is up to a third
(`book/experiments/classroom.py` measures it).
"""

import ctypes
import sys


def give_back_after_cells():
    """Lets IPython hand freed memory back after each cell. Does nothing outside IPython, or without glibc."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows has none of that kind
        return
    if shell is not None:
        shell.events.register("post_run_cell", lambda _result: trim(0))
