package io.transom;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Workers are killed at random moments under a stream: each batch is answered once or fails with its code, and nothing is left behind. */
@ExtendWith(Leaks.class)
class KillsTest {
  private static final int KILLS = Integer.getInteger("transom.kills", 20);
  private static final long SEED = Long.getLong("transom.seed", System.nanoTime());
  private static final int ROWS = 10_000;

  private final AtomicInteger kills = new AtomicInteger();
  /** One for each batch that was answered: workers are killed at work, not while they start. */
  private final Semaphore answers = new Semaphore(0);

  @Test
  void everyBatchIsAnsweredOnceOrFailsWithItsCode() throws Exception {
    System.out.println("seed " + SEED);
    int answered = 0;
    int failed = 0;
    int sent = 0;
    try (BufferAllocator allocator = new RootAllocator();
        Pool pool = Workers.python(2).build();
        Function plusOne = Workers.function("plus_one")) {
      pool.describe(plusOne);
      Thread killer = new Thread(() -> kill(pool), "killer");
      killer.start();
      while (killer.isAlive()) {
        int first = sent;
        Iterator<VectorSchemaRoot> source = IntStream.range(0, 20).mapToObj(i -> arguments(pool, allocator, first + i)).iterator();
        try (Batches results = pool.map(plusOne, source, allocator, MapOptions.DEFAULT)) {
          while (results.hasNext()) {
            try (Batch batch = results.next()) {
              BigIntVector values = (BigIntVector) batch.getVector(0);
              assertEquals(ROWS, values.getValueCount());
              assertEquals((long) sent * ROWS + 1, values.get(0));
              assertEquals((long) sent * ROWS + ROWS, values.get(ROWS - 1));
              answered++;
              answers.release();
            } catch (TransomException e) {
              assertEquals("WORKER_SIGNALLED", e.codeName(), e::toString);
              assertEquals(sent - first, e.batch().orElseThrow());
              failed++;
            }
            sent++;
          }
        }
        assertEquals(first + 20, sent);
      }
      killer.join();
      made.forEach(VectorSchemaRoot::close);
      assertTrue(answered > 0);
      assertEquals(sent, answered + failed);
    }
    System.out.println(kills.get() + " kills: " + answered + " batches answered, " + failed + " failed");
    assertEquals(KILLS, kills.get());
  }

  /** Roots are kept until the end of their stream's batch; half of them lie in shared memory. */
  private final List<VectorSchemaRoot> made = new ArrayList<>();

  private VectorSchemaRoot arguments(Pool pool, BufferAllocator allocator, int number) {
    made.forEach(VectorSchemaRoot::close);
    made.clear();
    made.add(Workers.numbers(number % 2 == 0 ? pool.allocator() : allocator, "x", (long) number * ROWS, ROWS));
    return made.get(0);
  }

  private void kill(Pool pool) {
    Random random = new Random(SEED);
    while (kills.get() < KILLS) {
      answers.acquireUninterruptibly(1 + random.nextInt(4));
      List<Long> alive =
          pool.stats().workers().stream()
              .filter(worker -> worker.state() == Stats.State.BUSY || worker.state() == Stats.State.IDLE)
              .map(worker -> worker.process().orElse(0))
              .toList();
      if (alive.isEmpty()) {
        continue;
      }
      long victim = alive.get(random.nextInt(alive.size()));
      // A random moment within the work of a few batches.
      LockSupport.parkNanos(random.nextInt(3_000_000));
      if (ProcessHandle.of(victim).map(ProcessHandle::destroyForcibly).orElse(false)) {
        kills.incrementAndGet();
        ProcessHandle.of(victim).ifPresent(process -> process.onExit().join());
      }
    }
  }
}
