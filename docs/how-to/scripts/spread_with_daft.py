"""python spread_with_daft.py NAMES VECTORS COLUMN WORKERS: a vector for each row, Parquet to Parquet, in Daft."""

import sys

import daft
import pyarrow as pa

from edge_demist.integrations.arrow import Embed
from edge_demist.integrations.parts import left, whole


def main(source: str, target: str, column: str, workers: int) -> None:
    """Go through the files that are left."""

    @daft.cls(max_concurrency=workers, use_process=True)
    class Model:
        @daft.method.batch(return_dtype=daft.DataType.list(daft.DataType.float32()), batch_size=1024)
        def vectors(self, names: daft.Series) -> pa.Array:
            rows = pa.record_batch([names.to_arrow()], [column])
            return Embed(column)(rows).column("vector")  # loaded once in each process

    model = Model()
    for file, folder in left(source, target):
        with whole(file, folder) as hidden:
            frame = daft.read_parquet(str(file))
            frame.with_column("vector", model.vectors(frame[column])).write_parquet(hidden)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
