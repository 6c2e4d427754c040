"""Every real server starts, carries a record, tells its version, keeps to loopback, and stops."""

import os
import re
import socket
from pathlib import Path

import pytest

from deploy.stack.launch import LaunchError
from deploy.stack.specs import SPECS
from tests.support.servers import listeners, stack_of

pytestmark = pytest.mark.stack

STORES = sorted(set(SPECS) - {"otelcol"})


@pytest.mark.parametrize("name", STORES)
def test_it_starts_carries_a_record_keeps_to_loopback_and_stops(name, tmp_path, record_property):
    stack = stack_of(tmp_path, name, substitutions={"webhook": "http://127.0.0.1:9"})
    with stack:
        server = stack[name]
        record_property("server", f"{name} {server.version}")
        print(f"{name} {server.version}")
        assert re.match(r"\d+\.\d+\.\d+", server.version), server.version
        waits, pid = listeners(server.process.pid), server.process.pid
        assert server.spec.prove(server.ports)
    assert [wait for wait in waits if not wait[1].is_loopback] == []
    assert server.ports["http"] in {port for _, _, port in waits} <= set(server.ports.values())
    assert server.process is None
    assert not Path(f"/proc/{pid}").exists()
    assert not server.spec.prove(server.ports), "nobody is left to answer"


def test_a_listener_on_all_interfaces_would_be_seen():
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("0.0.0.0", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        seen = {(how, str(address), port) for how, address, port in listeners(os.getpid())}
        assert ("tcp", "0.0.0.0", tcp.getsockname()[1]) in seen
        assert ("udp", "127.0.0.1", udp.getsockname()[1]) in seen


def test_a_server_that_cannot_start_says_why(tmp_path):
    why = r"(?s)loki is not ready.*no_such_key"
    with stack_of(tmp_path, "loki") as stack, pytest.raises(LaunchError, match=why):
        stack.reconfigure("no_such_key: 1", "loki")
