"""What is remembered: ledger, state and samples; the only importer of SQLModel."""
