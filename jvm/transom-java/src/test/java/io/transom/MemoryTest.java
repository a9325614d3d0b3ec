package io.transom;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.LongStream;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.DecimalVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.message.ArrowFieldNode;
import org.apache.arrow.vector.util.TransferPair;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Where batches lie, how often they are copied, and who may close what when. */
@ExtendWith(Leaks.class)
class MemoryTest {
  private static final int ROWS = 65_536;

  private BufferAllocator allocator;
  private Pool pool;
  private final Function same = Workers.function("same");
  private final Function plusOne = Workers.function("plus_one");

  @BeforeEach
  void start() {
    allocator = new RootAllocator();
    pool = Workers.python(1).build();
  }

  @AfterEach
  void stop() {
    pool.close();
    allocator.close();
    same.close();
    plusOne.close();
  }

  @Test
  void aRootOfThePoolsAllocatorCrossesByDescriptorAlone() {
    try (VectorSchemaRoot root = Workers.numbers(pool.allocator(), "x", 0, ROWS);
        Batch result = pool.call(plusOne, root, allocator)) {
      assertArrayEquals(LongStream.rangeClosed(1, ROWS).toArray(), Workers.longs(result.getVector(0)));
      assertEquals(new Copies.Way(8 * ROWS, 0), pool.copies().inputs());
    }
    assertEquals(0, pool.allocator().getAllocatedMemory());
  }

  @Test
  void textOfThePoolsAllocatorCrossesByDescriptorAlone() {
    try (VarCharVector text = Workers.repeated(pool.allocator(), "x", "grüße", ROWS)) {
      text.setNull(5);
      try (Batch result = pool.call(same, new VectorSchemaRoot(List.of(text)), allocator)) {
        assertEquals("grüße", result.getVector(0).getObject(4).toString());
        assertTrue(result.getVector(0).isNull(5));
        // Offsets, text and validity.
        assertEquals(new Copies.Way(4 * (ROWS + 1) + 7 * ROWS + ROWS / 8, 0), pool.copies().inputs());
      }
    }
  }

