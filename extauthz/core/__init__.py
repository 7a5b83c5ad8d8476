"""The decision. Standard library only; no I/O, clock, environment, logging, protobuf or HTTP.

Read in this order: request (what is asked), policy (what is configured), steps and rulesets (the rules),
decide (the loop over them), decision and reasons (what comes out).
"""
