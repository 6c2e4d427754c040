"""One record's round trip through each server: what makes it count as started.

A proof is asked again until it holds, so it answers False for anything but success. What it leaves
behind lies in a tenant of its own, or under a name of its own where there are no tenants.
"""

import json
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from urllib.parse import quote

from deploy.stack.ports import HOST

Ports = Mapping[str, int]
Proof = Callable[[Ports], bool]
_TENANT = {"X-Scope-OrgID": "proof"}
# The same in every attempt: a record that shows only later proves the next one.
_TRACE_ID = f"{0xC0A1:032x}"
_CALL_S = 2.0


def status(url: str) -> int:
    """Status of a GET; 0 for no answer."""
    return _ask(url)[0]


def loki(ports: Ports) -> bool:
    """A line pushed is a line found."""
    base = f"{_base(ports)}/loki/api/v1"
    line = [str(time.time_ns()), "proof"]
    pushed = {"streams": [{"stream": {"job": "proof"}, "values": [line]}]}
    code, _ = _ask(f"{base}/push", pushed, _TENANT)
    found = _ask(f"{base}/query_range?query=%7Bjob%3D%22proof%22%7D", headers=_TENANT)[1]
    return code == 204 and '"proof"' in found


def prometheus(ports: Ports) -> bool:
    """A gauge sent by OTLP is found."""
    base = f"{_base(ports)}/api/v1"
    point = {"asDouble": 1, "timeUnixNano": str(time.time_ns())}
    metric = {"name": "launch_proof", "gauge": {"dataPoints": [point]}}
    sent = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}
    code, _ = _ask(f"{base}/otlp/v1/metrics", sent)
    return code == 200 and '"launch_proof"' in _ask(f"{base}/query?query=launch_proof")[1]


def prometheus2(ports: Ports) -> bool:
    """A sample sent by remote write is found."""
    return _written(f"{_base(ports)}/api/v1/write", 204) and _sample(f"{_base(ports)}/api/v1")


def cortex(ports: Ports) -> bool:
    """A sample sent by remote write is found by its tenant."""
    taken = _written(f"{_base(ports)}/api/v1/push", 200, _TENANT)
    return taken and _sample(f"{_base(ports)}/prometheus/api/v1", _TENANT)


def victoria_metrics(ports: Ports) -> bool:
    """A sample sent by remote write is found, once what is buffered is shown."""
    taken = _written(f"{_base(ports)}/api/v1/write", 204)
    flushed = status(f"{_base(ports)}/internal/force_flush") == 200
    return taken and flushed and _sample(f"{_base(ports)}/api/v1")


def jaeger(ports: Ports) -> bool:
    """A span sent by OTLP is found by its id."""
    now = str(time.time_ns())
    span = {"traceId": _TRACE_ID, "spanId": "00000000000000a1", "name": "proof"}
    span |= {"startTimeUnixNano": now, "endTimeUnixNano": now}
    sent = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    code, _ = _ask(f"http://{HOST}:{ports['otlp']}/v1/traces", sent)
    return code == 200 and status(f"{_base(ports)}/api/traces/{_TRACE_ID}") == 200


def zipkin(ports: Ports) -> bool:
    """A span sent is found by its trace id."""
    span = {"traceId": _TRACE_ID, "id": "00000000000000a1", "name": "proof", "duration": 1}
    started = {"timestamp": time.time_ns() // 1000, "localEndpoint": {"serviceName": "proof"}}
    sent = [{**span, **started}]
    code, _ = _ask(f"{_base(ports)}/api/v2/spans", sent)
    return code == 202 and status(f"{_base(ports)}/api/v2/trace/{_TRACE_ID}") == 200


def pushgateway(ports: Ports) -> bool:
    """A group pushed is on the page; it is deleted again."""
    group = f"{_base(ports)}/metrics/job/launch_proof"
    pushed = _ask(group, b"launch_proof 1\n", method="PUT")[0] == 200
    shown = 'launch_proof{instance="",job="launch_proof"} 1' in _ask(f"{_base(ports)}/metrics")[1]
    return _ask(group, method="DELETE")[0] == 202 and pushed and shown


def toxiproxy(ports: Ports) -> bool:
    """A request through a proxy arrives; the proxy, to its own API, is deleted again."""
    proxies = f"{_base(ports)}/proxies"
    wanted = {"name": "proof", "listen": f"{HOST}:0", "upstream": f"{HOST}:{ports['http']}"}
    code, made = _ask(proxies, {**wanted, "enabled": True})
    arrived = code == 201 and status(f"http://{json.loads(made)['listen']}/version") == 200
    return _ask(f"{proxies}/proof", method="DELETE")[0] == 204 and arrived


def blackbox(ports: Ports) -> bool:
    """It finds itself alive."""
    target = quote(f"{_base(ports)}/-/healthy", safe="")
    return "\nprobe_success 1" in _ask(f"{_base(ports)}/probe?module=http_2xx&target={target}")[1]


def alertmanager(ports: Ports) -> bool:
    """It answers: an alert sent would page whoever its test has as a receiver."""
    return status(f"{_base(ports)}/api/v2/status") == 200


def collector(ports: Ports) -> bool:
    """Those of its OTLP and metrics ports that its config names answer.

    Its targets are proven by now; sending through it would leave records in their stores. The
    health endpoint may answer before the receiver listens, which answers a GET with an error.
    """
    receives = "http" not in ports or status(f"{_base(ports)}/v1/logs") != 0
    tells = "metrics" not in ports or status(f"http://{HOST}:{ports['metrics']}/metrics") == 200
    return receives and tells


def _base(ports: Ports) -> str:
    return f"http://{HOST}:{ports['http']}"


def _ask(
    url: str, body: object = None, headers: Mapping[str, str] | None = None, method: str = ""
) -> tuple[int, str]:
    """Status and text of a GET, or of a POST of JSON, bytes as they are; (0, "") for no answer."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    fixed = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, headers=fixed, method=method or None)
    try:
        with urllib.request.urlopen(request, timeout=_CALL_S) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as exc:
        exc.close()
        return exc.code, ""
    except OSError:
        return 0, ""


def _written(url: str, success: int, headers: Mapping[str, str] | None = None) -> bool:
    """Send one sample by remote write 1.0 (prometheus.io/docs/specs/prw/remote_write_spec)."""
    fixed = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    name = _field(1, b"__name__") + _field(2, b"launch_proof")
    sample = b"\x09" + struct.pack("<d", 1.0) + b"\x10" + _varint(time.time_ns() // 1_000_000)
    request = _field(1, _field(1, name) + _field(2, sample))
    # Snappy with a single literal: the length, then its tag, good for up to 60 bytes.
    body = _varint(len(request)) + bytes([(len(request) - 1) << 2]) + request
    return _ask(url, body, {**fixed, **(headers or {})})[0] == success


def _sample(base: str, headers: Mapping[str, str] | None = None) -> bool:
    # Without a time, some of these round it down, to before the sample.
    found = _ask(f"{base}/query?query=launch_proof&nocache=1&time={time.time():.3f}", None, headers)
    return '"launch_proof"' in found[1]


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low = bytearray()
    while value > 0x7F:
        low.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*low, value])
