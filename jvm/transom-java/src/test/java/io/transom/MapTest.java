package io.transom;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.TreeSet;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.dictionary.Dictionary;
import org.apache.arrow.vector.dictionary.DictionaryEncoder;
import org.apache.arrow.vector.dictionary.DictionaryProvider.MapDictionaryProvider;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.arrow.vector.ipc.ArrowStreamWriter;
import org.apache.arrow.vector.types.pojo.DictionaryEncoding;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Functions over streams of batches. */
@ExtendWith(Leaks.class)
class MapTest {
  private static final int WORKERS = 2;

  /** The batches that a worker may have, by default. */
  private static final int WINDOW = 3;

  private BufferAllocator allocator;
  private Pool pool;
  private final Function plusOne = Workers.function("plus_one");

  @BeforeEach
  void start() {
    allocator = new RootAllocator();
    pool = Workers.python(WORKERS).build();
  }

  @AfterEach
  void stop() {
    pool.close();
    allocator.close();
    plusOne.close();
  }

  /** A source of batches of ten rows, each of which is closed when the next is asked for. */
  private class Source implements Iterator<VectorSchemaRoot>, AutoCloseable {
    private final int count;
    private VectorSchemaRoot last;
    int given;

    Source(int count) {
      this.count = count;
    }

    @Override
    public boolean hasNext() {
      return given < count;
    }

    @Override
    public VectorSchemaRoot next() {
      close();
      last = Workers.numbers(allocator, "x", 10L * given, 10);
      given++;
      return last;
    }

    @Override
    public void close() {
      if (last != null) {
        last.close();
      }
    }
  }

  @Test
  void resultsComeInOrder() {
    try (Source source = new Source(50);
        Batches results = pool.map(plusOne, source, allocator, MapOptions.DEFAULT)) {
      for (int i = 0; i < 50; i++) {
        assertTrue(results.hasNext() && results.hasNext());
        try (Batch batch = results.next()) {
          assertEquals(10L * i + 1, ((BigIntVector) batch.getVector("plus_one")).get(0));
        }
      }
      assertFalse(results.hasNext());
      assertThrows(NoSuchElementException.class, results::next);
    }
  }

  @Test
  void withoutOrderAllResultsCome() {
    TreeSet<Long> firsts = new TreeSet<>();
    try (Source source = new Source(50);
        Batches results = pool.map(plusOne, source, allocator, MapOptions.DEFAULT.unordered())) {
      while (results.hasNext()) {
        try (Batch batch = results.next()) {
          firsts.add(((BigIntVector) batch.getVector(0)).get(0));
        }
      }
    }
    assertEquals(50, firsts.size());
    assertEquals(491, firsts.last());
  }

  @Test
  void appendedResultsHoldTheInputsColumns() {
    try (Source source = new Source(5);
        Batches results = pool.map(plusOne, source, allocator, MapOptions.DEFAULT.appending())) {
      List<Batch> kept = new ArrayList<>();
      results.forEachRemaining(kept::add);
      assertEquals(5, kept.size());
      for (int i = 0; i < 5; i++) {
        Batch batch = kept.get(i);
        assertEquals(10L * i + 9, ((BigIntVector) batch.getVector("x")).get(9));
        assertEquals(10L * i + 10, ((BigIntVector) batch.getVector("plus_one")).get(9));
        batch.close();
      }
    }
  }

  @Test
  void noMoreIsTakenThanWorkersCanHave() {
    try (Source source = new Source(100);
        Batches results = pool.map(plusOne, source, allocator, MapOptions.DEFAULT)) {
      assertEquals(0, source.given);
      for (int taken = 1; taken <= 20; taken++) {
        results.next().close();
        assertTrue(source.given <= taken + WINDOW * WORKERS, source.given + " batches for " + taken);
      }
    }
  }

  @Test
  void whatTheSourceThrowsComesOutAsItIs() {
    IOException thrown = new IOException("the disk is on fire");
    Source good = new Source(3);
    Iterator<VectorSchemaRoot> source =
        new Iterator<>() {
          @Override
          public boolean hasNext() {
            return true;
          }

          @Override
          public VectorSchemaRoot next() {
            if (!good.hasNext()) {
              MapTest.<RuntimeException>raise(thrown);
            }
            return good.next();
          }
        };
    try (good;
        Batches results = pool.map(plusOne, source, allocator, MapOptions.DEFAULT)) {
      for (int i = 0; i < 3; i++) {
        results.next().close();
      }
      assertTrue(results.hasNext());
      assertSame(thrown, assertThrows(IOException.class, results::next));
      assertFalse(results.hasNext());
    }
  }

  @SuppressWarnings("unchecked")
  private static <E extends Throwable> void raise(Throwable error) throws E {
    throw (E) error;
  }

