package io.transom.worker;

import io.transom.ScalarFunction;
import io.transom.Signature;
import io.transom.worker.Failure.Code;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;

/** A scalar function, ready to be called. */
final class PreparedScalar extends Prepared implements ColumnFunction {
  private final ScalarFunction function;

  PreparedScalar(ScalarFunction function, Signature signature) {
    super(function, signature);
    checkOneResult(function.getClass(), signature);
    this.function = function;
  }

  @Override
  int kind() {
    return 0;
  }

  @Override
  public FieldVector call(Columns columns, BufferAllocator allocator) {
    FieldVector result;
    try {
      result = function.call(columns, allocator);
    } catch (Throwable thrown) {
      throw Failure.raised(thrown, Failure.NO_ROW);
    }
    if (result == null) {
      throw Failure.of(Code.NOT_ARROW, "the function returned null", "return a vector with one value for each row");
    }
    return result;
  }
}
