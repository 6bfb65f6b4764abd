"""The root: every failure becomes text and a status, and every word in our texts is true."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from mesh.node.options import Address, ListenError, NodeOptions
from mesh.registry import DamagedRecordError, NewerRecordError, UnfitNodeError
from mesh.version import VERSION
from storage.disk import DiskError, DiskFull, Locked, ReadOnly, SyncFailed
from storage.errors import BadMeta, DamagedLog, NewerFormat, WrongTopicId
from tools import cli
from tools.errors import CommandError, Exit, alone, exit_code_table, render
from tools.node import explain

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mesh", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version_is_the_one_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """`mesh --version` tells the version that pyproject.toml reads."""
    assert cli.run(["--version"]) == Exit.OK
    assert capsys.readouterr().out == f"mesh {VERSION}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nod"], "did you mean `mesh node`?"),
        (["zzzzzz"], "`mesh --help` lists all commands"),
        (["node", "--dta", "x"], "did you mean --data?"),
        (["node", "--data"], "--data"),
        (["completion", "tcsh"], "tcsh"),
        (["node", "surplus"], "surplus"),
    ],
)
def test_wrong_words_are_named(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong command, flag or value has status 2 and a text that names it or the nearest."""
    assert cli.run(arguments) == Exit.USAGE
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert told in output.err


def test_without_a_command_the_help_goes_to_stderr() -> None:
    """`mesh` alone shows its help and is no success."""
    result = run()
    assert (result.returncode, result.stdout) == (Exit.USAGE, "")
    assert result.stderr.startswith("Usage: mesh")


def test_unknown_variable_stops_any_command() -> None:
    """A misspelt MESH_ variable is named with the nearest one, whatever the command."""
    result = run("completion", "fish", MESH_DATTA="x")
    assert result.returncode == Exit.USAGE
    assert "MESH_DATTA" in result.stderr
    assert "MESH_DATA" in result.stderr.splitlines()[1]


def test_optimised_python_is_refused() -> None:
    """With python -O our invariants would go unchecked, so no command runs."""
    result = subprocess.run(
        [sys.executable, "-O", "-m", "mesh", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == Exit.USAGE
    assert "python -O" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_mesh(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shell gets a script that calls back into `mesh`."""
    assert cli.run(["completion", shell]) == Exit.OK
    assert "_MESH_COMPLETE" in capsys.readouterr().out


def test_the_trace_is_for_those_who_ask(tmp_path: Path) -> None:
    """A failure is three lines; with --debug Python's trace stands above them."""
    listen = ("node", "--data", str(tmp_path / "data"), "--listen", "192.0.2.1:1")
    plain, debug = run(*listen), run("--debug", *listen)
    assert plain.returncode == debug.returncode == Exit.LISTEN
    assert plain.stderr.startswith("error: ")
    assert "Traceback" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)


def test_completion_answers_with_commands() -> None:
    """What a shell asks while completing `mesh no` is answered with `node`."""
    result = run(_MESH_COMPLETE="bash_complete", COMP_WORDS="mesh no", COMP_CWORD="1")
    assert result.stdout == "plain,node\n"


def test_three_lines_say_what_was_kept_and_what_to_do() -> None:
    """An error is rendered as what is wrong, what is safe and the next step, without colour."""
    error = CommandError("a is wrong", status=Exit.DATA, kept="b", do="c")
    assert render(error) == "error: a is wrong\n  kept:  b\n  do:    c"
    assert render(CommandError("a is wrong", status=Exit.DATA)) == "error: a is wrong"


def test_a_lonely_error_leaves_its_groups() -> None:
    """Groups around one error are taken off; a group of two stays."""
    error = ValueError("x")
    assert alone(ExceptionGroup("a", [ExceptionGroup("b", [error])])) is error
    pair = ExceptionGroup("a", [error, KeyError("y")])
    assert alone(pair) is pair


def test_exit_code_table_is_current() -> None:
    """docs/exit-codes.md holds the table that the code defines."""
    assert exit_code_table() in (ROOT / "docs/exit-codes.md").read_text()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ListenError(Address("127.0.0.1", 1), OSError(98, "Address already in use")), Exit.LISTEN),
        (ListenError(Address("10.0.0.1", 1), OSError(99, "Cannot assign")), Exit.LISTEN),
        (Locked("d", "is locked"), Exit.LOCKED),
        (ReadOnly("d", "is read-only"), Exit.DISK),
        (DiskFull("d", "is full"), Exit.DISK),
        (SyncFailed("d", "EIO"), Exit.DISK),
        (DiskError("d", "EIO"), Exit.DISK),
        (NewerFormat("d"), Exit.DATA),
        (BadMeta("d"), Exit.DATA),
        (DamagedLog("f", 3, 4, "CRC-32C differs"), Exit.DATA),
        (WrongTopicId("d", b"a", b"b"), Exit.DATA),
        (DamagedRecordError(0, 7, "it is no map"), Exit.DATA),
        (NewerRecordError(0, 7, "its format is 9"), Exit.DATA),
        (UnfitNodeError("the mesh uses level 9 of x"), Exit.DATA),
    ],
)
def test_failures_of_a_node_have_their_status(error: Exception, status: Exit) -> None:
    """Each kind of failure has its own status, and its text keeps what the error says."""
    told = explain(error, NodeOptions(data_directory="./n1"))
    assert told is not None
    assert told.status == status
    assert told.do
    assert any(part in told.wrong for part in (str(error), "./n1", "127.0.0.1:1"))


