"""Why a list is empty: first start, nothing configured and all well must not look alike."""

from core.verdict import Verdict
from tui.view.ages import age
from tui.view.moment import Moment


def why_no_incidents(moment: Moment) -> str:
    """The one line that stands where incidents would."""
    board = moment.board
    if board is None:
        return "offline: nothing was read yet" if moment.offline else "the first read is under way"
    if not board.checks and not board.routes:
        return "nothing is configured: add checks or routes, then coalmine check-config"
    if moment.stale:
        return "no incidents in the last board that was read; what is so now is not known"
    waiting = sum(row.age_s is None for row in board.checks)
    if board.checks and waiting == len(board.checks):
        return f"first results are due: none of {waiting:,} checks has reported yet"
    blind = sum(row.verdict is Verdict.BLIND for row in board.checks)
    if blind:
        return f"no incidents, but {blind:,} of {len(board.checks):,} checks are blind"
    ages = [row.age_s for row in board.checks if row.age_s is not None]
    ages += [row.age_s for row in board.routes if row.age_s is not None]
    newest = age(moment.later(min(ages, default=None)))
    oldest = age(moment.later(max(ages, default=None)))
    return f"no incidents; newest result {newest} ago, oldest {oldest}"


def why_no_routes(moment: Moment) -> str:
    """The one line that stands where routes would."""
    if moment.board is None:
        return "offline: nothing was read yet" if moment.offline else "the first read is under way"
    return "no routes are configured: no telemetry is proven to arrive"


def why_no_costs(moment: Moment) -> str:
    """The one line that stands where prices would."""
    if moment.board is None:
        return "offline: nothing was read yet" if moment.offline else "the first read is under way"
    return "nothing is priced: name a price book under cost: price_books"
