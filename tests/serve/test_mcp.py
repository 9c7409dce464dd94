"""The tools as the official client calls them over stdio."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_demist.errors import InputError
from edge_demist.sensor.memory import STRING, Memory
from edge_demist.serve.mcp import MAX_TEXTS, Tools

TOOLS = ["classify", "why", "similar", "first_seen", "tokenize"]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder of a sensor that has seen three strings."""
    memory = Memory(tmp_path)
    for i, text in enumerate(("kernel.org", "www.mit.edu", "kernel.org", "bet365.com")):
        memory.touch(text, f"10.0.0.{i}", 1_700_000_000_000_000 + i * 1_000_000, STRING)
    memory.committed(memory.state())
    memory.close()
    return tmp_path


def ask(state: Path | None, *calls: tuple[str, dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Tools of a started server, and what it answers."""
    mcp = pytest.importorskip("mcp")
    arguments = ["-P", "-m", "edge_demist", "mcp", *(["--state", str(state)] if state else [])]
    start = mcp.StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))

    async def talk() -> tuple[list[Any], list[Any]]:
        async with mcp.stdio_client(start) as (read, write), mcp.ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            return tools, [await session.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(talk())


def test_the_official_client_over_stdio(model, state: Path) -> None:
    tools, (verdicts, why, near, remembered, seen, tokens, wrong) = ask(
        state,
        ("classify", {"texts": ["kernel.org", "xjqzvwpk8r3t.info"], "tasks": ["dga", "hostname-threat"], "fpr": 1e-3}),
        ("why", {"text": "xjqzvwpk8r3t.info", "task": "dga"}),
        ("similar", {"text": "a.example", "candidates": ["zebra", "a.example"], "k": 1}),
        ("similar", {"text": "stanford.edu", "k": 3}),
        ("first_seen", {"texts": ["kernel.org", "never.example"]}),
        ("tokenize", {"texts": ["www.example.com"]}),
        ("classify", {"texts": ["a"], "tasks": ["nosuch"]}),
    )
    assert [tool.name for tool in tools] == TOOLS
    assert all(tool.annotations.read_only_hint and not tool.annotations.destructive_hint for tool in tools)
    expected = model.classify(["xjqzvwpk8r3t.info"], task="dga", fpr=1e-3)[0].to_dict()
    assert verdicts.structured_content["results"][1][0] == expected
    assert why.structured_content["words"] and why.structured_content["sentence"]
    assert near.structured_content["results"] == [{"text": "a.example", "cosine": 1.0}]
    assert remembered.structured_content["results"][0]["text"] == "www.mit.edu"
    known, unknown = seen.structured_content["results"]
    assert known["count"] == 2 and known["clients"] == 2 and known["first_seen"].startswith("2023-11-14T22:13:20")
    assert unknown == {"text": "never.example", "seen": False}
    assert tokens.structured_content["results"][0]["ids"] == model.tokenizer.encode(b"www.example.com").tolist()
    assert wrong.is_error and "unknown task" in wrong.content[0].text


def test_nothing_is_written_to_the_state_folder(model, state: Path) -> None:
    before = {path: path.read_bytes() for path in state.iterdir()}
    tools = Tools(model, state)
    tools.first_seen(["kernel.org"])
    tools.similar("kernel.org")
    assert {path: path.read_bytes() for path in state.iterdir()} == before


def test_misuse_is_told(model, tmp_path: Path, state: Path) -> None:
    tools = Tools(model)
    with pytest.raises(InputError, match="--state"):
        tools.first_seen(["a"])
    with pytest.raises(InputError, match="1 to 256"):
        tools.tokenize(["a"] * (MAX_TEXTS + 1))
    with pytest.raises(InputError, match="each once"):
        tools.classify(["a"] * MAX_TEXTS, ["dga"] * 100_000)
    with pytest.raises(InputError, match="0 tasks"):
        tools.classify(["a"], [])
    with pytest.raises(InputError, match="more than"):
        tools.why("a" * 100_000, "dga")
    with pytest.raises(InputError, match="holds no"):
        Tools(model, tmp_path / "none")
    (state / "memory.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="cannot be read"):
        Tools(model, state).first_seen(["a"])


def test_without_the_extra_it_is_named() -> None:
    code = "import sys; sys.modules['mcp'] = None; from edge_demist.cli import main; sys.exit(main(['mcp']))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and b"pip install 'edge-demist[mcp]'" in done.stderr
