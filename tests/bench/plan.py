"""How much is measured: three sizes of the same run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The sizes of one run."""

    name: str
    call_rounds: int
    """Rounds of what is measured inside one process."""
    load_rounds: int
    """Rounds of servers under load."""
    requests: int
    """Requests of h2load in one round at full load."""
    seconds: float
    """Of one round at a fixed rate, and of wrk at the HTTP doors."""
    rates: tuple[int, ...]
    """Fixed rates through Envoy, requests a second."""
    sizes: tuple[int, ...]
    """Of what grows."""
    starts: int
    """How often a process is started for its time and memory."""
    memory_requests: int
    """After how many requests its memory is looked at again."""
    variants: bool = True
    """Whether servers are measured with less switched on, too, and with each request signed."""
    warm_up: int = 1
    """Rounds of servers under load that are not counted."""


FULL = Plan("full", 25, 7, 10_000, 3.0, (500, 1_000, 2_000), (10, 100, 1_000, 10_000, 100_000), 7, 20_000)
QUICK = Plan("quick", 25, 5, 3_000, 2.0, (500, 1_000, 2_000), (10, 1_000, 10_000), 3, 10_000)
TINY = Plan("tiny", 2, 1, 100, 0.2, (50,), (10, 100), 1, 200, variants=False, warm_up=0)
"""So that a test can see that all of it runs; its figures mean nothing."""

PLANS = {plan.name: plan for plan in (FULL, QUICK, TINY)}
