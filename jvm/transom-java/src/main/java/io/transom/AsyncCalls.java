package io.transom;

import io.transom.internal.Codec;
import io.transom.internal.Memory;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;

/**
 * The calls of one pool that nobody waits for. A thread of their own, which is there from the first such call on, asks which have ended and completes
 * their futures elsewhere, so that what hangs on a future never keeps the others waiting.
 */
final class AsyncCalls {
  private record Call(CompletableFuture<Batch> future, BufferAllocator allocator) {}

  private final long pool;
  private final Codec codec;
  private final Map<Long, Call> calls = new ConcurrentHashMap<>();
  private final AtomicLong last = new AtomicLong();
  private Thread thread;
  private volatile boolean closed;

  AsyncCalls(long pool, Codec codec) {
    this.pool = pool;
    this.codec = codec;
  }

  CompletableFuture<Batch> begin(Function function, VectorSchemaRoot arguments, BufferAllocator allocator) {
    watch();
    CompletableFuture<Batch> future = new CompletableFuture<>();
    long number = last.incrementAndGet();
    // Noted before the thread can look for it.
    calls.put(number, new Call(future, allocator));
    try {
      Pool.begin(pool, function.handle(), codec.send(arguments), number);
    } catch (RuntimeException | Error e) {
      calls.remove(number);
      throw e;
    }
    future.whenComplete((result, error) -> forget(number));
    return future;
  }

  private synchronized void watch() {
    if (thread == null && !closed) {
      thread = new Thread(this::run, "transom-calls");
      thread.setDaemon(true);
      thread.setContextClassLoader(AsyncCalls.class.getClassLoader());
      thread.start();
    }
  }

  /** Cancels a call whose future was completed by somebody else. */
  private void forget(long number) {
    if (calls.remove(number) != null) {
      // Where the pool is closed the call has ended by that.
      Pool.cancel(pool, number);
      Memory.drain();
    }
  }

  private void run() {
    for (long number = Pool.finished(pool); number != 0; number = Pool.finished(pool)) {
      finish(number);
    }
  }

  private void finish(long number) {
    Call call = calls.remove(number);
    if (call == null) {
      return;
    }
    try {
      long[] found = Pool.take(pool, number);
      if (found == null) {
        return;
      }
      Batch result = codec.receive(found, call.allocator());
      call.future().defaultExecutor().execute(() -> complete(call.future(), result));
    } catch (RuntimeException | Error e) {
      call.future().defaultExecutor().execute(() -> call.future().completeExceptionally(e));
    } finally {
      Memory.drain();
    }
  }

  private static void complete(CompletableFuture<Batch> future, Batch result) {
    if (!future.complete(result)) {
      // It was cancelled meanwhile, so nobody else knows of the result.
      result.close();
    }
  }

  /** Waits until every call has ended: the pool was told to end them. */
  void close() {
    Thread running;
    synchronized (this) {
      closed = true;
      running = thread;
    }
    boolean interrupted = false;
    while (running != null && running.isAlive() && running != Thread.currentThread()) {
      try {
        running.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
