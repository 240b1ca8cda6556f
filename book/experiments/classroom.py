"""What a class needs: memory of each chapter's kernel, and the time from opening it to its first picture.

`python book/experiments/classroom.py [CHAPTER ...]` runs chapters (all, if none is named) cell by cell, each in a kernel
of its own with one thread, and notes them in classroom.json beside itself. Times count from the start of the kernel, in
seconds of the clock and in seconds that a processor worked for it; where other programs run too, the latter is the fairer.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from shared import refuse_own_weights, store

FOLDER = Path(__file__).parent
RESULT = FOLDER / "classroom.json"
PICTURES = {"image/png", "application/vnd.jupyter.widget-view+json"}


class Watched(NotebookClient):
    """Runs a notebook, and notes when a picture first comes and what its kernel holds after each cell."""

    def watch(self):
        self.began, self.first, self.resident, self.own = time.monotonic(), None, [], []
        self.on_cell_executed = self.note
        self.execute()
        return {
            "first_picture_s": self.first[0], "first_picture_cpu_s": self.first[1],
            "seconds": self.last[0], "cpu_s": self.last[1],
            "resident_mb": round(self.resident[-1]), "peak_mb": round(max(self.resident)), "own_mb": round(max(self.own)),
        }  # fmt: skip

    def note(self, cell, cell_index, execute_reply):
        kernel = psutil.Process(self.km.provisioner.pid)
        family = [kernel, *kernel.children(recursive=True)]
        held = [process.memory_full_info() for process in family]
        self.resident.append(sum(memory.rss for memory in held) / 1e6)
        # what no other kernel can share, such as libraries
        self.own.append(sum(memory.uss for memory in held) / 1e6)
        worked = kernel.cpu_times()  # of children too, once they have ended
        cpu = worked.user + worked.system + worked.children_user + worked.children_system
        self.last = round(time.monotonic() - self.began, 1), round(cpu, 1)
        seen = {mime for output in cell.outputs for mime in output.get("data", {})}
        if self.first is None and seen & PICTURES:
            self.first = self.last


def run(path):
    """Runs one notebook. Returns its times in seconds and its memory in megabytes."""
    notebook = nbformat.read(path, as_version=4)
    return Watched(
        notebook, timeout=1800, resources={"metadata": {"path": str(path.parent)}}
    ).watch()


def main(wanted):
    refuse_own_weights()
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernels inherit it
    known = json.loads(RESULT.read_text(encoding="utf-8"))["chapters"] if RESULT.exists() else {}
    for path in sorted(FOLDER.parent.glob("0*.ipynb")):
        if not wanted or path.stem in wanted:
            known[path.stem] = run(path)
            machine = f"{psutil.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
            store(
                RESULT,
                {"machine": machine, "chapters": dict(sorted(known.items()))},
                __file__,
                indent=1,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
