import pyarrow as pa
import pyarrow.compute as pc
import transom


@transom.udf
def plus_one(x: pa.Array) -> pa.Array:
    return pc.add(x, 1)


if __name__ == "__main__":
    with transom.Pool(workers=2) as pool:
        print(pool.call(plus_one, pa.array([1, 2, 3])))
