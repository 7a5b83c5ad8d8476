"""What is seen of the decisions from outside: counts, the log, the console's view, traces. It looks on afterwards."""
