"""After damage: finding it, and saving what can be read. Steps of the janitor's pass."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import peewee

from tracer import maintenance, store_file
from tracer.store import Store

log = logging.getLogger(__name__)

Step = Callable[[Callable[[Store], Any]], Any]
"""Has the writer do something and gives its result."""


def look_for_damage(store: Store, step: Step) -> None:
    """Reads the whole database if it was not closed properly. Damaged, it is to be opened anew,
    which moves it aside. Blocks for seconds.
    """
    generation = store.generation
    if store.is_checked:
        return
    damage = None
    try:
        damage = next((fault for fault in maintenance.faults(store) if fault is not None), None)
    except (peewee.DatabaseError, sqlite3.DatabaseError) as error:
        if not store_file.is_corruption(error):
            raise
        damage = str(error)
    if store.generation != generation:
        return
    store.is_checked = True
    if damage is None:
        log.info("the database was not closed properly, and is whole")
    else:
        give_up(store, step, damage)


def give_up(store: Store, write: Step, damage: str) -> None:
    """Has a damaged database closed; the writer opens it anew, which moves it aside."""
    generation = store.generation

    def close(store: Store) -> None:
        if store.generation == generation:
            store.close_damaged(f"the database is damaged ({damage})")

    write(close)


def save_rows(store: Store, step: Step, report: Callable[[str], None]) -> None:
    """Copies what can be read of a database that was moved aside into the new one.

    What it had by its own count and could not be read is counted as deleted by damage.
    """
    aside = store.quarantined
    if aside is None:
        return
    from tracer import salvage  # needed once in a lifetime

    had, saved = salvage.counted_rows(aside), Counter[str]()
    for chunk in salvage.chunks(aside):
        saved += step(partial(salvage.store_chunk, chunk=chunk))
    step(partial(salvage.finish, lost=had - saved))
    of = f"of {had.total()} rows " if had else "of an unknown number of rows "
    report(f"{of}in {aside.name}, {saved.total()} could be read and were taken over")
