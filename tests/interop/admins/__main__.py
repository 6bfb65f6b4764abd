"""`python -m tests.interop.admins BOOTSTRAP [CLIENT ...]`: run the story against any broker."""

from __future__ import annotations

import sys
import uuid

from tests.interop.admins.clients import ADMINS, differing, fill


def main(bootstrap: str, *names: str) -> None:
    """Print what differs from what must come of it; nothing is good news."""
    for name in names or ADMINS:
        admin = ADMINS[name]
        topic = f"admin-{name}-{uuid.uuid4().hex[:8]}"
        if (reason := admin.missing()) is not None:
            print(f"{name}: skipped, {reason}")
            continue
        fill(bootstrap, f"{topic}-filled")
        for line in differing(admin, admin.administer(bootstrap, topic, f"{topic}-filled")):
            print(f"{name}: {line}")


if __name__ == "__main__":
    main(*sys.argv[1:])
