package io.transom.bench;

import io.transom.Copies;
import java.util.Iterator;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.types.pojo.Schema;

/** A way to run a function over batches, as {@code benches/contestants/base.py} has it. */
interface Contestant extends AutoCloseable {
  /** Where arguments are made before anything is measured. */
  BufferAllocator arguments();

  /** Runs the function over all batches; results come in order, and each is good until the next is taken. */
  Results stream(String function, Schema schema, Iterator<VectorSchemaRoot> batches);

  /** Gets ready for single calls. */
  Calls calls(String function, Schema schema);

  /** The processes whose processor time counts besides this one. */
  long[] workers();

  /** What the contestant says it copied so far, or null where it does not say. */
  Copies copies();

  @Override
  void close() throws Exception;

  /** A stream of results. */
  interface Results extends Iterator<VectorSchemaRoot>, AutoCloseable {
    @Override
    void close();
  }

  /** Single calls, one after the other. */
  interface Calls extends AutoCloseable {
    /** One batch there and its result back, good until the next call. */
    VectorSchemaRoot call(VectorSchemaRoot batch);

    @Override
    void close();
  }
}