  @Test
  void aRootOfAnotherAllocatorIsCopiedOnce() {
    try (VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, ROWS)) {
      pool.call(plusOne, root, allocator).close();
      assertEquals(new Copies.Way(0, 8 * ROWS), pool.copies().inputs());
      assertEquals(8L * ROWS, pool.copies().reasons().get("input was not in shared memory"));
    }
  }

  @Test
  void aResultCrossesAgainWithoutACopy() {
    try (VectorSchemaRoot root = Workers.numbers(pool.allocator(), "x", 0, ROWS);
        Batch first = pool.call(plusOne, root, allocator)) {
      long copied = pool.copies().inputs().bytesCopied();
      first.getVector(0).getField();
      try (VectorSchemaRoot renamed = renamed(first, "x");
          Batch second = pool.call(plusOne, renamed, allocator)) {
        assertEquals(2, ((BigIntVector) second.getVector(0)).get(0));
      }
      assertEquals(copied, pool.copies().inputs().bytesCopied());
    }
  }

  /** The same vector under another name. */
  private VectorSchemaRoot renamed(VectorSchemaRoot root, String name) {
    TransferPair pair = root.getVector(0).getTransferPair(name, allocator);
    pair.splitAndTransfer(0, root.getRowCount());
    return VectorSchemaRoot.of((BigIntVector) pair.getTo());
  }

  @Test
  void sharedBatchesAreCopiedOnce() {
    try (VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, ROWS);
        Batch shared = pool.share(root, allocator)) {
      for (int i = 0; i < 3; i++) {
        pool.call(plusOne, shared, allocator).close();
      }
      assertEquals(new Copies.Way(3 * 8 * ROWS, 8 * ROWS), pool.copies().inputs());
    }
  }

  @Test
  void aRootMayBeClosedWhileAWorkerReadsIt() {
    try (Function slow = Workers.function("slow")) {
      CompletableFuture<Batch> future;
      try (VectorSchemaRoot root = Workers.numbers(pool.allocator(), "x", 7, ROWS)) {
        future = pool.callAsync(slow, root, allocator);
      }
      assertEquals(0, pool.allocator().getAllocatedMemory());
      // Were the memory free, this would be written over it.
      try (VectorSchemaRoot other = Workers.numbers(pool.allocator(), "x", -1_000_000, ROWS);
          Batch result = future.join()) {
        assertArrayEquals(LongStream.range(7, 7 + ROWS).toArray(), Workers.longs(result.getVector(0)));
        assertEquals(-1_000_000, ((BigIntVector) other.getVector(0)).get(0));
      }
    }
  }

  @Test
  void aRootOfAnotherAllocatorMayBeClosedAtOnce() {
    try (Function slow = Workers.function("slow");
        BufferAllocator own = new RootAllocator()) {
      CompletableFuture<Batch> future;
      try (VectorSchemaRoot root = Workers.numbers(own, "x", 7, ROWS)) {
        future = pool.callAsync(slow, root, allocator);
      }
      try (Batch result = future.join()) {
        assertArrayEquals(LongStream.range(7, 7 + ROWS).toArray(), Workers.longs(result.getVector(0)));
      }
    }
  }

  @Test
  void closingTwiceDoesNothing() {
    VectorSchemaRoot root = Workers.numbers(pool.allocator(), "x", 0, 10);
    Batch result = pool.call(plusOne, root, allocator);
    result.close();
    result.close();
    root.close();
    root.close();
    assertEquals(List.of(), pool.outstanding());
  }

  @Test
  void aPoolMayBeClosedBeforeWhatCameOfIt() {
    VectorSchemaRoot root = Workers.numbers(pool.allocator(), "x", 0, ROWS);
    Batch result = pool.call(plusOne, root, allocator);
    List<String> outstanding = pool.outstanding();
    assertEquals(2, outstanding.size());
    // The tests run with transom.debug.
    assertTrue(outstanding.get(0).contains("aPoolMayBeClosedBeforeWhatCameOfIt"), outstanding.get(0));
    assertTrue(outstanding.get(1).endsWith("bytes of the pool's allocator"), outstanding.get(1));
    pool.close();
    assertEquals(ROWS, ((BigIntVector) result.getVector(0)).get(ROWS - 1));
    assertEquals(ROWS - 1, ((BigIntVector) root.getVector(0)).get(ROWS - 1));
    ((BigIntVector) root.getVector(0)).set(0, 77);
    result.close();
    root.close();
    assertEquals(0, pool.allocator().getAllocatedMemory());
    assertEquals(List.of(), pool.outstanding());
  }

  @Test
  void aVectorMayLeaveItsBatch() {
    BigIntVector kept;
    try (VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, ROWS);
        Batch result = pool.call(plusOne, root, allocator)) {
      TransferPair pair = result.getVector(0).getTransferPair(allocator);
      pair.transfer();
      kept = (BigIntVector) pair.getTo();
    }
    assertEquals(1, pool.outstanding().size());
    assertEquals(ROWS, kept.get(ROWS - 1));
    kept.close();
    assertEquals(List.of(), pool.outstanding());
  }

  @Test
  void decimalsAreAlignedAndCounted() {
    int count = 100;
    try (ArrowBuf validity = allocator.buffer(16);
        ArrowBuf values = allocator.buffer(16 * count + 8);
        DecimalVector vector = new DecimalVector("x", allocator, 38, 2)) {
      validity.setOne(0L, 16L);
      ArrowBuf off = values.slice(8, 16 * count);
      for (int i = 0; i < count; i++) {
        off.setLong(16L * i, i);
        off.setLong(16L * i + 8, 0);
      }
      vector.loadFieldBuffers(new ArrowFieldNode(count, 0), List.of(validity, off));
      try (Batch result = pool.call(same, new VectorSchemaRoot(List.of(vector)), allocator)) {
        assertEquals(new BigDecimal("0.99"), ((DecimalVector) result.getVector(0)).getObject(99));
      }
      assertEquals(Map.of("aligned", 16L * count, "input was not in shared memory", 16L * count), pool.copies().reasons());
    }
  }

  @Test
  void theLimitHoldsForThePoolsAllocator() {
    try (Pool small = Workers.python(1).memoryLimit(8 << 20).build()) {
      TransomException error = assertThrows(TransomException.class, () -> small.allocator().buffer(64 << 20));
      assertEquals("BATCH_TOO_LARGE", error.codeName());
      assertEquals(0, small.allocator().getAllocatedMemory());
      small.allocator().buffer(4096).close();
    }
  }

  /** Arrow reports that as a leak. Where assertions are off, as they are in production, the lease ends all the same. */
  @Test
  void anAllocatorMayBeClosedBeforeItsResults() throws Exception {
    List<String> options = List.of("-Xcheck:jni", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-Dtransom.python=" + System.getProperty("transom.python"));
    assertEquals(List.of("IllegalStateException", "10", "[]"), Workers.run(ClosedAllocator.class, options));
  }

  /** Closes an allocator first and its batch after it. */
  static final class ClosedAllocator {
    private ClosedAllocator() {}

    public static void main(String[] arguments) {
      try (Pool pool = Workers.python(1).build();
          Function plusOne = Workers.function("plus_one")) {
        VectorSchemaRoot root = Workers.numbers(pool.allocator(), "x", 0, 10);
        BufferAllocator own = new RootAllocator();
        Batch result = pool.call(plusOne, root, own);
        System.out.println(assertThrows(IllegalStateException.class, own::close).getClass().getSimpleName());
        System.out.println(((BigIntVector) result.getVector(0)).get(9));
        result.close();
        root.close();
        System.out.println(pool.outstanding());
      }
    }
  }
}
