"""Boards, rules and provisioning as files: built here, committed, and compared in CI."""

import io
import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from ruamel.yaml import YAML

from core.generated import Generated
from dashboards.boards import trust
from dashboards.rules import RULES, AlertRule

RUNBOOK = "dashboards/runbooks/coalmine.md"
_BOARDS = {"coalmine-trust": trust.build}


def board_json(uid: str) -> str:
    """The board as Grafana imports it: sorted keys, panel ids, not editable."""
    text = JSONEncoder(sort_keys=True, indent=2).encode(_BOARDS[uid](uid).build())
    board: dict[str, Any] = json.loads(text)  # Grafana's own schema
    board["editable"] = False
    for number, panel in enumerate(board["panels"], 1):
        panel["id"] = number
    return json.dumps(board, sort_keys=True, indent=2) + "\n"


def rules_yaml() -> str:
    """The alert rules as a Prometheus rule file."""
    rules = [_rule(rule) for rule in RULES]
    return _yaml({"groups": [{"name": "coalmine", "rules": rules}]})


def _rule(rule: AlertRule) -> dict[str, object]:
    return {
        "alert": rule.name,
        "expr": rule.expr,
        "for": rule.hold,
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "matches": rule.matches,
            "runbook_url": f"{RUNBOOK}#{rule.name.lower()}",
            "dashboard_uid": "coalmine-trust",
        },
    }


def provisioning_yaml() -> str:
    """A Grafana provider that loads the boards from a folder."""
    provider = {"name": "coalmine", "type": "file", "folder": "Coalmine",
                "options": {"path": "/var/lib/grafana/dashboards/coalmine"}}  # fmt: skip
    return _yaml({"apiVersion": 1, "providers": [provider]})


def _yaml(data: object) -> str:
    writer = YAML()
    writer.width = 4096
    stream = io.StringIO()
    writer.dump(data, stream)
    return stream.getvalue()


def files() -> dict[str, str]:
    """Every generated file by name."""
    boards = {f"{uid}.json": board_json(uid) for uid in _BOARDS}
    return {**boards, "coalmine.rules.yml": rules_yaml(), "provisioning.yml": provisioning_yaml()}


GENERATED = Generated(Path(__file__).parent / "generated", files)
