"""Two people run the demonstration on one machine, at the same moment."""

import re
import sys
from contextlib import ExitStack
from pathlib import Path

from support.process import require_program, running

CONFIG = Path(__file__).parents[2] / "config" / "extauthz.yaml"


def test_two_at_once_both_come_up_each_at_a_port_of_its_own(tmp_path: Path) -> None:
    require_program("envoy")
    argv = [sys.executable, "-m", "extauthz.cli", "demo", "--config", str(CONFIG)]
    with ExitStack() as stack:
        both = [stack.enter_context(running(argv, log=tmp_path / f"{number}.log")) for number in range(2)]
        for program in both:
            program.wait_ready(lambda program=program: "Ctrl-C stops all." in program.log_text(), 60)  # type: ignore[misc]
        fronts = [re.search(r"^Ready at (http://\S+);", program.log_text(), re.MULTILINE) for program in both]
        assert fronts[0] is not None
        assert fronts[1] is not None
        assert fronts[0][1] != fronts[1][1]
