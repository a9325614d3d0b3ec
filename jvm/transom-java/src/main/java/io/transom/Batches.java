package io.transom;

import io.transom.internal.Codec;
import io.transom.internal.Memory;
import io.transom.internal.NativeLibrary;
import io.transom.internal.Open;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Optional;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;

/**
 * The results of {@link Pool#map}: an iterator of batches, each the caller's to close.
 *
 * <p>Nothing happens before the first result is asked for, and no more of the source is taken than workers can have in hand: a reader that is slow
 * makes the source slow. The source is asked on the thread that asks for results. A batch that fails is one exception of {@link #next}; the stream
 * goes on behind it. What the source throws comes out of {@link #next} as the same object, in its turn, and ends the stream.
 *
 * <p>Closing cancels what is under way. Results that were taken stay good.
 */
public final class Batches implements Iterator<Batch>, AutoCloseable {
  static {
    NativeLibrary.load();
  }

  /** The code of the error that stands for the source's own. */
  private static final int SOURCE_FAILED = 6005;

  private final long handle;
  private final Codec codec;
  private final Iterator<? extends VectorSchemaRoot> source;
  private final BufferAllocator allocator;
  private final Open.Handle open;

  /** What the source threw, on its way through the order of results. */
  private Throwable thrown;
  /** The next result, or the exception in its place, where somebody asked whether there is one. */
  private Batch ahead;
  private Throwable failed;
  private boolean ended;
  private volatile boolean closed;

  Batches(long handle, Codec codec, Iterator<? extends VectorSchemaRoot> source, BufferAllocator allocator, Open open) {
    this.handle = handle;
    this.codec = codec;
    this.source = source;
    this.allocator = allocator;
    this.open = open.add("a stream of results");
  }

  static Batches over(
      long pool,
      Function function,
      Codec codec,
      Iterator<? extends VectorSchemaRoot> source,
      BufferAllocator allocator,
      MapOptions options,
      Open open) {
    String[] columns = options.columns() == null ? null : options.columns().toArray(new String[0]);
    return new Batches(open(pool, function.handle(), columns, options.append(), options.ordered()), codec, source, allocator, open);
  }

  /**
   * Whether there is another result, or an exception in its place. Waits until that is known.
   *
   * @return whether {@link #next} has something to give or to throw
   */
  @Override
  public boolean hasNext() {
    if (ahead == null && failed == null && !ended) {
      try {
        ahead = take();
        ended = ahead == null;
      } catch (Throwable e) {
        // A source may throw what its signature does not say.
        failed = e;
      }
    }
    return !ended;
  }

  /**
   * The next result.
   *
   * @return the batch, which belongs to the caller
   * @throws TransomException what went wrong with this batch
   * @throws NoSuchElementException behind the last
   */
  @Override
  public Batch next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the stream has ended");
    }
    Throwable error = failed;
    Batch batch = ahead;
    failed = null;
    ahead = null;
    if (error != null) {
      throw sneaky(error);
    }
    return batch;
  }

  private Batch take() {
    if (closed) {
      throw new IllegalStateException("the stream of results is closed");
    }
    try {
      while (true) {
        long[] found = next(handle);
        if (found == null) {
          return null;
        }
        if (found.length > 0) {
          return codec.receive(found, allocator);
        }
        ask();
      }
    } catch (TransomException e) {
      if (e.code() == SOURCE_FAILED && thrown != null) {
        throw sneaky(thrown);
      }
      throw e;
    } finally {
      Memory.drain();
    }
  }

  /** Gives the stream the next batch of the source, or says that it has none. */
  private void ask() {
    long[] batch;
    try {
      batch = source.hasNext() ? codec.send(source.next()) : null;
    } catch (Throwable e) {
      thrown = e;
      fail(handle, String.valueOf(e));
      return;
    }
    give(handle, batch);
  }

  /** The source may throw anything; it passes as it is, undeclared exceptions too. */
  @SuppressWarnings("unchecked")
  private static <E extends Throwable> RuntimeException sneaky(Throwable error) throws E {
    throw (E) error;
  }

  /**
   * Takes the rows that were taken out of the results so far, where the function has the policy {@link Function.OnError#DEAD_LETTER}; also behind the
   * last result. Each has the columns that the function was given and behind those {@code transom_function}, {@code transom_batch},
   * {@code transom_row} (counted from 0 in the stream), {@code transom_code}, {@code transom_error} and {@code transom_attempts}.
   *
   * @return the rows as a batch, which belongs to the caller; empty where there are none
   */
  public Optional<Batch> deadLetters() {
    if (closed) {
      throw new IllegalStateException("the stream of results is closed");
    }
    return Optional.ofNullable(letters(handle)).map(found -> codec.receive(found, allocator));
  }

  /** Cancels what is under way. Doing so twice, or after the pool's end, does nothing. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    shut(handle);
    if (ahead != null) {
      ahead.close();
      ahead = null;
    }
    open.close();
    Memory.drain();
  }

  private static native long open(long pool, long function, String[] columns, boolean append, boolean ordered);

  private static native long[] next(long stream);

  private static native long[] letters(long stream);

  private static native void give(long stream, long[] batch);

  private static native void fail(long stream, String why);

  private static native void shut(long stream);
}
