"""From what an operator has at hand to its explanation: a request written down, a capture, a line of a log.

What decides is core; what reads options and prints is cli. Here is what lies between, for `explain` and the console.
"""

from extauthz.explaining.requests import Explained, ExplainedStep, explain_request

__all__ = ["Explained", "ExplainedStep", "explain_request"]
