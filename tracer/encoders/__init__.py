"""How rows are shipped: one module per format, pure functions from rows to bytes."""
