"""The Python host of the kit: reads requests, a line of JSON each, and answers each with one. docs/conformance.md has the contract."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import transom
from steps import apply, nested_schema


class Host:
    """A pool, and what is asked of it."""

    def __init__(self) -> None:
        self.pool: transom.Pool | None = None
        self.language = ""

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        self.language = request["language"]
        program = {"python": "python", "native": "native_worker", "java": "java"}[self.language]
        options = {program: request["program"]}
        self.pool = transom.Pool(workers=1, java_class_path=request["class_path"], java_options=request["options"], **options)
        return {"host": f"Python {sys.version.split()[0]}, pyarrow {pa.__version__}"}

    def function(self, reference: str) -> Any:
        if self.language == "native":
            return transom.native(*reference.rsplit(":", 1))
        return transom.java(reference) if self.language == "java" else reference

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with self.pool.map(self.function(request["function"]), source(request, self.pool.share)) as results:
                return {"batches": write(results.schema, results, request["output"])}
        except transom.TransomError as error:
            return {"failed": {"code": error.code, "message": str(error), "parts": parts(error)}}
        except (pa.ArrowException, KeyError) as error:
            return {"failed": {"code": "", "message": repr(error)}}

    def held(self, _: dict[str, Any]) -> dict[str, Any]:
        gc.collect()
        return {"leases": sum(worker["leases"] for worker in self.pool.stats()["workers"]), "allocated": pa.total_allocated_bytes()}

    def close(self, _: dict[str, Any]) -> dict[str, Any]:
        self.pool.close()
        self.pool = None
        return {}


def parts(error: transom.TransomError) -> dict[str, Any]:
    """All that an error says."""
    remote = [error.remote_type, error.remote_message, error.remote_traceback]
    return {
        "name": error.code_name,
        "rows": None if error.rows is None else [error.rows.start, error.rows.stop],
        "remote": None if error.remote_type is None else remote,
        **{part: getattr(error, part) for part in ("message", "function", "batch", "worker", "output", "stack", "hint")},
    }


def source(request: dict[str, Any], share: Callable[[pa.RecordBatch], pa.RecordBatch]) -> pa.RecordBatchReader:
    """The batches of a request, as one stream."""
    with pa.ipc.open_stream(request["file"]) as reader:
        schema, golden = reader.schema, list(reader)
    column = request["column"]
    steps = request["inputs"][0].get("steps", []) if request["inputs"] else []
    for _ in [step for step in steps if step == ["nest"]]:
        schema = nested_schema(schema)
    if column is not None:
        schema = pa.schema([schema.field(column).with_name("x")], schema.metadata)

    def batches() -> Iterator[pa.RecordBatch]:
        for part in request["inputs"]:
            batch = apply(golden[part["batch"]], part.get("steps", []), share)
            yield batch if column is None else batch.select([column]).rename_columns(["x"])

    return pa.RecordBatchReader.from_batches(schema, batches())


def write(schema: pa.Schema, results: Iterable[pa.RecordBatch], path: str) -> int:
    """Writes the results and says how many there are."""
    count = 0
    with pa.ipc.new_stream(path, schema) as writer:
        for batch in results:
            writer.write_batch(batch)
            count += 1
    return count


def serve(host: Any) -> None:
    """Answers requests until there are no more."""
    gc.freeze()  # what the libraries have made need not be looked at for each `held`
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(host, request["do"])(request)), flush=True)


if __name__ == "__main__":
    serve(Host())
