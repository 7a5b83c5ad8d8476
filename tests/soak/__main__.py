"""`make soak`: run the service under load for a time, show what it takes of memory, and what it answered."""

import json
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from soak.soaking import Soak, soaking
from support.engine import ENGINES, chosen

console = Console()

RELOAD_SECONDS = 20
ROTATE_SECONDS = 120
SAMPLES = 60
WARM_SHARE = 0.1


@click.command()
@click.option("--minutes", default=60.0, show_default=True, help="For how long.")
@click.option(
    "--rate", default=600, show_default=True, help="Questions a second, about; 0 for as many as there can be."
)
@click.option("--engine", type=click.Choice(ENGINES), default="grpcio", show_default=True, help="The gRPC engine.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(minutes: float, rate: int, engine: str, json_file: Path | None) -> None:
    """Put a service under everything that goes on in operation, and tell what it takes of memory.

    Exit status 0: every question was answered. 1: one at least was not.
    """
    clients = 2
    seconds = minutes * 60
    with tempfile.TemporaryDirectory(prefix="extauthz-soak-") as folder, chosen(engine):  # noqa: SIM117
        with soaking(Path(folder), clients=clients, pause=clients / rate if rate else 0.0) as soak:
            _watch(soak, seconds)
    failed = sum(number for told, number in soak.answers.items() if told.startswith("failed"))
    _tell(soak, seconds)
    if json_file is not None:
        figures = {"minutes": minutes, "engine": engine, "answers": soak.answers, "samples": soak.samples}
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    raise SystemExit(1 if failed else 0)


def _watch(soak: Soak, seconds: float) -> None:
    began = time.monotonic()
    step, reloads = max(1.0, seconds / SAMPLES), 0
    done = {"reload": began, "rotate": began}
    with Progress(console=console) as progress:
        task = progress.add_task("soaking", total=seconds)
        while (now := time.monotonic()) - began < seconds:
            soak.sample()
            for path in ("/metrics", "/console/api/decisions", "/console/api/counts", "/console/api/top"):
                soak.get(path)
            if now - done["reload"] >= RELOAD_SECONDS:
                done["reload"], reloads = now, reloads + 1
                soak.reload(reloads)
            if now - done["rotate"] >= ROTATE_SECONDS:
                done["rotate"] = now
                soak.rotate()
            progress.update(
                task,
                completed=now - began,
                description=f"{soak.answers.total():,} answers, {soak.samples[-1][2]:.1f} MB",
            )
            time.sleep(min(step, max(0.0, seconds - (time.monotonic() - began))))
    soak.sample()


def _tell(soak: Soak, seconds: float) -> None:
    warm = [mb for at, _, mb in soak.samples if at >= seconds * WARM_SHARE] or [soak.samples[-1][2]]
    half = len(warm) // 2 or 1
    console.print(
        f"{soak.answers.total():,} questions: " + ", ".join(f"{k} {v:,}" for k, v in sorted(soak.answers.items()))
    )
    console.print(
        f"resident: {soak.samples[0][2]:.1f} MB at the start, {warm[0]:.1f} MB warm, {warm[-1]:.1f} MB at the end"
    )
    first, second = sum(warm[:half]) / half, sum(warm[half:]) / max(1, len(warm) - half)
    console.print(f"mean of the first half {first:.1f} MB, of the second {second:.1f} MB, highest {max(warm):.1f} MB")


if __name__ == "__main__":
    main()
