"""Estimated cycles per string: how often each block of the emulated program ran, times what llvm-mca says a run costs.

An estimate, and an optimistic one: data in the first-level cache, no branch missed, no kernel; each block costed
alone. It ranks kernels; it promises no time. Never calibrated on a board.
"""

from __future__ import annotations

import re
import subprocess

from tools.arm import boards
from tools.arm.count import Block, Profile

COVERAGE = 0.99
"""Share of the executed instructions whose blocks are costed; the rest is scaled up."""
ITERATIONS = 100
TOOLS = ("llvm-mc-19", "llvm-mca-19")


def hottest(blocks: list[Block]) -> tuple[list[Block], float]:
    """The blocks that make up ``COVERAGE`` of the executed instructions, most first, and the share they really have."""
    total = sum(block.count * block.size for block in blocks)
    kept, done = [], 0
    for block in sorted(blocks, key=lambda block: -block.count * block.size):
        kept.append(block)
        done += block.count * block.size
        if done >= COVERAGE * total:
            break
    return kept, done / total


def disassemble(blocks: list[Block]) -> list[str]:
    """Assembly lines of all blocks, one an instruction."""
    raw = "\n".join(" ".join(f"0x{b.words[i : i + 2]}" for i in range(0, len(b.words), 2)) for b in blocks)
    done = subprocess.run(
        [TOOLS[0], "--disassemble", "--triple=aarch64", "--mattr=+all"], input=raw, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("\t") and not line.strip().startswith(".")]
    if len(lines) != sum(block.size for block in blocks):
        raise ValueError(f"{len(lines)} of {sum(b.size for b in blocks)} instructions could be disassembled")
    return lines


def cost(blocks: list[Block], schedule: str) -> list[float]:
    """Cycles that llvm-mca simulates for one run of each block, repeated as a loop."""
    lines, parts, at = disassemble(blocks), [], 0
    for number, block in enumerate(blocks):
        parts += [f"# LLVM-MCA-BEGIN b{number}", *lines[at : at + block.size], f"# LLVM-MCA-END b{number}"]
        at += block.size
    options = [f"-mcpu={schedule}", f"-iterations={ITERATIONS}", "-skip-unsupported-instructions=any", "-call-latency=1"]
    done = subprocess.run(
        [TOOLS[1], "-mtriple=aarch64", "-mattr=+all", *options], input="\n".join(parts) + "\n", capture_output=True, text=True, check=True
    )
    return parse_costs(done.stdout, len(blocks))


def parse_costs(report: str, count: int) -> list[float]:
    """Cycles a run by block, from llvm-mca's report."""
    cycles = [0.0] * count
    for region in re.split(r"\n?\[\d+\] Code Region - ", report)[1:]:
        number, total = re.match(r"b(\d+)", region), re.search(r"Total Cycles:\s+(\d+)", region)
        if number and total:
            cycles[int(number.group(1))] = int(total.group(1)) / ITERATIONS
    return cycles


def estimate(found: Profile, board: boards.Board) -> dict[str, object]:
    """Estimated cycles and microseconds per string of a program that was counted on ``board``."""
    blocks, share = hottest(found.blocks)
    costs = cost(blocks, board.schedule)
    cycles = sum(block.count * each for block, each in zip(blocks, costs, strict=True)) / share / found.strings
    return {
        "estimated": True,
        "cycles": cycles,
        "us_at_highest_clock": cycles / board.khz * 1e3,
        "clock_khz": board.khz,
        "schedule": board.schedule,
        "share_costed": share,
    }
