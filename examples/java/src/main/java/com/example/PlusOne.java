package com.example;

import io.transom.Arguments;
import io.transom.ScalarFunction;
import io.transom.Signature;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.types.Types.MinorType;

/** Adds one to a column of whole numbers; a null stays null. */
public final class PlusOne implements ScalarFunction {
  @Override
  public Signature signature() {
    return Signature.of().parameter("x", MinorType.BIGINT.getType()).returns(MinorType.BIGINT.getType());
  }

  @Override
  public FieldVector call(Arguments arguments, BufferAllocator allocator) {
    BigIntVector x = arguments.vector("x", BigIntVector.class);
    BigIntVector result = new BigIntVector("result", allocator);
    result.allocateNew(arguments.rows());
    for (int row = 0; row < arguments.rows(); row++) {
      if (x.isNull(row)) {
        result.setNull(row);
      } else {
        result.set(row, x.get(row) + 1);
      }
    }
    result.setValueCount(arguments.rows());
    return result;
  }
}
