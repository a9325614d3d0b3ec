package io.transom;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Calls as futures. */
@ExtendWith(Leaks.class)
class AsyncTest {
  private BufferAllocator allocator;
  private Pool pool;
  private final Function plusOne = Workers.function("plus_one");
  private @TempDir Path folder;

  @BeforeEach
  void start() {
    allocator = new RootAllocator();
    pool = Workers.python(2).env("BEGUN", folder.resolve("begun").toString()).build();
  }

  @AfterEach
  void stop() {
    pool.close();
    allocator.close();
    plusOne.close();
  }

  private CompletableFuture<Batch> begin(Function function, long first) {
    try (VectorSchemaRoot root = Workers.numbers(allocator, "x", first, 100)) {
      return pool.callAsync(function, root, allocator);
    }
  }

  private long firstOf(CompletableFuture<Batch> future) {
    try (Batch batch = future.join()) {
      return ((BigIntVector) batch.getVector(0)).get(0);
    }
  }

  /** A call that has begun and does not end. */
  private CompletableFuture<Batch> hanging(Function sleep) throws Exception {
    CompletableFuture<Batch> future = begin(sleep, 0);
    while (!Files.exists(folder.resolve("begun"))) {
      Thread.sleep(10);
    }
    return future;
  }

  @Test
  void manyCallsAreUnderWayAtATime() {
    List<CompletableFuture<Batch>> futures = new ArrayList<>();
    for (int i = 0; i < 200; i++) {
      futures.add(begin(plusOne, i));
    }
    for (int i = 0; i < 200; i++) {
      assertEquals(i + 1, firstOf(futures.get(i)));
    }
  }

  @Test
  void aFailureIsTheFuturesOwn() {
    try (Function die = Workers.function("die")) {
      CompletionException error = assertThrows(CompletionException.class, begin(die, 0)::join);
      assertEquals("WORKER_SIGNALLED", assertInstanceOf(TransomException.class, error.getCause()).codeName());
    }
    assertEquals(6, firstOf(begin(plusOne, 5)));
  }

  @Test
  void whatHangsOnAFutureMayCallThePool() {
    CompletableFuture<Long> chained =
        begin(plusOne, 1)
            .thenApply(
                batch -> {
                  batch.close();
                  return firstOf(begin(plusOne, 41));
                });
    assertEquals(42, chained.join());
  }

  @Test
  void cancellingTheFutureCancelsTheCall() throws Exception {
    try (Function sleep = Workers.function("sleep")) {
      CompletableFuture<Batch> future = hanging(sleep);
      assertTrue(future.cancel(true));
      assertThrows(CancellationException.class, future::join);
      // The worker had half a second, and was ended then.
      while (pool.stats().workers().stream().mapToLong(Stats.Worker::restarts).sum() == 0) {
        Thread.sleep(10);
      }
    }
    assertEquals(6, firstOf(begin(plusOne, 5)));
  }

  @Test
  void closingThePoolEndsWhatIsUnderWay() throws Exception {
    try (Function sleep = Workers.function("sleep")) {
      CompletableFuture<Batch> future = hanging(sleep);
      pool.close();
      CompletionException error = assertThrows(CompletionException.class, future::join);
      assertEquals("POOL_CLOSED", assertInstanceOf(TransomException.class, error.getCause()).codeName());
    }
    assertThrows(TransomException.class, () -> begin(plusOne, 1));
  }
}
