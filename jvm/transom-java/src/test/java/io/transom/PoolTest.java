package io.transom;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Calls that wait, and how they fail. */
@ExtendWith(Leaks.class)
class PoolTest {
  private BufferAllocator allocator;
  private Pool pool;

  @BeforeEach
  void start() {
    allocator = new RootAllocator();
    pool = Workers.python(1).build();
  }

  @AfterEach
  void stop() {
    pool.close();
    allocator.close();
  }

  private TransomException failure(Function function, VectorSchemaRoot arguments) {
    return assertThrows(TransomException.class, () -> pool.call(function, arguments, allocator));
  }

  private void works() {
    try (Function plusOne = Workers.function("plus_one");
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 5, 3);
        Batch result = pool.call(plusOne, root, allocator)) {
      assertArrayEquals(new long[] {6, 7, 8}, Workers.longs(result.getVector(0)));
    }
  }

  @Test
  void aRootMayBeSentAgain() {
    try (Function plusOne = Workers.function("plus_one");
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 1000)) {
      for (int i = 0; i < 3; i++) {
        try (Batch result = pool.call(plusOne, root, allocator)) {
          assertEquals("plus_one", result.getSchema().getFields().get(0).getName());
          assertArrayEquals(LongStream.rangeClosed(1, 1000).toArray(), Workers.longs(result.getVector("plus_one")));
        }
        assertEquals(999, ((BigIntVector) root.getVector("x")).get(999));
      }
    }
  }

  @Test
  void aPythonExceptionKeepsItsStory() {
    try (Function ratio = Workers.function("ratio");
        BigIntVector a = Workers.repeated(allocator, "a", 7, 4);
        BigIntVector b = Workers.repeated(allocator, "b", 2, 4)) {
      b.set(2, 0);
      TransomException error = failure(ratio, new VectorSchemaRoot(List.of(a, b)));
      assertEquals("TRN-3001", error.id());
      assertEquals("FUNCTION_RAISED", error.codeName());
      assertEquals("ratio", error.function().orElseThrow());
      assertEquals(0, error.batch().orElseThrow());
      assertEquals(2, error.firstRow().orElseThrow());
      assertEquals(3, error.endRow().orElseThrow());
      TransomException.Remote remote = error.remote().orElseThrow();
      assertEquals("ZeroDivisionError", remote.type());
      assertTrue(remote.traceback().contains("return a // b"), remote::traceback);
      assertTrue(error.toString().startsWith("TRN-3001 FUNCTION_RAISED: ZeroDivisionError"), error::toString);
    }
    works();
  }

  @Test
  void aMissingColumnNamesTheNearOnes() {
    try (Function plusOne = Workers.function("plus_one");
        VectorSchemaRoot root = Workers.numbers(allocator, "X", 0, 3)) {
      TransomException error = failure(plusOne, root);
      assertEquals("COLUMN_NOT_FOUND", error.codeName());
      assertEquals("did you mean `X`?", error.hint().orElseThrow());
    }
  }

  @Test
  void aFunctionThatHangsIsEndedAtItsDeadline(@TempDir Path folder) {
    try (Function sleep = Workers.function("sleep").withDeadline(Duration.ofMillis(300));
        Pool own = Workers.python(1).env("BEGUN", folder.resolve("begun").toString()).build();
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 3)) {
      TransomException error = assertThrows(TransomException.class, () -> own.call(sleep, root, allocator));
      assertEquals("DEADLINE_EXCEEDED", error.codeName());
      assertTrue(error.stack().orElseThrow().contains("in sleep"), error::toString);
      assertTrue(Files.exists(folder.resolve("begun")));
    }
  }

  @Test
  void aDeathIsAnErrorOfItsBatchAlone() {
    try (Function die = Workers.function("die");
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 3)) {
      TransomException error = failure(die, root);
      assertEquals("WORKER_SIGNALLED", error.codeName());
      assertTrue(error.worker().orElseThrow().contains("process"), error::toString);
    }
    works();
    assertEquals(1, pool.stats().workers().get(0).restarts());
  }

  @Test
  void anInterruptCancelsTheCall(@TempDir Path folder) throws Exception {
    Path begun = folder.resolve("begun");
    try (Function sleep = Workers.function("sleep");
        Pool own = Workers.python(1).env("BEGUN", begun.toString()).build();
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 3)) {
      Thread caller = Thread.currentThread();
      Thread interrupter =
          new Thread(
              () -> {
                while (!Files.exists(begun)) {
                  Thread.onSpinWait();
                }
                caller.interrupt();
              });
      interrupter.start();
      TransomException error = assertThrows(TransomException.class, () -> own.call(sleep, root, allocator));
      assertEquals("CANCELLED", error.codeName());
      assertTrue(Thread.interrupted());
      interrupter.join();
    }
  }

  @Test
  void aVectorWithoutItsValueCountIsRefused() {
    try (Function plusOne = Workers.function("plus_one");
        BigIntVector short3 = Workers.repeated(allocator, "x", 1, 3)) {
      TransomException error = failure(plusOne, new VectorSchemaRoot(List.of(short3.getField()), List.of(short3), 5));
      assertEquals("INVALID_DATA", error.codeName());
      assertEquals("column `x` of the Java batch: a vector has 3 values and 5 are needed", error.getMessage());
    }
    works();
  }

  @Test
  void whatIsClosedSaysSo() {
    Function plusOne = Workers.function("plus_one");
    try (VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 3)) {
      plusOne.close();
      plusOne.close();
      assertEquals("BAD_OPTION", failure(plusOne, root).codeName());
      pool.close();
      pool.close();
      assertEquals("POOL_CLOSED", failure(plusOne, root).codeName());
      assertEquals("POOL_CLOSED", assertThrows(TransomException.class, pool::stats).codeName());
      assertThrows(RuntimeException.class, () -> pool.allocator().buffer(64));
    }
  }

  @Test
  void badOptionsAreNamed() {
    assertEquals("BAD_OPTION", assertThrows(TransomException.class, () -> Pool.builder().workers(-1).build()).codeName());
    PoolBuilder missing = Pool.builder().python("/nowhere/python");
    assertEquals("INTERPRETER_MISSING", assertThrows(TransomException.class, missing::build).codeName());
    assertEquals("BAD_OPTION", assertThrows(TransomException.class, () -> Function.python("no function")).codeName());
    try (Function missingFile = Function.python("/nowhere/file.py:f");
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 3)) {
      assertEquals("FUNCTION_NOT_FOUND", failure(missingFile, root).codeName());
    }
  }

  @Test
  void aFunctionIsDescribed() {
    try (Function plusOne = Workers.function("plus_one").withDeadline(Duration.ofSeconds(9)).withRetries(2)) {
      Signature signature = pool.describe(plusOne);
      assertEquals("plus_one", signature.name().orElseThrow());
      assertEquals("x", signature.parameters().get(0).name());
      assertEquals(new ArrowType.Int(64, true), signature.parameters().get(0).type().getType());
      assertEquals(new ArrowType.Int(64, true), signature.results().orElseThrow().getFields().get(0).getType());
    }
  }

  /** The JVM's pipes to other processes are not marked to be closed, and a reader would wait for the worker's end. */
  @Test
  void workersInheritNoPipesOfOtherProcesses() throws Exception {
    Process cat = new ProcessBuilder("cat").start();
    try (Pool own = Workers.python(1).build();
        Function process = Workers.function("process");
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 1);
        Batch result = own.call(process, root, allocator)) {
      Set<String> worker = pipes(String.valueOf(((BigIntVector) result.getVector(0)).get(0)));
      worker.retainAll(pipes(String.valueOf(cat.pid())));
      assertEquals(Set.of(), worker);
    } finally {
      cat.destroyForcibly().waitFor();
    }
  }

  private static Set<String> pipes(String process) throws IOException {
    Set<String> found = new HashSet<>();
    try (Stream<Path> entries = Files.list(Path.of("/proc", process, "fd"))) {
      for (Path entry : entries.toList()) {
        found.add(Files.readSymbolicLink(entry).toString());
      }
    }
    found.removeIf(what -> !what.startsWith("pipe:"));
    return found;
  }

  @Test
  void statisticsCountBatches() {
    works();
    works();
    Stats stats = pool.stats();
    assertEquals(1, stats.workers().size());
    Stats.Worker worker = stats.workers().get(0);
    assertSame(Stats.Language.PYTHON, worker.language());
    assertEquals(2, worker.batches());
    assertEquals(6, worker.rows());
    assertTrue(worker.process().isPresent() && stats.memoryUsed() > 0 && stats.memoryUsed() <= stats.memoryLimit());
  }

  @Test
  void aSmallAllocatorSaysThatItIsTooSmall() {
    try (Function plusOne = Workers.function("plus_one");
        VectorSchemaRoot root = Workers.numbers(allocator, "x", 0, 100_000);
        BufferAllocator small = allocator.newChildAllocator("small", 0, 1000)) {
      assertThrows(org.apache.arrow.memory.OutOfMemoryException.class, () -> pool.call(plusOne, root, small));
      assertEquals(0, small.getAllocatedMemory());
    }
    assertEquals(List.of(), pool.outstanding());
    works();
  }
}
