"""OpenClaw's own configuration file, openclaw.json, as data: read, never written; no message has a secret of it."""

from extauthz.openclaw.file import OpenClawError, OpenClawFile, read

__all__ = ["OpenClawError", "OpenClawFile", "read"]
