"""How the service is configured: settings, logs, and files for those who deploy it."""
