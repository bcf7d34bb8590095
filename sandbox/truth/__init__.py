"""What a state says: the ledger, names, the state format, /proc; of words and a kernel alone."""
