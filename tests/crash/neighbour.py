"""The other process on a file: `<path> watch` says how many rows there are, whenever that changes; `<path> write` appends.

Who watches is otherwise idle. Who writes says which row, once it is in the log.
"""

import sys
from itertools import count

from tests.crash.processes import order, say
from tests.todo_app import TodoAdded, todo_app


def main() -> None:
    """Do what the word says, until the end of standard input or being killed."""
    path, work = order()
    with todo_app().open(path, durability="relaxed") as space:
        if work == "watch":
            with space.subscribe("SELECT count(*) FROM todo", lambda answer: say(answer[0][0])):
                sys.stdin.readline()
        else:
            for number in count():
                space.append(TodoAdded(id=str(number), text="a"))
                say(number)


if __name__ == "__main__":
    main()
