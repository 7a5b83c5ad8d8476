"""The configuration file: its schema, its faults, how it is loaded and what it compiles to."""
