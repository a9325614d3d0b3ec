package io.transom.bench;

import io.transom.Arguments;
import io.transom.ScalarFunction;
import io.transom.Signature;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VarBinaryVector;
import org.apache.arrow.vector.types.Types.MinorType;

/** Other bytes for some bytes: every bit turned over. */
public final class Invert implements ScalarFunction {
  @Override
  public Signature signature() {
    return Signature.of().named("invert").parameter("bytes", MinorType.VARBINARY.getType()).returns(MinorType.VARBINARY.getType());
  }

  @Override
  public FieldVector call(Arguments arguments, BufferAllocator allocator) {
    VarBinaryVector bytes = arguments.vector("bytes", VarBinaryVector.class);
    VarBinaryVector result = new VarBinaryVector("invert", allocator);
    result.allocateNew(arguments.rows());
    for (int row = 0; row < arguments.rows(); row++) {
      result.setSafe(row, Bridged.invert(bytes.get(row)));
    }
    result.setValueCount(arguments.rows());
    return result;
  }
}
