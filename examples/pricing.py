"""What an order line brings after its discount: a scalar function over two decimal columns."""

import pyarrow as pa
import pyarrow.compute as pc
import transom


@transom.udf(returns=pa.decimal128(38, 4))
def discounted_price(l_extendedprice: pa.Array, l_discount: pa.Array) -> pa.Array:
    return pc.multiply(l_extendedprice, pc.subtract(pa.scalar(1), l_discount))
