"""The root of `mesh`: finds a command, runs it, and turns every failure into text and a status.

Commands are imported when they are asked for, because a node's start is measured from exec.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import TracebackType

import click

from mesh.version import VERSION
from tools.errors import CommandError, Exit, alone, nearest, render

COMMANDS = {
    "node": "tools.node:node",
    "up": "tools.up:up",
    "stop": "tools.stop:stop",
    "leave": "tools.leave:leave",
    "moves": "tools.moves:moves",
    "key": "tools.key:key",
    "status": "tools.status:status",
    "top": "tools.top:top",
    "why": "tools.why:why",
    "topic": "tools.topic:topic",
    "group": "tools.group.command:group",
    "produce": "tools.produce:produce",
    "consume": "tools.consume:consume",
    "bench": "tools.bench.command:bench",
    "simulate": "tools.simulate:simulate",
    "dump": "tools.dump.command:dump",
    "fuzz": "tools.fuzz.command:fuzz",
    "completion": "tools.cli:completion",
}
"""Name → where its click command stands, in the order of `mesh --help`."""


class LazyGroup(click.Group):
    """A group whose commands are imported at first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            guess = nearest(args[0], set(COMMANDS))
            raise CommandError(
                f"there is no command {args[0]!r}",
                status=Exit.USAGE,
                do=f"did you mean `mesh {guess}`?" if guess else "`mesh --help` lists all commands",
            )
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  mesh node                      one node on ./mesh-data, clients on 127.0.0.1:9092
  mesh node --live               the same, with its status on screen
  mesh up --nodes 3              a mesh of three processes on this machine, with its status
  mesh status                    whether it is well, and why not
  mesh top                       what it does, live
  mesh why node 3                why member 3 is alive, suspect, dead or gone
  mesh topic list                what it holds
  mesh group list                who reads it
  mesh produce orders < lines    a record from each line of stdin
  mesh consume orders            what was produced, and what follows
  mesh node --help               what a node can be told
  eval "$(mesh completion bash)" complete commands and flags in this shell
""",
)
@click.version_option(VERSION, prog_name="mesh", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show Python's trace when a command fails.")
def cli(debug: bool) -> None:
    """Gossamer: a broker mesh that speaks the Kafka protocol and has no coordinator."""
    sys.excepthook = sys.__excepthook__ if debug else _show_unforeseen
    if any(name.startswith("MESH_") for name in os.environ):
        from tools.options import check_variables

        check_variables(os.environ)


@click.command(
    epilog="""\b
Examples:
  eval "$(mesh completion bash)"
  mesh completion zsh > ~/.zfunc/_mesh
  mesh completion fish > ~/.config/fish/completions/mesh.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes `mesh` in a shell."""
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    assert completer is not None  # click knows these three
    click.echo(completer(cli, {}, "mesh", "_MESH_COMPLETE").source())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; failures are told on stderr."""
    try:
        result = cli.main(list(arguments), prog_name="mesh", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.UsageError as error:
        return _fail(_usage(error))
    except click.ClickException as error:
        return _fail(CommandError(error.format_message(), status=Exit.USAGE))
    except CommandError as error:
        return _fail(error)
    except BaseExceptionGroup as group:
        # trio wraps what comes out of a nursery, however lonely.
        lonely = alone(group)
        if not isinstance(lonely, CommandError | KeyboardInterrupt | BrokenPipeError):
            raise
        return _fail(lonely)
    except (click.Abort, KeyboardInterrupt, BrokenPipeError) as error:
        return _fail(error)
    return result if isinstance(result, int) else Exit.OK


def _fail(error: BaseException) -> int:
    match error:
        case CommandError():
            if sys.excepthook is sys.__excepthook__ and error.__cause__ is not None:
                sys.excepthook(type(error), error, error.__traceback__)
            click.echo(render(error), err=True)
            return error.status
        case BrokenPipeError():
            # Python would try, and fail, to flush what nobody reads any more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.BROKEN_PIPE
        case _:
            return Exit.INTERRUPTED


def _usage(error: click.UsageError) -> CommandError:
    """Say a wrong flag or value in our own way."""
    path = error.ctx.command_path if error.ctx else "mesh"
    if isinstance(error, click.NoSuchOption):
        guess = f"did you mean {error.possibilities[0]}? " if error.possibilities else ""
        wrong = f"`{path}` has no option {error.option_name}"
    else:
        guess, wrong = "", error.format_message().rstrip(".")
    return CommandError(wrong, status=Exit.USAGE, do=f"{guess}`{path} --help` lists what it takes")


def _show_unforeseen(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Tell of a broken invariant in three lines; Python then exits with status 1."""
    lonely = alone(error)
    click.echo(
        render(
            CommandError(
                f"this is a fault of ours: {type(lonely).__name__}: {lonely}",
                status=Exit.INTERNAL,
                do="run it again as `mesh --debug …` and report the trace",
            )
        ),
        err=True,
    )


def main() -> None:
    """Run the command line of this process and leave it."""
    if not __debug__:
        # Our invariants are asserts: a node that cannot notice a broken one must not run.
        sys.exit(_fail(CommandError("python -O removes our checks", status=Exit.USAGE)))
    sys.exit(run(sys.argv[1:]))
