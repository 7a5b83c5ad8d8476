"""What `make run` runs: the programs, how they are put together (running.py), and the lines to try."""
