"""A sensor that loses its power at one operation of the disk, and is started again."""

from __future__ import annotations

from edge_demist.sensor.config import WatchConfig
from edge_demist.sensor.runner import Runner
from edge_demist.sensor.storage import Disk
from tools.sensor.fake_model import FakeModel
from tools.sensor.faults import FaultDisk, PowerCut


def run_with_a_power_cut(config: WatchConfig, strike_at: int) -> None:
    """Run until the operation of that number is struck (-1: none is), then run to the end."""

    def strike(number: int, _name: str) -> None:
        if number == strike_at:
            raise PowerCut

    for disk in (FaultDisk(strike), Disk()):
        try:
            runner = Runner(config, FakeModel, disk=disk)
        except PowerCut:
            continue
        try:
            runner.run()
        except PowerCut:
            pass
        finally:
            runner.close()
