"""What a run keeps: the ledger, the tables, the folder."""