@pytest.mark.parametrize(
    "error", [NewerFormat("d"), NewerRecordError(0, 7, "x"), UnfitNodeError("x")]
)
def test_what_a_later_release_wrote_is_not_called_damage(error: Exception) -> None:
    """Nobody is told to bring back a file that is whole: it takes another release."""
    told = explain(error, NodeOptions())
    assert told is not None
    assert told.do is not None
    assert "release" in told.do
    assert "copy" not in told.do


def test_our_own_faults_are_not_explained_away() -> None:
    """A broken invariant is no failure of the world: it keeps its trace."""
    assert explain(AssertionError("x"), NodeOptions()) is None


def _commands(
    group: Mapping[str, click.Command], path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    for name, command in group.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _commands(command.commands, (*path, name))


def _every_command() -> set[tuple[str, ...]]:
    context = click.Context(cli.cli)
    roots = {name: cli.cli.get_command(context, name) for name in cli.cli.list_commands(context)}
    return set(_commands({name: c for name, c in roots.items() if c is not None}))


def _texts() -> Iterator[tuple[Path, str]]:
    for room in ("mesh", "storage", "tools"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path, node.value


def test_texts_name_only_commands_that_exist() -> None:
    """Every `mesh …` in backticks in our texts, and every example, is a command that we have."""
    known = _every_command()
    unknown = []
    count = 0
    for path, text in _texts():
        quoted = re.findall(r"`mesh ([a-z][a-z ]*)", text)
        quoted += re.findall(r"^  mesh ([a-z][a-z ]*)", text, re.MULTILINE)
        for words in quoted:
            count += 1
            path_of_words = tuple(words.split())
            if not any(path_of_words[: len(command)] == command for command in known):
                unknown.append(f"{path.relative_to(ROOT)}: mesh {words}")
    assert count > 10
    assert unknown == []


def test_every_command_has_examples() -> None:
    """`--help` of each command that does something shows how to use it."""
    context = click.Context(cli.cli)
    lacking = []
    for name in cli.cli.list_commands(context):
        command = cli.cli.get_command(context, name)
        assert command is not None
        commands = command.commands.values() if isinstance(command, click.Group) else [command]
        lacking += [c.name for c in commands if "Examples:" not in (c.epilog or "")]
    assert lacking == []


def test_a_node_loads_nothing_that_it_does_not_need() -> None:
    """What only drawing, benches or clients need is not imported on the way to a node."""
    script = (
        "import sys, tools.cli, tools.node\n"
        "print(*{m.partition('.')[0] for m in sys.modules}, *[m for m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "tools.node" in loaded
    assert loaded.isdisjoint({"rich", "multiprocessing", "tools.bench", "mesh.client", "difflib"})
