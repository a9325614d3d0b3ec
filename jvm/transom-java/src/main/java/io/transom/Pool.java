package io.transom;

import io.transom.internal.ArenaAllocator;
import io.transom.internal.Codec;
import io.transom.internal.Memory;
import io.transom.internal.NativeLibrary;
import io.transom.internal.Open;
import io.transom.internal.ReaderSource;
import io.transom.internal.Signatures;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowReader;

/**
 * Workers that run functions over record batches.
 *
 * <pre>{@code
 * try (Pool pool = Pool.builder().workers(2).build();
 *     Function plusOne = Function.python("udfs.py:plus_one");
 *     Batch result = pool.call(plusOne, root, allocator)) {
 *   System.out.println(result.contentToTSVString());
 * }
 * }</pre>
 *
 * <p>A pool may be used by any number of threads. Arguments stay the caller's: a root may be read, sent again and closed as soon as a method
 * returns, even while a worker still reads it; its buffers may be written again when the result is there. Results are the caller's to close, before the
 * pool or after it.
 *
 * <p>Vectors that are made with {@link #allocator()} lie in shared memory and cross without a copy, and so do results; those of any other allocator
 * are copied once. {@link #copies()} counts both.
 */
public final class Pool implements AutoCloseable {
  static {
    NativeLibrary.load();
  }

  private static final System.Logger LOG = System.getLogger("io.transom");

  private final long handle;
  private final Codec codec;
  private final Open open = new Open();
  private final BufferAllocator arena;
  private final AsyncCalls calls;
  private final AtomicBoolean closed = new AtomicBoolean();

  Pool(List<String> options) {
    handle = create(options.toArray(new String[0]));
    codec = new Codec(codec(handle), open);
    arena = ArenaAllocator.over(handle);
    calls = new AsyncCalls(handle, codec);
  }

  /**
   * Settings for a new pool.
   *
   * @return a builder with defaults
   */
  public static PoolBuilder builder() {
    return new PoolBuilder();
  }

  /**
   * Calls a function with one batch and waits. Scalar and row functions take its columns by the names of their parameters and give a batch of one
   * column, named after the function, with as many rows; a batches function takes it as a stream of one batch, and what it gives is put together.
   *
   * <p>An interrupt of the thread cancels the call ({@code CANCELLED}); the thread stays interrupted.
   *
   * @param function the function
   * @param arguments the batch; it stays the caller's. Where columns are encoded by dictionaries it is a {@link Batch}
   * @param allocator what the result is accounted to
   * @return the result, which belongs to the caller
   * @throws TransomException what is wrong with the arguments (6xxx), what the function raised (3xxx), what is wrong with its result (4xxx), or how
   *     its worker ended (2xxx). The call after it works
   */
  public Batch call(Function function, VectorSchemaRoot arguments, BufferAllocator allocator) {
    Objects.requireNonNull(allocator, "the allocator is null");
    try {
      return codec.receive(call(handle, function.handle(), codec.send(arguments)), allocator);
    } finally {
      Memory.drain();
    }
  }

  /**
   * Calls a function with one batch and does not wait. Cancelling the future, or completing it otherwise, cancels the call. Calls that workers have
   * no room for wait for their turn.
   *
   * <p>Futures complete on the executor that {@link CompletableFuture#defaultExecutor()} gives. A result that nobody takes out of its future has to be
   * closed all the same.
   *
   * @param function the function
   * @param arguments the batch, as for {@link #call}; its buffers must not be written before the result is there
   * @param allocator what the result is accounted to
   * @return the result to come; it fails with a {@link TransomException}
   */
  public CompletableFuture<Batch> callAsync(Function function, VectorSchemaRoot arguments, BufferAllocator allocator) {
    Objects.requireNonNull(allocator, "the allocator is null");
    try {
      return calls.begin(function, arguments, allocator);
    } finally {
      Memory.drain();
    }
  }

  /**
   * Calls a function with each batch of a source, several at a time. A batches function sees the whole stream, in one worker.
   *
   * @param function the function
   * @param source the batches, all of one schema; each stays the source's, which may close it when it is asked for the next
   * @param allocator what the results are accounted to
   * @param options columns, order, and whether the input's columns come along
   * @return the results
   * @throws TransomException where the function cannot be loaded (11xx), or no worker can be had
   */
  public Batches map(Function function, Iterator<? extends VectorSchemaRoot> source, BufferAllocator allocator, MapOptions options) {
    Objects.requireNonNull(source, "the source is null");
    Objects.requireNonNull(allocator, "the allocator is null");
    return Batches.over(handle, function, codec, source, allocator, options, open);
  }

