"""fills in missing costs from the price table

A cost that the agent sent is never changed. It works beside the running service, in small
transactions, and may be ended and begun again at any time. Rows that were pushed before stay
pushed: the remote keeps what it got.
"""

import argparse
from typing import Final

from config.settings import Settings
from tracer import parts
from tracer.cli import database
from tracer.cli.exits import Exit
from tracer.cli.repricing import Outcome, reprice
from tracer.cli.screen import Screen, Table
from tracer.cli.units import count, usd
from tracer.quality import Quality

MOST_MODELS: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which rows, and whether in earnest."""
    parser.add_argument(
        "--all",
        action="store_true",
        help="also compute anew what was computed with other prices",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")


def run(args: argparse.Namespace, settings: Settings, screen: Screen) -> Exit:
    """Reads prices as the service does: the shipped table and TRACE_PRICES_PATH."""
    database.check(settings.db_path)
    prices, outcome = parts.build_prices(settings, Quality()), Outcome()
    try:
        with screen.progress("repricing") as progress:
            reprice(
                settings.db_path,
                prices,
                outcome,
                every_computed=args.all,
                is_dry_run=args.dry_run,
                progress=progress,
            )
    except Exception:
        if not screen.is_json:  # there it would be a second object beside the error
            _show(screen, outcome, is_dry_run=args.dry_run)
        raise
    except KeyboardInterrupt:  # what is committed is committed
        _show(screen, outcome, is_dry_run=args.dry_run)
        raise
    _show(screen, outcome, is_dry_run=args.dry_run)
    return Exit.OK


def _show(screen: Screen, outcome: Outcome, *, is_dry_run: bool) -> None:
    if screen.is_json:
        screen.data({**vars(outcome), "dry_run": is_dry_run})
        return
    would = "would get" if is_dry_run else "got"
    sign = "+" if outcome.added_usd >= 0 else "-"
    change = f"{sign}{usd(abs(outcome.added_usd))} altogether"
    screen.say(f"{count(outcome.changed)} calls {would} a new cost, {change}")
    if outcome.pushed:
        screen.say(f"{count(outcome.pushed)} of them were pushed before, the remote keeps the old")
    if outcome.without_price:
        most = outcome.without_price.most_common(MOST_MODELS)
        rows = [(name, count(calls)) for name, calls in most]
        screen.tables(Table("Still without a price", ("model", ">calls"), rows))
