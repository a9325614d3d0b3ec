package io.transom.worker;

import io.transom.Batch;
import io.transom.internal.Codec;
import io.transom.worker.Failure.Code;
import java.util.Iterator;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;

/** One stream through a batches function, from its opening to its end. */
final class Stream {
  private final Codec codec;
  private final BufferAllocator lent;
  private final Dictionaries dictionaries = new Dictionaries();
  private final StreamInput input;
  private final Iterator<VectorSchemaRoot> results;

  Stream(PreparedBatches function, Codec codec, BufferAllocator received, long schema, long input) {
    this.codec = codec;
    this.lent = Allocators.lent(function.name());
    this.input = new StreamInput(codec, received, schema, input, dictionaries);
    try {
      this.results = function.open(this.input, lent);
    } catch (Throwable thrown) {
      cleanUp();
      throw thrown;
    }
  }

  /** The name of the function that runs. */
  String function() {
    return lent.getName();
  }

  /** The next result, described for the native side; null at the end. */
  long[] next() {
    VectorSchemaRoot result;
    try {
      if (!results.hasNext()) {
        return null;
      }
      result = results.next();
    } catch (Throwable thrown) {
      throw Failure.raised(thrown, Failure.NO_ROW);
    }
    if (result == null) {
      throw Failure.of(Code.NOT_ARROW, "the function's iterator gave null", "end the iterator instead");
    }
    // Closed is empty: the function may fill it again.
    try (VectorSchemaRoot sent = result) {
      return codec.send(Batch.of(sent, dictionaries.provider()));
    }
  }

  /** Ends the stream wherever it stands, and lets a function that is not read to its end clean up now. What that throws comes after the last answer. */
  void end() {
    try {
      if (results instanceof AutoCloseable closeable) {
        closeable.close();
      }
    } catch (Throwable thrown) {
      System.err.println("transom: closing the results of function `" + function() + "` failed: " + Report.stack(thrown));
    } finally {
      cleanUp();
    }
  }

  private void cleanUp() {
    dictionaries.close();
    input.close();
    Allocators.takeBack(lent);
  }
}
