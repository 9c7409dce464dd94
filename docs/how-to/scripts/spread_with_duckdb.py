"""python spread_with_duckdb.py NAMES VECTORS COLUMN WORKERS: a vector for each row, Parquet to Parquet, in DuckDB."""

import sys

import duckdb
import pyarrow as pa

from edge_demist.integrations.arrow import Embed
from edge_demist.integrations.parts import left, whole


def main(source: str, target: str, column: str, workers: int) -> None:
    """Go through the files that are left."""
    embed = Embed(column, threads=workers)
    for file, folder in left(source, target):
        with whole(file, folder) as hidden, duckdb.connect() as reading, duckdb.connect() as writing:
            rows = reading.sql("SELECT * FROM read_parquet(?)", params=[str(file)]).to_arrow_reader(8192)
            schema = embed(rows.schema.empty_table()).schema
            writing.register("vectors", pa.RecordBatchReader.from_batches(schema, map(embed, rows)))
            writing.execute(f"COPY vectors TO '{hidden}/part.parquet' (FORMAT parquet, ROW_GROUP_SIZE 65536)")


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
