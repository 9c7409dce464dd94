"""The ARM tools' own logic, and the rendering of result files; the emulation itself runs in ``python -m tools.arm``."""

from __future__ import annotations

import pytest

from tools.arm import boards, count, estimate
from tools.synth.samples import hosts, mixed

SDOT, ADD, LDR = "0094804e", "00000191", "200040f9"  # sdot v0.4s, v0.16b, v0.16b; add w0, w0, #64; ldr x0, [x1]
MARKS = f"mark 1\n80 {SDOT}{ADD}\n5 {LDR}\nmark 2\n5 {LDR}\n"


def test_counts_are_differences_less_the_cost_of_a_mark():
    blocks, mark = count.parse_blocks(MARKS)
    found = count.Profile(blocks, mark, strings=4).per_string()
    assert found == {"instructions": 40.0, "dot_products": 20.0, "simd": 20.0, "loads_stores": 0.0}


def test_instructions_are_told_apart():
    assert count.Block(2, SDOT).counters() == {"instructions": 2, "dot_products": 2, "simd": 2, "loads_stores": 0}
    assert count.Block(3, ADD).counters() == {"instructions": 3, "dot_products": 0, "simd": 0, "loads_stores": 0}
    assert count.Block(4, LDR).counters() == {"instructions": 4, "dot_products": 0, "simd": 0, "loads_stores": 4}


def test_missing_marks_are_an_error():
    with pytest.raises(ValueError, match="expected marks 1 and 2"):
        count.parse_blocks(MARKS.split("mark 2", maxsplit=1)[0])


def record(**instructions):
    return {"boards": {key: {"rows": {"native": {"instructions": value}}} for key, value in instructions.items()}}


def test_gate_accepts_two_percent_and_names_the_board_beyond():
    known = record(pi4=1_000_000, pi5=500_000)
    assert count.compare(known, record(pi4=1_019_000, pi5=491_000)) == []
    (slower,) = count.compare(known, record(pi4=1_021_000, pi5=500_000))
    assert "pi4: 1,021,000 instructions a string, +2.1%" in slower
    assert "slower than accepted" in slower
    (faster,) = count.compare(known, record(pi4=1_000_000, pi5=480_000))
    assert "record the progress" in faster


def test_recorded_peers_stay_beside_new_figures_for_the_same_work():
    same = {"strings": 16, "mean_tokens": 5.25, "architecture": {"num_layers": 3}}
    known = same | {"boards": {"pi5": {"rows": {"native": {"instructions": 9}, "peer": {"instructions": 20}}}}}
    result = same | {"boards": {"pi5": {"rows": {"native": {"instructions": 8}}, "estimates": {"native": {"cycles": 3}}}}}
    count.keep_peers(known, result)
    assert result["boards"]["pi5"]["rows"] == {"native": {"instructions": 8}, "peer": {"instructions": 20}}
    assert result["boards"]["pi5"]["estimates"] == {"native": {"cycles": 3}}
    with pytest.raises(ValueError, match=r"mean_tokens of the record is 5\.25, not 6"):
        count.keep_peers(known, result | {"mean_tokens": 6})


def test_boards_look_like_themselves(tmp_path):
    board = boards.BOARDS["pi5"]
    board.write_cpu_files(tmp_path)
    info = (tmp_path / "proc/cpuinfo").read_text()
    assert info.count("processor\t:") == boards.CORES
    assert "asimddp" in info
    assert "CPU part\t: 0xd0b" in info
    assert (tmp_path / "sys/devices/system/cpu/online").read_text() == f"0-{boards.CORES - 1}\n"
    assert (tmp_path / "sys/devices/system/cpu/cpu3/regs/identification/midr_el1").read_text() == "0x00000000414fd0b1\n"
    assert "asimddp" not in boards.BOARDS["pi4"].features
    boards.BOARDS["pi4"].write_cpu_files(tmp_path)
    assert "0xd08" in (tmp_path / "proc/cpuinfo").read_text()


def test_commands_hold_the_guest_to_its_root(tmp_path):
    board = boards.BOARDS["pi4"]
    line, variables = boards.command(tmp_path, board, ["-c", "pass"])
    assert line[0].endswith("qemu-aarch64-static")
    assert line[line.index("-cpu") + 1] == "cortex-a72"
    assert line[-2:] == ["-c", "pass"]
    assert str(tmp_path / "site") in variables["PYTHONPATH"]
    assert variables["PYTHONHASHSEED"] == "0"
    line, variables = boards.command(tmp_path, board, ["x.py"], plugin="blocks,out=/tmp/o", bare=True)
    assert f"file={tmp_path / 'blocks.so'},out=/tmp/o" in line
    assert str(tmp_path / "bare") in variables["PYTHONPATH"]


def test_blocks_are_sorted_by_work_and_cut_at_the_coverage():
    blocks = [count.Block(10, "aaaaaaaabbbbbbbb"), count.Block(1000, "cccccccc"), count.Block(1, "dddddddd")]
    kept, share = estimate.hottest(blocks)
    assert [block.count for block in kept] == [1000, 10]
    assert share == pytest.approx(1020 / 1021)


def test_costs_are_read_from_the_report():
    report = "[0] Code Region - b1\n\nIterations: 100\nTotal Cycles:      250\n\n[1] Code Region - b0\n\nTotal Cycles:      1200\n"
    assert estimate.parse_costs(report, 3) == [12.0, 2.5, 0.0]


def test_sample_names_are_distinct_and_stable():
    names = hosts(2000)
    assert len(set(names)) == 2000
    assert hosts(400) == names[:400]


def test_mixed_strings_are_distinct_and_mostly_host_names():
    strings = mixed(1000)
    assert len(set(strings)) == 1000
    assert strings == mixed(1000)
    assert strings[:900] == hosts(900)
