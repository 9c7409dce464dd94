"""python spread_with_ray.py NAMES VECTORS COLUMN WORKERS: a vector for each row, Parquet to Parquet, on Ray Data."""

import sys

import ray

from edge_demist.integrations.arrow import Embed
from edge_demist.integrations.parts import left, whole


def main(source: str, target: str, column: str, workers: int) -> None:
    """Go through the files that are left."""
    for file, folder in left(source, target):
        with whole(file, folder) as hidden:
            rows = ray.data.read_parquet(str(file)).repartition(4 * workers)
            vectors = rows.map_batches(
                Embed,  # loaded once in each worker
                fn_constructor_kwargs={"column": column},
                batch_format="pyarrow",
                batch_size=1024,
                compute=ray.data.ActorPoolStrategy(size=workers),
            )
            vectors.write_parquet(hidden)


if __name__ == "__main__":
    ray.init(num_cpus=int(sys.argv[4]) + 1, include_dashboard=False)  # on a cluster: ray.init("auto")
    main(*sys.argv[1:4], int(sys.argv[4]))
