"""Ages and durations as people read them: `4s 12m 3h 2d`. At most four characters up to 999 d."""

_STEPS = ((86400, "d"), (3600, "h"), (60, "m"))


def age(seconds: float | None, none: str = "–") -> str:
    """The largest whole unit, rounded down; `none` when nothing is known. Never negative."""
    if seconds is None:
        return none
    whole = max(0, int(seconds))
    for size, unit in _STEPS:
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def span(seconds: float) -> str:
    """Two units, for what is counted down or has gone on: `1m47s`, `2h51m`, `3d4h`."""
    whole = max(0, int(seconds))
    for size, unit, lower, lower_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // lower}{lower_unit}"
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"


def delay(seconds: float | None, none: str = "–") -> str:
    """A measured delay: `0.4ms 20ms 1.2s 38s 12m`."""
    if seconds is None:
        return none
    if seconds < 0.1:
        millis = seconds * 1000
        return f"{millis:.1f}ms" if millis < 1 else f"{millis:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    return age(seconds)


def number(value: int | None, none: str = "–") -> str:
    """With thousands separators; what could not be read is `none`, never 0."""
    return none if value is None else f"{value:,}"
