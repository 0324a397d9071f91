"""Measures the sidecar beside a bare Falcon application in one run: `make bench`."""
