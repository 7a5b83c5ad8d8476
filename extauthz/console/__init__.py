"""The console: a page to look at a running service, read-only. Here is what it shows; `doors/admin.py` serves it.

The page itself lies in `static/` and has no build step. It gets data as JSON; nothing can be changed through it.
"""

from extauthz.console.console import Console

__all__ = ["Console"]
