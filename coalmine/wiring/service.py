"""The service: starts everything in order, reloads it as a whole, and ends it in order."""

import asyncio
import logging
import os
import random
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from coalmine.config.parsed import Config
from coalmine.config.reload import ConfigWatch, Loaded, Refused
from coalmine.wiring.money import Money
from coalmine.wiring.paging import CONFIG_CHECK, ENGINE_CHECK, paging_config
from coalmine.wiring.picture import balance_rows, finding_facts, route_row
from coalmine.wiring.plan import Plan, Works, build_plan, lanes
from coalmine.wiring.serving import Serving
from coalmine.wiring.told import incident_rows, log_rows
from core.clock import Clock, instant
from core.egress import Egress
from core.errors import CoalmineError
from core.kinds import Parts
from core.outbound.client import CurlOutbound
from core.reason import Reason
from core.resolve import Resolver
from core.result import Result, RunEnvelope, Trust
from core.verdict import Verdict
