"""How a command fails: what is wrong, what was kept, what to do, and with which exit status.

Every command raises `CommandError`, or lets a typed exception of the rooms pass; only `tools.cli`
turns them into text and into an exit status.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of `mesh`; scripts lean on them. docs/exit-codes.md is made from this table."""

    OK = 0, "It did what was asked."
    INTERNAL = 1, "An invariant of ours is broken or an error was not foreseen: please report it."
    USAGE = 2, "An unknown flag, command, config key or `MESH_` variable, or a wrong value."
    LISTEN = 3, "The node cannot listen: the port is in use, forbidden or not of this machine."
    DATA = 4, "The data directory is damaged, of another format, or not of this node."
    CONNECT = 5, "Nobody answered at the address or the socket."
    REFUSED = 6, "The broker answered with an error."
    LOCKED = 7, "Another node runs on this data directory."
    DISK = 8, "The disk is full, read-only or fails."
    UNHEALTHY = 10, "`mesh status` had an answer, and by it the mesh is not healthy."
    VIOLATED = 11, "A simulated run violated what must hold; its seed repeats it."
    INTERRUPTED = 130, "Ctrl-C ended a command before its work was done."
    BROKEN_PIPE = 141, "The reader of the output went away, as in `mesh consume … | head`."

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "Exit":
        """Make a member that also carries its line in the table."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


class CommandError(Exception):
    """A command that cannot go on, told so that its reader knows what to do next."""

    def __init__(
        self, wrong: str, *, status: Exit, kept: str | None = None, do: str | None = None
    ) -> None:
        """Say what is wrong; optionally what is safe, and the next step.

        Args:
            wrong: one sentence without a full stop that names the thing (file, address, flag).
            status: exit status of the process.
            kept: what was not harmed or not done.
            do: the next step; commands in it stand in backticks, and each must exist.
        """
        super().__init__(wrong)
        self.wrong = wrong
        self.status = status
        self.kept = kept
        self.do = do


def render(error: CommandError) -> str:
    """Return the lines for stderr, without colour."""
    lines = [f"error: {error.wrong}"]
    if error.kept:
        lines.append(f"  kept:  {error.kept}")
    if error.do:
        lines.append(f"  do:    {error.do}")
    return "\n".join(lines)


def alone(error: BaseException) -> BaseException:
    """Return what an exception group holds if that is one error, else the group itself.

    trio wraps whatever leaves a nursery, however lonely it is.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def exit_code_table() -> str:
    """Return the Markdown table of docs/exit-codes.md."""
    rows = [f"| {member.value} | `{member.name}` | {member.meaning} |" for member in Exit]
    return "\n".join(["| status | name | meaning |", "|---|---|---|", *rows])


def nearest(word: str, words: "list[str] | set[str] | frozenset[str]") -> str | None:
    """Return the known word that an unknown one was probably meant to be."""
    from difflib import get_close_matches  # only ever needed once, on the way out

    found = get_close_matches(word, sorted(words), n=1, cutoff=0.6)
    return found[0] if found else None
