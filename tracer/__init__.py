"""openclaw-trace: an observability sidecar for one AI agent on one small machine."""

__version__ = "0.1.0"
