package io.transom.bench;

import io.transom.Arguments;
import io.transom.ScalarFunction;
import io.transom.Signature;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.util.MemoryUtil;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.types.Types.MinorType;

/** Adds one to a column of int64: one pass over the vector's memory. */
public final class PlusOne implements ScalarFunction {
  @Override
  public Signature signature() {
    return Signature.of().named("plus_one").parameter("number", MinorType.BIGINT.getType()).returns(MinorType.BIGINT.getType());
  }

  @Override
  public FieldVector call(Arguments arguments, BufferAllocator allocator) {
    BigIntVector number = arguments.vector("number", BigIntVector.class);
    int rows = arguments.rows();
    BigIntVector result = new BigIntVector("plus_one", allocator);
    result.allocateNew(rows);
    long from = number.getDataBufferAddress();
    long to = result.getDataBufferAddress();
    for (long at = 0; at < (long) rows * Long.BYTES; at += Long.BYTES) {
      MemoryUtil.putLong(to + at, MemoryUtil.getLong(from + at) + 1);
    }
    result.getValidityBuffer().setBytes(0, number.getValidityBuffer(), 0, (rows + 7) / 8);
    result.setValueCount(rows);
    return result;
  }
}
