package io.transom.worker;

import io.transom.Batch;
import io.transom.Input;
import io.transom.TransomException;
import io.transom.internal.Codec;
import java.util.NoSuchElementException;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.dictionary.DictionaryProvider.MapDictionaryProvider;
import org.apache.arrow.vector.types.pojo.Schema;

/** The input of one stream. A function may read it on a thread of its own: one at a time takes a batch. */
final class StreamInput implements Input, AutoCloseable {
  private final Codec codec;
  private final BufferAllocator allocator;
  private final Schema schema;
  private final long number;
  private final Dictionaries dictionaries;
  /** The batch that the function has. */
  private Batch current;
  /** One that was only looked for. */
  private Batch ahead;
  private boolean ended;

  StreamInput(Codec codec, BufferAllocator allocator, long schema, long number, Dictionaries dictionaries) {
    this.codec = codec;
    this.allocator = allocator;
    this.schema = codec.schema(schema);
    this.number = number;
    this.dictionaries = dictionaries;
  }

  @Override
  public Schema schema() {
    return schema;
  }

  @Override
  public MapDictionaryProvider dictionaries() {
    return dictionaries.provider();
  }

  @Override
  public synchronized boolean hasNext() {
    if (ahead == null && !ended) {
      long[] flat = fetch();
      if (flat == null) {
        ended = true;
      } else {
        ahead = codec.receive(flat, allocator);
      }
    }
    return ahead != null;
  }

  @Override
  public synchronized VectorSchemaRoot next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the input has ended");
    }
    closeCurrent();
    current = ahead;
    ahead = null;
    dictionaries.show(current);
    return current;
  }

  private long[] fetch() {
    try {
      return Main.nextInput(number);
    } catch (TransomException reason) {
      throw new Interrupted(reason.getMessage());
    }
  }

  private void closeCurrent() {
    if (current != null) {
      current.close();
      current = null;
    }
  }

  /** The stream is over: a thread that still reads finds the end. */
  @Override
  public synchronized void close() {
    ended = true;
    closeCurrent();
    if (ahead != null) {
      ahead.close();
      ahead = null;
    }
  }
}
