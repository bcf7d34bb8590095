"""The model held against recordings of real kernels: states, stores, and the report."""
