package io.transom;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.transom.Function.OnError;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.UInt8Vector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What is asked for where functions fail: policies for rows, dead letters, failure capsules and limits. */
@ExtendWith(Leaks.class)
class FailuresTest {
  private BufferAllocator allocator;
  private Function noThrees;

  @BeforeEach
  void start() {
    allocator = new RootAllocator();
    noThrees = Workers.function("no_threes");
  }

  @AfterEach
  void stop() {
    noThrees.close();
    allocator.close();
  }

  /** The rows of their stream that dead letters have. */
  private static long[] rows(VectorSchemaRoot letters) {
    UInt8Vector rows = (UInt8Vector) letters.getVector("transom_row");
    long[] found = new long[letters.getRowCount()];
    for (int i = 0; i < found.length; i++) {
      found[i] = rows.get(i);
    }
    return found;
  }

  @Test
  void aRowThatFailsIsNullWhereThatIsAskedFor() {
    try (Pool pool = Workers.python(1).build();
        Function nulls = noThrees.withOnError(OnError.NULL);
        Function raises = nulls.withOnError(OnError.RAISE);
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 5)) {
      try (Batch result = pool.call(nulls, root, allocator)) {
        BigIntVector values = (BigIntVector) result.getVector(0);
        assertEquals(1, values.getNullCount());
        assertTrue(values.isNull(3));
        assertEquals(5, values.get(4));
      }
      TransomException error = assertThrows(TransomException.class, () -> pool.call(raises, root, allocator));
      assertEquals("FUNCTION_RAISED", error.codeName());
      assertEquals(3, error.firstRow().orElseThrow());
    }
  }

  @Test
  void deadLettersOfCallsAreThePools() {
    try (Pool pool = Workers.python(1).build();
        Function letters = noThrees.withOnError(OnError.DEAD_LETTER);
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 5)) {
      assertEquals(List.of(), pool.deadLetters(allocator));
      try (Batch result = pool.call(letters, root, allocator)) {
        assertArrayEquals(new long[] {1, 2, 3, 5}, Workers.longs(result.getVector(0)));
      }
      List<Batch> taken = pool.deadLetters(allocator);
      assertEquals(1, taken.size());
      try (Batch batch = taken.get(0)) {
        assertArrayEquals(new long[] {3}, Workers.longs(batch.getVector("x")));
        assertArrayEquals(new long[] {3}, rows(batch));
        assertEquals("TRN-3001", batch.getVector("transom_code").getObject(0).toString());
        assertEquals("ValueError: three", batch.getVector("transom_error").getObject(0).toString());
      }
      assertEquals(List.of(), pool.deadLetters(allocator));
    }
  }

  @Test
  void deadLettersOfAStreamAreItsOwn() {
    try (Pool pool = Workers.python(1).build();
        Function letters = noThrees.withOnError(OnError.DEAD_LETTER);
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 5);
        Batches results = pool.map(letters, List.of(root, root).iterator(), allocator, MapOptions.DEFAULT)) {
      assertEquals(Optional.empty(), results.deadLetters());
      while (results.hasNext()) {
        try (Batch batch = results.next()) {
          assertEquals(4, batch.getRowCount());
        }
      }
      try (Batch batch = results.deadLetters().orElseThrow()) {
        assertArrayEquals(new long[] {3, 8}, rows(batch));
      }
      assertEquals(Optional.empty(), results.deadLetters());
      assertEquals(List.of(), pool.deadLetters(allocator));
    }
  }

  @Test
  void aClosedStreamGivesNoDeadLetters() {
    try (Pool pool = Workers.python(1).build()) {
      Batches results = pool.map(noThrees, List.<VectorSchemaRoot>of().iterator(), allocator, MapOptions.DEFAULT);
      results.close();
      assertThrows(IllegalStateException.class, results::deadLetters);
    }
  }

  @Test
  void theInputOfAFailureIsSavedWhereThatIsAskedFor(@TempDir Path folder) {
    try (Pool pool = Workers.python(1).capsules(folder).capsuleBytes(1 << 20).capsuleCount(1).build();
        Function die = Workers.function("die");
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 5)) {
      TransomException error = assertThrows(TransomException.class, () -> pool.call(die, root, allocator));
      Path capsule = error.capsule().orElseThrow();
      assertTrue(capsule.startsWith(folder) && Files.exists(capsule.resolve("capsule.json")), capsule::toString);
      assertEquals(OptionalInt.of(9), error.signal());
      TransomException next = assertThrows(TransomException.class, () -> pool.call(noThrees, root, allocator));
      assertFalse(next.capsule().isPresent());
      assertFalse(next.signal().isPresent());
    }
  }

  @Test
  void limitsAreHeldTo() {
    try (Pool pool = Workers.python(1).workerMemory(4L << 30).workerDescriptors(256).resultLimit(64).startLimit(Duration.ofMinutes(5)).build();
        Function plusOne = Workers.function("plus_one");
        VectorSchemaRoot few = Workers.numbers(allocator, "x", 0, 5);
        VectorSchemaRoot many = Workers.numbers(allocator, "x", 0, 1000)) {
      pool.call(plusOne, few, allocator).close();
      TransomException error = assertThrows(TransomException.class, () -> pool.call(plusOne, many, allocator));
      assertEquals("RESULT_TOO_LARGE", error.codeName());
    }
    for (PoolBuilder builder :
        List.of(Workers.python(1).workerMemory(0), Workers.python(1).workerDescriptors(0), Workers.python(1).workerProcesses(0))) {
      assertEquals("BAD_OPTION", assertThrows(TransomException.class, builder::build).codeName());
    }
  }
}