  @Test
  void aBatchThatFailsIsOneException() {
    List<String> seen = new ArrayList<>();
    List<FieldVector> made = new ArrayList<>();
    Iterator<VectorSchemaRoot> source =
        List.of(1L, 0L, 2L).stream()
            .map(
                divisor -> {
                  FieldVector a = Workers.repeated(allocator, "a", 10, 4);
                  FieldVector b = Workers.repeated(allocator, "b", divisor, 4);
                  made.add(a);
                  made.add(b);
                  return new VectorSchemaRoot(List.of(a, b));
                })
            .iterator();
    try (Function ratio = Workers.function("ratio");
        Batches results = pool.map(ratio, source, allocator, MapOptions.DEFAULT)) {
      while (results.hasNext()) {
        try (Batch batch = results.next()) {
          seen.add(batch.getVector(0).getObject(0).toString());
        } catch (TransomException e) {
          seen.add(e.codeName() + " batch " + e.batch().getAsLong() + " row " + e.firstRow().getAsLong());
        }
      }
    }
    made.forEach(FieldVector::close);
    assertEquals(List.of("10", "FUNCTION_RAISED batch 1 row 4", "5"), seen);
  }

  @Test
  void aBatchesFunctionSeesTheWholeStream() {
    List<Long> totals = new ArrayList<>();
    try (Function running = Workers.function("running");
        Source source = new Source(5);
        Batches results = pool.map(running, source, allocator, MapOptions.DEFAULT)) {
      while (results.hasNext()) {
        try (Batch batch = results.next()) {
          totals.add(((BigIntVector) batch.getVector("total")).get(0));
        }
      }
    }
    assertEquals(List.of(45L, 190L, 435L, 780L, 1225L), totals);
  }

  @Test
  void aStreamMayBeClosedInItsMiddle() {
    Source source = new Source(1000);
    Batches results = pool.map(plusOne, source, allocator, MapOptions.DEFAULT);
    try (Batch first = results.next()) {
      results.hasNext();
      results.close();
      results.close();
      assertThrows(IllegalStateException.class, results::next);
      assertEquals(1, ((BigIntVector) first.getVector(0)).get(0));
    }
    source.close();
    assertEquals(List.of(), pool.outstanding());
  }

  @Test
  void aStreamOutlivesItsPoolAsAnError() {
    Source source = new Source(1000);
    Batches results = pool.map(plusOne, source, allocator, MapOptions.DEFAULT);
    results.next().close();
    pool.close();
    TransomException error =
        assertThrows(
            TransomException.class,
            () -> {
              while (true) {
                results.next().close();
              }
            });
    assertEquals("POOL_CLOSED", error.codeName());
    results.close();
    source.close();
  }

  @Test
  void anArrowReaderIsASourceWithItsDictionaries() throws Exception {
    byte[] file = dictionaryEncoded(3);
    try (Function same = Workers.function("same");
        ArrowStreamReader reader = new ArrowStreamReader(new ByteArrayInputStream(file), allocator);
        Batches results = pool.map(same, reader, allocator, MapOptions.DEFAULT)) {
      int batches = 0;
      while (results.hasNext()) {
        try (Batch batch = results.next()) {
          long id = batch.getVector(0).getField().getDictionary().getId();
          try (FieldVector decoded = (FieldVector) DictionaryEncoder.decode(batch.getVector(0), batch.dictionaries().lookup(id), allocator)) {
            assertEquals("zwei", decoded.getObject(batches).toString());
          }
          batches++;
        }
      }
      assertEquals(3, batches);
    }
  }

  /** A stream of batches whose column is encoded by a dictionary, with `zwei` in row i of batch i. */
  private byte[] dictionaryEncoded(int batches) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (VarCharVector words = Workers.repeated(allocator, "words", "eins", 2)) {
      words.setSafe(1, "zwei".getBytes(java.nio.charset.StandardCharsets.UTF_8));
      Dictionary dictionary = new Dictionary(words, new DictionaryEncoding(7, false, null));
      MapDictionaryProvider provider = new MapDictionaryProvider(dictionary);
      try (VarCharVector plain = Workers.repeated(allocator, "x", "eins", batches);
          FieldVector encoded = (FieldVector) DictionaryEncoder.encode(plain, dictionary);
          VectorSchemaRoot root = new VectorSchemaRoot(List.of(encoded));
          ArrowStreamWriter writer = new ArrowStreamWriter(root, provider, out)) {
        writer.start();
        for (int batch = 0; batch < batches; batch++) {
          for (int row = 0; row < batches; row++) {
            ((org.apache.arrow.vector.BaseIntVector) encoded).setWithPossibleTruncate(row, row == batch ? 1 : 0);
          }
          writer.writeBatch();
        }
        writer.end();
      }
    }
    return out.toByteArray();
  }
}
