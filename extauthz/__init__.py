"""extauthz: one external authorizer for many Gateways."""

__version__ = "0.1.0"
