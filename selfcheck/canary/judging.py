"""Every constant by which canaries are sent, looked for and judged: the `judging:` options."""

from typing import Self

from pydantic import Field, model_validator

from core.options import Duration, Options, Size


class JudgingRules(Options):
    """What may be written under `judging:`, at top level and per route."""

    # Sending.
    min_interval: Duration = Field(5.0, description="Shortest interval of a route.")
    max_interval: Duration = Field(3600.0, description="Longest interval of a route.")
    injection_deadline: Duration = Field(10.0, description="All tries of one canary.")
    store_deadline: Duration = Field(5.0, description="Until a ledger row must be durable.")
    # Looking.
    first_read_after: Duration = Field(1.0, description="Earliest first look after the receipt.")
    poll_first: Duration = Field(2.0, description="Gap between the first and the second look.")
    poll_factor: float = Field(1.5, ge=1, le=10, description="Growth of the gap between looks.")
    poll_max: Duration = Field(15.0, description="Largest gap before the deadline.")
    poll_late_max: Duration = Field(60.0, description="Largest gap for what is lost or unknown.")
    poll_jitter: float = Field(0.2, ge=0, le=0.5, description="Share of a gap left to chance.")
    reads_per_minute: float = Field(
        12.0,
        gt=0,
        description=(
            "Read budget of a route; unless it is said, at least 1.8 a canary where a store is "
            "asked for one at a time, and 3 with `slow_after`."
        ),
    )
    read_burst: int = Field(24, ge=2, description="Reads that the budget can save up.")
    catch_up_per_minute: float = Field(
        120.0, gt=0, description="Reads that make up for those which an outage kept back."
    )
    read_timeout: Duration = Field(10.0, description="Deadline of one read.")
    batch_rows: int = Field(500, ge=1, le=5000, description="Canaries asked for in one read.")
    all_paths_every: int = Field(
        5,
        ge=1,
        description=(
            "One canary in so many by every path; of a route that sends more rarely than every "
            "10 s, one in fewer."
        ),
    )
    cached_every: Duration = Field(900.0, description="Between two tests of what caches answer.")
    backoff_first: Duration = Field(1.0, description="Wait after the first read error.")
    backoff_max: Duration = Field(60.0, description="Largest wait between read errors.")
    retry_after_max: Duration = Field(600.0, description="Largest Retry-After that is honoured.")
    recheck_every: int = Field(
        60, ge=0, description="One seen canary in so many is looked for again; 0 = none."
    )
    rechecks_per_minute: float = Field(2.0, gt=0, description="Recheck reads of a route.")
    # Judging.
    deadline_floor: Duration = Field(30.0, description="No deadline is shorter.")
    deadline_ceiling: Duration = Field(900.0, description="No deadline is longer.")
    deadline_margin: Duration = Field(30.0, description="Added to what was learned.")
    deadline_cold: Duration = Field(60.0, description="Least deadline of a new route.")
    deadline_slack: Duration = Field(1.0, description="The read at the deadline may start later.")
    few_sightings: int = Field(20, ge=1, description="Below it the cold deadline holds.")
    many_sightings: int = Field(1000, ge=2, description="From here the 99.9th percentile counts.")
    confirm_after: Duration = Field(5.0, description="From an empty read to the confirming one.")
    target_margin: Duration = Field(5.0, description="Least delay target above the path's floor.")
    # Own volume, per backend.
    cap_bytes_per_day: Size | None = Field(None, description="Canary bytes sent, per UTC day.")
    cap_reads_per_day: int | None = Field(None, ge=1, description="Reads made, per UTC day.")
    # The verdict of a route.
    window: int = Field(6, ge=2, le=100, description="Judged canaries that make the verdict.")
    losses_to_fail: int = Field(2, ge=1, description="Losses in the window that are a failure.")
    oks_to_clear: int = Field(2, ge=1, description="Newest canaries ok before a failure clears.")
    hour_losses: int = Field(3, ge=1, description="Losses in an hour that degrade a route …")
    hour_share: float = Field(0.01, gt=0, le=1, description="… when they are this share.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuse limits that contradict each other."""
        if self.deadline_floor > self.deadline_ceiling:
            raise ValueError("deadline_floor is above deadline_ceiling")
        if self.few_sightings > self.many_sightings:
            raise ValueError("few_sightings is above many_sightings")
        if max(self.losses_to_fail, self.oks_to_clear) > self.window:
            raise ValueError("window is smaller than losses_to_fail or oks_to_clear")
        return self
