"""Seven admin clients of five languages' libraries run one story against a node of ours."""

from __future__ import annotations

import pytest

from mesh.broker.handlers import HANDLERS
from tests.interop.admins.clients import ADMINS, Admin, differing, fill
from tests.interop.admins.steps import STEPS
from tests.interop.node import NODE_COUNT, MeshNode


@pytest.mark.parametrize("admin", ADMINS.values(), ids=lambda admin: admin.name)
def test_an_admin_client_gets_what_it_asks_for(admin: Admin, mesh_node: MeshNode) -> None:
    """Every call that the library has does what it should, and every wrong one says so."""
    if (reason := admin.missing()) is not None:
        pytest.skip(reason)
    topic = f"admin-{admin.name}"
    fill(mesh_node.bootstrap, f"{topic}-filled")
    said = admin.administer(mesh_node.bootstrap, topic, f"{topic}-filled")
    unserved = {name for name, step in STEPS.items() if step.api_key not in HANDLERS}
    said = {name: result for name, result in said.items() if name not in unserved}
    found = differing(admin, said, NODE_COUNT)
    assert [line for line in found if line.split(":")[0] not in unserved] == []
