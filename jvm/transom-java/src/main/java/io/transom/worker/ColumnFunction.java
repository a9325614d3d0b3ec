package io.transom.worker;

import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;

/** What computes one column from a batch: a scalar or a row function. */
interface ColumnFunction {
  /** The function's name. */
  String name();

  /** Computes a batch; the result is the caller's to close. */
  FieldVector call(Columns columns, BufferAllocator allocator);
}
