package io.transom;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.Schema;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every Arrow type that Java has comes from Python, whole and as slices, is read in Java, goes back, and is what it was. */
@TestInstance(Lifecycle.PER_CLASS)
class TypesTest {
  private static final int[] OFFSETS = {1, 7, 23, 24};

  private BufferAllocator allocator;
  private Pool pool;
  /** Closed after each test. */
  private final List<FieldVector> questions = new ArrayList<>();
  private final Function sliced = Workers.function("sliced");
  private final Function tail = Workers.function("tail");
  private final Function check = Workers.function("check");

  @BeforeAll
  void start() {
    allocator = new RootAllocator();
    pool = Workers.python(1).build();
  }

  @AfterAll
  void stop() {
    pool.close();
    allocator.close();
  }

  private List<String> names(long which) {
    try (Function names = Workers.function("names");
        Batch found = pool.call(names, asked("", which), allocator)) {
      List<String> texts = new ArrayList<>();
      for (int i = 0; i < found.getRowCount(); i++) {
        texts.add(found.getVector("name").getObject(i).toString());
      }
      return texts;
    }
  }

  List<String> typesThatCross() {
    return names(0);
  }

  List<String> typesThatJavaLacks() {
    return names(1);
  }

  /** A question to the Python functions. */
  private VectorSchemaRoot asked(String name, long offset) {
    List<FieldVector> vectors = questions(name, (int) offset, 1);
    questions.addAll(vectors);
    return new VectorSchemaRoot(vectors);
  }

  @AfterEach
  void closeQuestions() {
    questions.forEach(FieldVector::close);
    questions.clear();
    assertEquals(0, allocator.getAllocatedMemory());
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("typesThatCross")
  void crossesWholeAndSliced(String name) {
    try (Batch whole = pool.call(sliced, asked(name, 0), allocator)) {
      sentBack(whole, name, 0);
      for (int offset : OFFSETS) {
        try (Batch copied = pool.call(sliced, asked(name, offset), allocator)) {
          isTail(whole, copied, name, offset);
        }
        try (Batch inPlace = pool.call(tail, with(whole, questions(name, offset, whole.getRowCount())), allocator)) {
          isTail(whole, inPlace, name, offset);
        }
      }
    }
  }

  private void isTail(Batch whole, Batch slice, String name, int offset) {
    int rows = whole.getRowCount() - offset;
    assertEquals(rows, slice.getRowCount());
    for (int row = 0; row < rows; row++) {
      assertEquals(text(whole, offset + row), text(slice, row), "row " + row + " from " + offset + " on");
    }
    sentBack(slice, name, offset);
  }

  private static String text(Batch batch, int row) {
    FieldVector vector = batch.getVector("x");
    Object value = vector.getObject(row);
    return value instanceof byte[] bytes ? HexFormat.of().formatHex(bytes) : String.valueOf(value);
  }

  private void sentBack(Batch batch, String name, int offset) {
    int rows = batch.getRowCount();
    try (Batch answer = pool.call(check, with(batch, questions(name, offset, rows)), allocator)) {
      assertEquals(rows, answer.getRowCount());
    }
    // The same without a worker: into shared memory, and read from there.
    try (Batch shared = pool.share(batch, allocator)) {
      for (int row = 0; row < rows; row++) {
        assertEquals(text(batch, row), text(shared, row));
      }
    }
  }

  private List<FieldVector> questions(String name, int offset, int rows) {
    return List.of(Workers.repeated(allocator, "name", name, rows), Workers.repeated(allocator, "offset", offset, rows));
  }

  /** The batch with more columns. Its own schema is kept: a sparse union's type ids are only there. */
  private Batch with(Batch batch, List<FieldVector> more) {
    questions.addAll(more);
    List<FieldVector> columns = new ArrayList<>(batch.getFieldVectors());
    columns.addAll(more);
    List<Field> fields = new ArrayList<>(batch.getSchema().getFields());
    more.forEach(vector -> fields.add(vector.getField()));
    return Batch.of(new VectorSchemaRoot(new Schema(fields), columns, batch.getRowCount()), batch.dictionaries());
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("typesThatJavaLacks")
  void whatJavaLacksIsRefusedByName(String name) {
    TransomException refused = assertThrows(TransomException.class, () -> pool.call(sliced, asked(name, 0), allocator));
    assertEquals("BAD_SCHEMA", refused.codeName());
    assertTrue(refused.getMessage().contains("column `x` cannot cross to Java"), refused::getMessage);
  }

  @Test
  void thereAreTypes() {
    assertTrue(typesThatCross().size() > 55 && typesThatJavaLacks().size() > 3);
  }

  @Test
  void onlyBitsWithinAByteAreCopiedForASlice() {
    String bits = typesThatCross().stream().filter(name -> name.endsWith("bool")).findFirst().orElseThrow();
    try (Batch whole = pool.call(sliced, asked(bits, 0), allocator)) {
      long before = unsliced();
      pool.call(tail, with(whole, questions(bits, 8, 24)), allocator).close();
      assertEquals(before, unsliced());
      pool.call(tail, with(whole, questions(bits, 7, 24)), allocator).close();
      // 17 bits of values and 17 of validity.
      assertEquals(before + 6, unsliced());
    }
  }

  private long unsliced() {
    return pool.copies().reasons().getOrDefault("reader knows no slices", 0L);
  }
}
