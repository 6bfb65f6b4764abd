"""What the commands that read the admin port share: where it is, how to ask, how to fail."""

from __future__ import annotations

import json

import click

from mesh.node.options import Address, parse_address
from tools.errors import CommandError, Exit
from tools.view import BadStatusError, View, view_untrusted

ASK_S_MAX = 10.0
DOCUMENT_BYTES_MAX = 16 << 20
TEXT_BYTES_MAX = 300

admin_option = click.option(
    "--admin",
    metavar="HOST:PORT",
    default="127.0.0.1:9094",
    envvar="MESH_ADMIN",
    show_default=True,
    help="Admin port of any node.",
)


class UnreachableError(CommandError):
    """Nobody answered at the admin port."""


def admin_address(text: str) -> Address:
    """Return the address that --admin names.

    Raises:
        CommandError: it names none.
    """
    try:
        return parse_address(text)
    except ValueError as error:
        do = "write it as in 127.0.0.1:9094"
        raise CommandError(f"--admin: {error}", status=Exit.USAGE, do=do) from error


def fetch_document(address: Address) -> dict[str, object]:
    """Return the status document of a node.

    Raises:
        UnreachableError: nobody answered in time.
        CommandError: what answers is no admin port of ours.
    """
    status, document = fetch_json(address, "/status")
    if status != 200:
        raise not_ours(address, f"it answers {status} for /status")
    try:
        view_untrusted(document)
    except BadStatusError as error:
        raise not_ours(address, str(error)) from error
    assert isinstance(document, dict), "a view was made of it"
    return document


def fetch_json(address: Address, path: str) -> tuple[int, object]:
    """Return the HTTP status that a path of the admin port has, and the document there.

    What is no 200 has a text instead.

    Raises:
        UnreachableError: nobody answered in time.
        CommandError: what answers is no admin port of ours.
    """
    import http.client  # 30 ms that other commands do without

    connection = http.client.HTTPConnection(address.host, address.port, timeout=ASK_S_MAX)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(DOCUMENT_BYTES_MAX)
    except http.client.HTTPException as error:
        raise not_ours(address, f"it does not speak HTTP ({type(error).__name__})") from error
    except OSError as error:
        raise UnreachableError(
            f"no node answers at the admin port {address}: {error.strerror or error}",
            status=Exit.CONNECT,
            do="see where the node's ready line says `admin at`, and name that with --admin",
        ) from error
    finally:
        connection.close()
    if response.status != 200:
        return response.status, body[:TEXT_BYTES_MAX].decode(errors="replace").strip()
    try:
        return 200, json.loads(body)
    except (ValueError, RecursionError) as error:
        raise not_ours(address, "its answer is not JSON") from error


def fetch_view(address: Address) -> View:
    """Return the view of a node; raises as `fetch_document` does."""
    return view_untrusted(fetch_document(address))


def not_ours(address: Address, why: str) -> CommandError:
    """Return the error that what answers at an address is no admin port that we understand."""
    return CommandError(
        f"what listens at {address} is no admin port of this release: {why}",
        status=Exit.REFUSED,
        do="name the admin port, not the one for clients: it is two ports after that by default",
    )
