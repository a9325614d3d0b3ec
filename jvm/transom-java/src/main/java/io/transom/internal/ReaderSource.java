package io.transom.internal;

import io.transom.Batch;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Iterator;
import java.util.NoSuchElementException;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowReader;

/** An Arrow reader as a source. The reader, which loads each batch over the one before, stays the caller's. */
public final class ReaderSource implements Iterator<VectorSchemaRoot> {
  private final ArrowReader reader;
  private boolean loaded;

  /**
   * A source over a reader.
   *
   * @param reader the reader
   */
  public ReaderSource(ArrowReader reader) {
    this.reader = reader;
  }

  @Override
  public boolean hasNext() {
    try {
      loaded = loaded || reader.loadNextBatch();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return loaded;
  }

  @Override
  public VectorSchemaRoot next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the reader has ended");
    }
    loaded = false;
    try {
      return Batch.of(reader.getVectorSchemaRoot(), reader);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
