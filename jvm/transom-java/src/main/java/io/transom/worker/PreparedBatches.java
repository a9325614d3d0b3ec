package io.transom.worker;

import io.transom.BatchFunction;
import io.transom.Input;
import io.transom.Signature;
import io.transom.worker.Failure.Code;
import java.util.Iterator;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;

/** A batches function, ready to be opened. */
final class PreparedBatches extends Prepared {
  private final BatchFunction function;

  PreparedBatches(BatchFunction function, Signature signature) {
    super(function, signature);
    if (!signature.parameters().isEmpty() || signature.isVariadic()) {
      throw wrong(function.getClass(), "a BatchFunction takes whole batches, and declares parameters", "leave the parameters out");
    }
    this.function = function;
  }

  @Override
  int kind() {
    return 2;
  }

  /** The results over an input; nothing need have been read yet. */
  Iterator<VectorSchemaRoot> open(Input input, BufferAllocator allocator) {
    Iterator<VectorSchemaRoot> results;
    try {
      results = function.call(input, allocator);
    } catch (Throwable thrown) {
      throw Failure.raised(thrown, Failure.NO_ROW);
    }
    if (results == null) {
      throw Failure.of(Code.NOT_ARROW, "the function returned null, and an iterator of batches is needed", "return an iterator");
    }
    return results;
  }
}