  /**
   * Calls a function with each batch of an Arrow reader: a file, a stream, a data set.
   *
   * @param function the function
   * @param source the reader, which stays the caller's to close, after the results
   * @param allocator what the results are accounted to
   * @param options columns, order, and whether the input's columns come along
   * @return the results
   * @throws TransomException as for the other form
   */
  public Batches map(Function function, ArrowReader source, BufferAllocator allocator, MapOptions options) {
    return map(function, new ReaderSource(source), allocator, options);
  }

  /**
   * The same batch in shared memory: it is copied once, here, and calls with it copy nothing.
   *
   * @param batch the batch, which stays the caller's
   * @param allocator what the copy is accounted to
   * @return the copy, which belongs to the caller
   * @throws TransomException {@code MEMORY_LIMIT} or {@code SHARED_MEMORY_FULL}
   */
  public Batch share(VectorSchemaRoot batch, BufferAllocator allocator) {
    Objects.requireNonNull(allocator, "the allocator is null");
    try {
      return codec.receive(share(handle, codec.send(batch)), allocator);
    } finally {
      Memory.drain();
    }
  }

  /**
   * Takes the rows that were taken out of the results of calls, where the function has the policy {@link Function.OnError#DEAD_LETTER}; those of a stream
   * are in {@link Batches#deadLetters}, which says what their columns are.
   *
   * @param allocator what they are accounted to
   * @return a batch for each function and schema, which belongs to the caller
   */
  public List<Batch> deadLetters(BufferAllocator allocator) {
    Objects.requireNonNull(allocator, "the allocator is null");
    List<Batch> found = new ArrayList<>();
    try {
      for (long[] next = letters(handle); next != null; next = letters(handle)) {
        found.add(codec.receive(next, allocator));
      }
    } catch (RuntimeException e) {
      found.forEach(Batch::close);
      throw e;
    }
    return found;
  }

  /**
   * What a function takes and gives. Loads it in a worker, where that was not done before.
   *
   * @param function the function
   * @return its signature
   * @throws TransomException where the function cannot be loaded (11xx), or no worker can be had
   */
  public Signature describe(Function function) {
    return Signatures.read(describe(handle, function.handle(), false), describe(handle, function.handle(), true));
  }

  /**
   * An allocator whose buffers lie in the pool's shared memory: a batch made with it crosses without a copy. It belongs to the pool and ends with it;
   * buffers that are still held then stay good until they are released. It rounds sizes to 64 bytes, and fails with {@code MEMORY_LIMIT} where the pool's
   * limit is reached.
   *
   * @return the allocator, always the same
   */
  public BufferAllocator allocator() {
    return arena;
  }

  /**
   * The copy ledger: how many bytes crossed in place, how many were copied, and why.
   *
   * @return the sums since the pool was made
   */
  public Copies copies() {
    return Copies.of(copies(handle), reasons());
  }

  /**
   * What the workers have done and are doing.
   *
   * @return the figures of this moment
   */
  public Stats stats() {
    return Stats.of(stats(handle));
  }

  /**
   * What is open: results, streams and vectors of the pool's allocator that nobody closed. With {@code -Dtransom.debug=true} each result and stream
   * comes with the stack of where it began.
   *
   * @return a description of each
   */
  public List<String> outstanding() {
    List<String> found = new ArrayList<>(open.describe());
    long bytes = arena.getAllocatedMemory();
    if (bytes > 0) {
      found.add(bytes + " bytes of the pool's allocator");
    }
    return found;
  }

  /**
   * Ends the workers and waits for their end, for two seconds at most. What is under way fails with {@code POOL_CLOSED}. What is {@link #outstanding()}
   * stays good, and is logged. Doing so twice does nothing.
   */
  @Override
  public void close() {
    if (closed.getAndSet(true)) {
      return;
    }
    shut(handle);
    calls.close();
    release(handle);
    Memory.drain();
    List<String> left = outstanding();
    if (left.isEmpty()) {
      arena.close();
    } else {
      LOG.log(System.Logger.Level.WARNING, "a pool was closed before what came of it: " + String.join("; ", left));
    }
  }

  @Override
  public String toString() {
    return "Pool(" + (closed.get() ? "closed" : stats().workers().size() + " workers") + ")";
  }

  private static native long create(String[] options);

  private static native long codec(long pool);

  private static native long[] call(long pool, long function, long[] batch);

  private static native long[] letters(long pool);

  private static native long[] share(long pool, long[] batch);

  private static native byte[] describe(long pool, long function, boolean results);

  private static native long[] copies(long pool);

  private static native String[] reasons();

  private static native long[] stats(long pool);

  private static native void shut(long pool);

  private static native void release(long pool);

  static native void begin(long pool, long function, long[] batch, long call);

  static native long finished(long pool);

  static native long[] take(long pool, long call);

  static native void cancel(long pool, long call);
}
