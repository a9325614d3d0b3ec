package io.transom.bench;

import io.transom.Batch;
import io.transom.Function;
import io.transom.Pool;
import java.util.concurrent.TimeUnit;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/** What a batch costs on its way between Java and Rust, and what a call costs. */
@Fork(1)
@Warmup(iterations = 5, time = 1)
@Measurement(iterations = 5, time = 1)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class DataPath {
  /** A batch of one int64 column in shared memory. */
  @State(Scope.Benchmark)
  public static class Arena {
    /** Rows of the batch. */
    @Param({"1", "65536"})
    public int rows;

    private final BufferAllocator allocator = new RootAllocator();
    private Pool pool;
    private VectorSchemaRoot batch;

    /** Fills the batch. No worker is started. */
    @Setup
    public void open() {
      pool = Pool.builder().workers(1).prestart().build();
      batch = numbers(rows, pool.allocator());
    }

    /** Ends it all, and fails where a byte was copied: what was measured would be something else. */
    @TearDown
    public void close() {
      long copied = pool.copies().bytesCopied();
      batch.close();
      pool.close();
      allocator.close();
      if (copied > 0) {
        throw new IllegalStateException(copied + " bytes were copied");
      }
    }
  }

  /** A Python worker, and a batch of one row on Java's ordinary heap. */
  @State(Scope.Benchmark)
  public static class Worker {
    private final BufferAllocator allocator = new RootAllocator();
    private Pool pool;
    private Function function;
    private VectorSchemaRoot batch;

    /** Starts the worker. */
    @Setup
    public void open() {
      pool = Pool.builder().workers(1).python(System.getProperty("transom.bench.python")).build();
      function = Function.python(System.getProperty("transom.bench.functions") + ":plus_one");
      batch = numbers(1, allocator);
      pool.call(function, batch, allocator).close();
    }

    /** Ends it. */
    @TearDown
    public void close() {
      batch.close();
      function.close();
      pool.close();
      allocator.close();
    }
  }

  private static VectorSchemaRoot numbers(int rows, BufferAllocator allocator) {
    BigIntVector number = new BigIntVector("number", allocator);
    number.allocateNew(rows);
    for (int row = 0; row < rows; row++) {
      number.set(row, row);
    }
    number.setValueCount(rows);
    return VectorSchemaRoot.of(number);
  }

  /**
   * There and back without a worker: Java describes the batch, one native call, Rust makes arrays of the description, finds their memory in the arena, makes a
   * batch of it anew and describes that, and Java makes vectors of it and closes them. Not a byte is copied.
   *
   * @param arena the batch
   * @return the number of rows that came back
   */
  @Benchmark
  public int thereAndBack(Arena arena) {
    try (Batch batch = arena.pool.share(arena.batch, arena.allocator)) {
      return batch.getRowCount();
    }
  }

  /**
   * One call of one row.
   *
   * @param worker the worker
   * @return the number of rows that came back
   */
  @Benchmark
  public int call(Worker worker) {
    try (Batch batch = worker.pool.call(worker.function, worker.batch, worker.allocator)) {
      return batch.getRowCount();
    }
  }
}
