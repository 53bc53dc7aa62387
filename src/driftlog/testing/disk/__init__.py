"""A disk that writes down what SQLite does to it, and what a power cut may make of that.

    with SimulatedDisk(directory) as disk:
        with app.open(directory / "todos.db", vfs=disk.vfs) as space:
            space.append(...)
            disk.mark("acknowledged")           # what was so by then, for whoever looks at a cut
    for cut in cuts(disk.journal):              # one for every change of a file
        write_image(cut.image(power_cut(seed)), elsewhere)

One run gives every cut: the journal is recorded once, and what the files may be after a cut at any place is computed from
it (`replaying`, which is pure). The files are real ones, wherever `directory` is, so that WAL and its shared memory work;
put it on a file system in memory. `disk.faults` is asked before each operation, and may raise what a failing or full disk
would. A relay's disk is simulated alike: `RelayConfig(path, vfs=disk.vfs)`.

Left out: what the file system's own journal may break, and disks that lose what was synced long ago (flip bits for that).
"""

from driftlog.testing.disk.faults import Fault, OneFault, Room
from driftlog.testing.disk.journal import Journal, Marked, Operation
from driftlog.testing.disk.replaying import KEPT, SYNCED, Cut, Image, cuts, power_cut, write_image
from driftlog.testing.disk.vfs import SimulatedDisk

__all__ = [
    "KEPT",
    "SYNCED",
    "Cut",
    "Fault",
    "Image",
    "Journal",
    "Marked",
    "OneFault",
    "Operation",
    "Room",
    "SimulatedDisk",
    "cuts",
    "power_cut",
    "write_image",
]
