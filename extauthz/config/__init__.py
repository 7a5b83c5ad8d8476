"""The configuration file: its schema, its faults, how it is loaded and what it compiles to."""

from extauthz.config.no_plugins import leave_out_plugins

leave_out_plugins()
