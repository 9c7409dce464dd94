"""python spread_with_spark.py NAMES VECTORS COLUMN WORKERS: a vector for each row, Parquet to Parquet, on Spark."""

import sys
from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType, StructField, StructType

from edge_demist.integrations.arrow import Embed
from edge_demist.integrations.parts import left, whole

VECTOR = StructField("vector", ArrayType(FloatType()))  # Spark takes no list of fixed size


def main(spark: SparkSession, source: str, target: str, column: str, workers: int) -> None:
    """Go through the files that are left."""
    embed = Embed(column)  # 185 bytes travel to the workers; each loads the model once

    def add(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return map(embed, batches)

    for file, folder in left(source, target):
        with whole(file, folder) as hidden:
            rows = spark.read.parquet(str(file)).repartition(4 * workers)
            schema = StructType([*rows.schema.fields, VECTOR])
            rows.mapInArrow(add, schema).write.mode("overwrite").parquet(hidden)


if __name__ == "__main__":
    words = sys.argv[1:]
    builder = SparkSession.builder.master(f"local[{words[3]},4]")  # up to four tries a task; on a cluster: no master here
    session = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "1024").config("spark.ui.enabled", "false").getOrCreate()
    main(session, *words[:3], int(words[3]))
    session.stop()
