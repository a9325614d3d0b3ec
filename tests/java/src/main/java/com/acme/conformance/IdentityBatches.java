package com.acme.conformance;

import io.transom.BatchFunction;
import io.transom.Input;
import io.transom.Signature;
import java.util.Iterator;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;

/** The batches as they came. */
public final class IdentityBatches implements BatchFunction {
  @Override
  public Signature signature() {
    return Signature.of().named("identity_batches");
  }

  @Override
  public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
    return input;
  }
}
