"""What is remembered: `ledger`, `state` and `samples`; the only importer of SQLModel.

Three stores, each with one owner, one writer thread and its own file (a schema each on
PostgreSQL); no transaction and no foreign key spans two of them.

ledger.py, state.py, samples.py   the stores: what may be asked and told
rechecks.py                       what is looked for again, in the ledger's own file
stores.py                         opens all three, as the service or as a reader
service.py                        who may be the service: lock, heartbeat, instance
writer.py                         group commit: durable when an await returns, or StoreBusyError
database.py                       engines, pragmas, and our errors for the drivers' errors
*_tables.py, columns.py, documents.py   schema, column types, JSON documents
migrate.py, migrations/           Alembic, always run in a child process
ledger_room.py                    the ledger's bounds: days, bytes, and what goes first
retention.py, packs.py            what history is kept, and how densely
"""

from scheduler.store.ledger import LedgerStore
from scheduler.store.samples import SamplesStore
from scheduler.store.service import is_served
from scheduler.store.state import StateStore
from scheduler.store.stores import Stores, open_reader, open_stores

__all__ = [
    "LedgerStore",
    "SamplesStore",
    "StateStore",
    "Stores",
    "is_served",
    "open_reader",
    "open_stores",
]
