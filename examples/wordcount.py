"""How often each word of a text occurs: a batches function, which sees all lines and keeps state between them."""

import re
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import transom

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
COUNTS = pa.schema([("word", pa.string()), ("count", pa.int64())])


@transom.udf(returns=COUNTS)
def count_words(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    counts = Counter()
    for batch in batches:
        for line in batch.column("line").to_pylist():
            counts.update(WORD.findall(line.lower()))
    yield pa.RecordBatch.from_pylist([{"word": word, "count": count} for word, count in counts.most_common()], schema=COUNTS)
