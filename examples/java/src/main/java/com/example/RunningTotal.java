package com.example;

import io.transom.BatchFunction;
import io.transom.Input;
import java.util.Iterator;
import java.util.List;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.VectorSchemaRoot;

/** The sum of column x from the stream's beginning up to each row; a null adds nothing. */
public final class RunningTotal implements BatchFunction {
  @Override
  public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
    return new Iterator<>() {
      private long total;

      @Override
      public boolean hasNext() {
        return input.hasNext();
      }

      @Override
      public VectorSchemaRoot next() {
        VectorSchemaRoot batch = input.next();
        BigIntVector x = (BigIntVector) batch.getVector("x");
        BigIntVector totals = new BigIntVector("total", allocator);
        totals.allocateNew(batch.getRowCount());
        for (int row = 0; row < batch.getRowCount(); row++) {
          total += x.isNull(row) ? 0 : x.get(row);
          totals.set(row, total);
        }
        totals.setValueCount(batch.getRowCount());
        return new VectorSchemaRoot(List.of(totals));
      }
    };
  }
}
