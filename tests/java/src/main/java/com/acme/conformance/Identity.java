package com.acme.conformance;

import io.transom.Arguments;
import io.transom.ScalarFunction;
import io.transom.Signature;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;

/** The column as it came. */
public final class Identity implements ScalarFunction {
  @Override
  public Signature signature() {
    return Signature.of().named("identity").parameter("x");
  }

  @Override
  public FieldVector call(Arguments arguments, BufferAllocator allocator) {
    return arguments.vectors().get(0);
  }
}
