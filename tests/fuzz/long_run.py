"""A long run, by `make fuzz`: all targets on all cores, in a log that a later run goes on with.

The log has one JSON object a line: a finished chunk of cases with its outcomes, or a fault with the
command that runs it again.  The files of faults are kept beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.harness import Fault, run_cases
from tests.fuzz.targets import TARGETS, parts

_CHUNK = 250
_MINUTES = 20
"""After which a chunk is taken for one that hangs where Python cannot interrupt it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Cases of one target, run by one process."""

    target: str
    seed: int
    first: int
    cases: int

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.cases)


def main(arguments: Sequence[str]) -> int:
    """Run what the options say; the exit code is 1 if there were faults."""
    options = _parser().parse_args(arguments)
    kept = options.log.parent
    kept.mkdir(parents=True, exist_ok=True)
    if options.case is not None:
        chunk = Chunk(options.target[0], options.seed, options.case, 1)
        counts, faults = run_chunk(chunk, kept)
        print(*counts, *faults, sep="\n")
        return bool(faults)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the cores are busy with other cases
    before = _read(options.log, options.seed)
    chunks = [
        chunk
        for target, cases in parts(options.target, options.cases).items()
        for chunk in _chunks(target, options.seed, cases)
        if chunk not in before
    ]
    with options.log.open("a") as log:
        for chunk, counts, faults, seconds in _run_all(chunks, options.jobs, kept):
            entry = {**asdict(chunk), "seconds": round(seconds, 1), "outcomes": counts}
            for line in (*map(_as_entry, faults), entry):
                log.write(json.dumps(line) + "\n")
            log.flush()
            print(f"{chunk.target} {chunk.first}: {dict(counts)}, {seconds:.0f} s", flush=True)
            print(*faults, sep="\n", end="\n" if faults else "")
    return _summarize(options.log, options.seed)


def run_chunk(chunk: Chunk, kept: Path, reached: Any = None) -> tuple[Counter[str], list[Fault]]:
    """Run cases in this process; `reached` is told each number before its case begins."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = TARGETS[chunk.target].build(folder / "samples", patch)
        target.prepare(folder / "whole")
        counts: Counter[str] = Counter()
        faults = []
        for number in chunk.numbers:
            if reached is not None:
                reached.value = number
            found, more = run_cases(target, chunk.seed, range(number, number + 1), folder, kept)
            counts += found
            faults += more
        return counts, faults


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("make fuzz FUZZ=…", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="repeatable")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="only this one, of one --target")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--log", type=Path, default=Path("build/fuzz/log.jsonl"))
    return parser


def _chunks(target: str, seed: int, cases: int) -> Iterator[Chunk]:
    for first in range(0, cases, _CHUNK):
        yield Chunk(target, seed, first, min(_CHUNK, cases - first))


def _run_all(
    chunks: Sequence[Chunk], jobs: int, kept: Path
) -> Iterator[tuple[Chunk, Counter[str], list[Fault], float]]:
    """The chunks as they finish; a process that dies or hangs is a fault of the case it was at."""
    context = multiprocessing.get_context("spawn")
    waiting = list(reversed(chunks))
    running: list[tuple[Chunk, Any, Any, Any, float]] = []
    while waiting or running:
        while waiting and len(running) < jobs:
            chunk = waiting.pop()
            receiver, sender = context.Pipe(duplex=False)
            reached = context.Value("q", chunk.first)
            process = context.Process(target=_in_a_process, args=(chunk, kept, reached, sender))
            process.start()
            sender.close()
            running.append((chunk, process, reached, receiver, time.monotonic()))
        for entry in list(running):
            chunk, process, reached, receiver, start = entry
            seconds = time.monotonic() - start
            is_late = seconds > 60 * _MINUTES
            if is_late:
                process.kill()
            if not (is_late or receiver.poll(0.1)):
                continue
            running.remove(entry)
            process.join()
            try:
                counts, faults = _received(receiver)
            except EOFError:
                number = reached.value
                reason = "hangs" if is_late else f"ended the process ({process.exitcode})"
                counts, faults = (
                    Counter({"fault": 1}),
                    [Fault(chunk.target, chunk.seed, number, reason)],
                )
                rest = Chunk(chunk.target, chunk.seed, number + 1, chunk.numbers.stop - number - 1)
                waiting += [rest] if rest.cases else []
                chunk = Chunk(chunk.target, chunk.seed, chunk.first, number + 1 - chunk.first)
            yield chunk, counts, faults, seconds


def _in_a_process(chunk: Chunk, kept: Path, reached: Any, sender: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # libtiff and others print what they find
    try:
        sender.send(run_chunk(chunk, kept, reached))
    except BaseException as error:  # of this code: what readers raise is counted
        sender.send(RuntimeError(f"{chunk}: {error!r}"))


def _received(receiver: Any) -> tuple[Counter[str], list[Fault]]:
    """What a process sent, or the error that kept it from it."""
    result = receiver.recv()
    if isinstance(result, Exception):
        raise result
    counts, faults = result
    return counts, faults


def _as_entry(fault: Fault) -> dict[str, Any]:
    return {"fault": fault.reason, "command": fault.command}


def _read(log: Path, seed: int) -> set[Chunk]:
    """The chunks of a seed that a log has."""
    return {
        Chunk(entry["target"], seed, entry["first"], entry["cases"])
        for entry in _entries(log)
        if entry.get("seed") == seed
    }


def _entries(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]


def _summarize(log: Path, seed: int) -> int:
    """Print what the log has of a seed."""
    totals: dict[str, Counter[str]] = {}
    for entry in _entries(log):
        if entry.get("seed") == seed:
            totals.setdefault(entry["target"], Counter()).update(entry["outcomes"])
    for name, counts in {**totals, "all": sum(totals.values(), Counter())}.items():
        outcomes = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(counts.items()))
        print(f"{name:14} {counts.total():>8,} cases: {outcomes}")
    return int(any(counts["fault"] for counts in totals.values()))
