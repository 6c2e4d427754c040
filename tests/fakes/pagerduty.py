"""PagerDuty's Events API v2 on loopback: one alert per dedup_key until it is resolved.

Follows PagerDuty developer docs, "Send an Alert Event" and "Events API v2 Overview" (2026-11):
202 accepted, 400 invalid event, 429 beyond 120 events in a sliding 60 s, 512 kB at most. A
trigger after a resolve under the same key opens a new alert; ack and resolve of an unknown key
are accepted and dropped.
"""

import json
from collections import deque
from dataclasses import dataclass, field

from tests.fakes.loopback import Loopback, Reply, Seen

KEY = "0123456789abcdef0123456789abcdef"
PER_MINUTE = 120


@dataclass
class Alert:
    """One alert as an on-call person would see it."""

    dedup_key: str
    summary: str
    severity: str
    state: str = "triggered"
    repeats: int = 0


@dataclass
class FakePagerDuty:
    """The service's memory. `script` answers first, one reply a request, then the service does."""

    now_s: object = lambda: 0.0
    script: deque = field(default_factory=deque)
    alerts: list = field(default_factory=list)
    events: list = field(default_factory=list)
    _taken_s: deque = field(default_factory=deque)

    def server(self) -> Loopback:
        return Loopback(self._answer)

    def open_alerts(self) -> list:
        return [one for one in self.alerts if one.state != "resolved"]

    def _answer(self, seen: Seen) -> Reply:
        event = json.loads(seen.body)
        if self.script:
            scripted = self.script.popleft()
            if scripted is not None:
                if scripted.cut or scripted.hang:
                    self._take(event)  # taken, but the answer is lost
                return scripted
        now_s = self.now_s()
        while self._taken_s and now_s - self._taken_s[0] > 60:
            self._taken_s.popleft()
        if len(self._taken_s) >= PER_MINUTE:
            return Reply(429, b'{"status":"throttle exceeded"}')
        wrong = _problem(event, seen.body)
        if wrong:
            return Reply(400, json.dumps({"status": "invalid event", "errors": [wrong]}).encode())
        self._taken_s.append(now_s)
        self._take(event)
        body = {"status": "success", "dedup_key": event["dedup_key"]}
        return Reply(202, json.dumps(body).encode())

    def _take(self, event: dict) -> None:
        self.events.append(event)
        key, action = event["dedup_key"], event["event_action"]
        known = next((a for a in self.open_alerts() if a.dedup_key == key), None)
        if action == "trigger" and known is None:
            payload = event["payload"]
            self.alerts.append(Alert(key, payload["summary"], payload["severity"]))
        elif action == "trigger":
            known.repeats += 1
            known.summary = event["payload"]["summary"]
        elif known is not None:
            known.state = "resolved" if action == "resolve" else "acknowledged"


def _problem(event: dict, body: bytes) -> str:
    if len(event.get("routing_key", "")) != 32:
        return "routing_key is invalid"
    if len(event.get("dedup_key", "")) > 255:
        return "dedup_key is too long"
    if len(body) > 512 * 1024:
        return "event is too large"
    payload = event.get("payload", {})
    if event["event_action"] == "trigger":
        if not all(payload.get(name) for name in ("summary", "source", "severity")):
            return "payload is incomplete"
        if len(payload["summary"]) > 1024:
            return "summary is too long"
    return ""
