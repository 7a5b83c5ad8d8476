"""OpenClaw's own configuration file, openclaw.json, as data: read, never written; no message has a secret of it."""

from extauthz.openclaw.file import OpenClawError, OpenClawFile, read
from extauthz.openclaw.values import auth_mode, is_reference, references, variables

__all__ = ["OpenClawError", "OpenClawFile", "auth_mode", "is_reference", "read", "references", "variables"]
