"""What we answer: one module per subject, put together in `app`."""
