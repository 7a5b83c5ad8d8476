"""Memory under load: what is remembered of requests has a bound. `make soak` runs the same for an hour."""

from pathlib import Path

from soak.soaking import soaking
from support.process import wait_until

WARM = 9_000
"""Requests until every cache is as full as it gets: the largest holds 4,000 stamps in two generations."""
MORE = 9_000
GROWTH_MB = 8.0
"""What may be between two looks at the same memory: the allocator's own arenas. Without a bound, what is remembered of
9,000 requests of 1 kB or more would be well above."""


def test_memory_does_not_grow_with_the_number_of_requests(tmp_path: Path) -> None:
    with soaking(tmp_path, clients=3) as soak:

        def answered(number: int) -> None:
            wait_until(lambda: soak.answers.total() >= number, f"{number} answers", seconds=240)

        answered(WARM)
        warm = soak.resident_mb()
        for part in range(1, 4):
            soak.reload(part)
            soak.get("/metrics")
            soak.get("/console/api/decisions")
            answered(WARM + MORE * part // 3)
        grown = soak.resident_mb() - warm
    assert grown < GROWTH_MB, f"{grown:.1f} MB more after {MORE} more requests"
    assert {"allow:user", "deny:trusted_proxy_untrusted_source", "http 200", "admin 200"} <= set(soak.answers)
    assert not [told for told in soak.answers if told.startswith("failed")], soak.answers
