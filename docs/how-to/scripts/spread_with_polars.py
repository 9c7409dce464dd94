"""python spread_with_polars.py NAMES VECTORS COLUMN WORKERS: a vector for each row, Parquet to Parquet, in Polars."""

import sys

import polars as pl

from edge_demist.integrations.arrow import Embed
from edge_demist.integrations.parts import left, whole


def main(source: str, target: str, column: str, workers: int) -> None:
    """Go through the files that are left."""
    embed = Embed(column, threads=workers)

    def add(frame: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame(embed(frame.to_arrow()))

    for file, folder in left(source, target):
        with whole(file, folder) as hidden:
            rows = pl.scan_parquet(file)
            schema = rows.collect_schema() | {"vector": pl.List(pl.Float32)}
            rows.map_batches(add, schema=schema, streamable=True).sink_parquet(f"{hidden}/part.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
