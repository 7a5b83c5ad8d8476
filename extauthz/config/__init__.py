"""The configuration file: its schema, its faults, how it is loaded and what it compiles to."""

import os

# Else pydantic looks through every installed package for plugins, and loads them: code of others, which would see every
# configuration, and some of the time that a start takes.
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
