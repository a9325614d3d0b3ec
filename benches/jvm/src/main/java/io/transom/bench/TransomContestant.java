package io.transom.bench;

import io.transom.Batch;
import io.transom.Batches;
import io.transom.Copies;
import io.transom.Function;
import io.transom.MapOptions;
import io.transom.Pool;
import io.transom.Stats;
import java.util.Iterator;
import java.util.OptionalLong;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.types.pojo.Schema;

/** Transom from a JVM host: one Python worker, its defaults in everything else. */
final class TransomContestant implements Contestant {
  private final BufferAllocator heap = new RootAllocator();
  private final Pool pool;
  private final String functions;
  private final boolean arena;

  /** With {@code arena} the arguments lie in the pool's shared memory from the start. */
  TransomContestant(boolean arena, String functions, String python) {
    this.arena = arena;
    this.functions = functions;
    pool = Pool.builder().workers(1).python(python).build();
  }

  @Override
  public BufferAllocator arguments() {
    return arena ? pool.allocator() : heap;
  }

  private Function function(String name) {
    return Function.python(functions + ":" + name);
  }

  @Override
  public Results stream(String name, Schema schema, Iterator<VectorSchemaRoot> batches) {
    Function function = function(name);
    return new Stream(function, pool.map(function, batches, heap, MapOptions.DEFAULT));
  }

  @Override
  public Calls calls(String name, Schema schema) {
    return new Single(function(name));
  }

  @Override
  public long[] workers() {
    return pool.stats().workers().stream().map(Stats.Worker::process).flatMapToLong(OptionalLong::stream).toArray();
  }

  @Override
  public Copies copies() {
    return pool.copies();
  }

  @Override
  public void close() {
    pool.close();
    heap.close();
  }

  /** Closes each result when the next is asked for, which gives its memory back to the worker. */
  private static final class Stream implements Results {
    private final Function function;
    private final Batches batches;
    private Batch last;

    Stream(Function function, Batches batches) {
      this.function = function;
      this.batches = batches;
    }

    @Override
    public boolean hasNext() {
      if (last != null) {
        last.close();
        last = null;
      }
      return batches.hasNext();
    }

    @Override
    public VectorSchemaRoot next() {
      last = batches.next();
      return last;
    }

    @Override
    public void close() {
      if (last != null) {
        last.close();
      }
      batches.close();
      function.close();
    }
  }

  private final class Single implements Calls {
    private final Function function;
    private Batch last;

    Single(Function function) {
      this.function = function;
    }

    @Override
    public VectorSchemaRoot call(VectorSchemaRoot batch) {
      if (last != null) {
        last.close();
      }
      last = pool.call(function, batch, heap);
      return last;
    }

    @Override
    public void close() {
      if (last != null) {
        last.close();
      }
      function.close();
    }
  }
}
