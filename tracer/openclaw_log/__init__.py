"""The gateway's log, line by line, to events. Pure: no file, no clock, no thread.

`lines` reads one line of any version, `patterns` names what is worth an event (add one more
there), `incidents` makes one error of the many lines a failure writes, `gateway_log` joins them.
"""

from tracer.openclaw_log.gateway_log import Found, GatewayLog

__all__ = ["Found", "GatewayLog"]
