package io.transom.internal;

import io.transom.Batch;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BaseVariableWidthViewVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.complex.RunEndEncodedVector;
import org.apache.arrow.vector.dictionary.Dictionary;
import org.apache.arrow.vector.dictionary.DictionaryProvider;
import org.apache.arrow.vector.ipc.message.ArrowFieldNode;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * The data path: batches between Java and Rust as numbers that say where their buffers lie. One call for each batch, none for a column.
 *
 * <p>A batch is {@code [schema, rows, keeper]} and then, depth first for each vector, its values, (from Rust) its nulls, and its buffers, and for each
 * buffer its address and its size. A dictionary-encoded vector is followed by its dictionary's values. Neither side knows offsets of slices.
 *
 * <p>It may be used by several threads.
 */
public final class Codec {
  static {
    NativeLibrary.load();
  }

  private final long handle;
  private final Open open;
  private final Map<Announced, Long> numbers = new ConcurrentHashMap<>();
  /** What was sent last, which the next batch most likely is like: the same object, so nothing has to be compared. */
  private volatile Last last = new Last(null, 0);
  private final Map<Long, Layout> layouts = new ConcurrentHashMap<>();

  /** A schema of Java's, and what its dictionaries hold: two roots of one schema may have dictionaries of different types. */
  private record Announced(Schema schema, List<Field> values) {}

  /** A schema without dictionaries, and its number. */
  private record Last(Schema schema, long number) {}

  /**
   * Java's side of a codec.
   *
   * @param handle the handle of Rust's
   * @param open where results that nobody closed are noted
   */
  public Codec(long handle, Open open) {
    this.handle = handle;
    this.open = open;
  }

  /**
   * Java's side of a codec whose results nobody is told about when they are left open.
   *
   * @param handle the handle of Rust's
   */
  public Codec(long handle) {
    this(handle, new Open());
  }

  /**
   * Describes a batch for Rust. Its buffers are kept until Rust no longer reads them, whatever happens to the root meanwhile.
   *
   * @param root the batch; a {@link Batch} brings its dictionaries
   * @return the numbers, good for one native call
   */
  public long[] send(VectorSchemaRoot root) {
    DictionaryProvider dictionaries = root instanceof Batch batch ? batch.dictionaries() : null;
    long schema = announce(root.getSchema(), dictionaries);
    Description description = new Description(dictionaries);
    description.add(schema, root.getRowCount(), 0);
    List<Field> fields = root.getSchema().getFields();
    for (int i = 0; i < fields.size(); i++) {
      description.vector(fields.get(i), root.getVector(i));
    }
    return description.lent();
  }

  /**
   * Makes vectors over a batch of Rust's.
   *
   * @param description the numbers that a native call gave
   * @param allocator what the vectors are accounted to
   * @return the batch, which belongs to the caller
   */
  public Batch receive(long[] description, BufferAllocator allocator) {
    try (Lease lease = new Lease(description[2], open.add("a batch of " + description[1] + " rows"))) {
      Layout layout = layout(description[0]);
      return new Reader(description, layout, lease, allocator).batch();
    } finally {
      Memory.drain();
    }
  }

  /**
   * The number under which Rust knows a schema; it crosses when it is first asked for.
   *
   * @param schema a schema of vectors
   * @param dictionaries where the dictionaries of its fields are found; may be null where it has none
   * @return the number
   */
  public long announce(Schema schema, DictionaryProvider dictionaries) {
    Last before = last;
    if (before.schema() == schema) {
      return before.number();
    }
    List<Field> values = new ArrayList<>(0);
    schema.getFields().forEach(field -> addValues(field, dictionaries, values));
    Announced key = new Announced(schema, values);
    long number = numbers.computeIfAbsent(key, absent -> announce(handle, message(schema, dictionaries)));
    if (values.isEmpty()) {
      last = new Last(schema, number);
    }
    return number;
  }

  private static void addValues(Field field, DictionaryProvider dictionaries, List<Field> values) {
    if (field.getDictionary() != null) {
      values.add(NamedDictionary.values(dictionary(field, dictionaries)));
    }
    field.getChildren().forEach(child -> addValues(child, dictionaries, values));
  }

  private static byte[] message(Schema schema, DictionaryProvider dictionaries) {
    List<Field> fields = new ArrayList<>();
    for (Field field : schema.getFields()) {
      fields.add(inMessage(field, dictionaries));
    }
    return new Schema(fields, schema.getCustomMetadata()).serializeAsMessage();
  }

  /** As messages have it: a dictionary-encoded field has the type of its values. */
  private static Field inMessage(Field field, DictionaryProvider dictionaries) {
    Field typed = field.getDictionary() == null ? field : NamedDictionary.values(dictionary(field, dictionaries));
    List<Field> children = new ArrayList<>();
    for (Field child : typed.getChildren()) {
      children.add(inMessage(child, dictionaries));
    }
    return new Field(field.getName(), new FieldType(field.isNullable(), typed.getType(), field.getDictionary(), field.getMetadata()), children);
  }

  private static Dictionary dictionary(Field field, DictionaryProvider dictionaries) {
    long id = field.getDictionary().getId();
    Dictionary found = dictionaries == null ? null : dictionaries.lookup(id);
    if (found == null) {
      throw new IllegalArgumentException(
          "column `" + field.getName() + "` is encoded by dictionary " + id + ", which is not there: use Batch.of(root, dictionaries)");
    }
    return found;
  }

  /**
   * A schema of Rust's, in which dictionary-encoded fields have the type of their indices.
   *
   * @param number its number
   * @return the schema
   */
  public Schema schema(long number) {
    return layout(number).schema();
  }

  private Layout layout(long number) {
    Layout known = layouts.get(number);
    return known != null ? known : layouts.computeIfAbsent(number, absent -> Layout.parse(schema(handle, number)));
  }

  private static native long announce(long codec, byte[] message);

  private static native byte[] schema(long codec, long number);

  /** Numbers on their way to Rust, and the buffers that they name. */
  private static final class Description {
    private final DictionaryProvider dictionaries;
    private final List<ArrowBuf> buffers = new ArrayList<>();
    private long[] numbers = new long[32];
    private int count;

    Description(DictionaryProvider dictionaries) {
      this.dictionaries = dictionaries;
    }

    void add(long... more) {
      if (count + more.length > numbers.length) {
        numbers = Arrays.copyOf(numbers, 2 * (count + more.length));
      }
      System.arraycopy(more, 0, numbers, count, more.length);
      count += more.length;
    }

    void vector(Field field, FieldVector vector) {
      List<ArrowBuf> own = vector.getFieldBuffers();
      boolean views = vector instanceof BaseVariableWidthViewVector;
      add(vector.getValueCount(), own.size());
      for (int i = 0; i < own.size(); i++) {
        ArrowBuf buffer = own.get(i);
        // Texts of views are taken whole, so what was allocated behind the last is left out.
        long size = views && i > 1 && buffer.writerIndex() > 0 ? buffer.writerIndex() : buffer.capacity();
        add(size == 0 ? 0 : buffer.memoryAddress(), size);
        if (size > 0) {
          buffers.add(buffer);
        }
      }
      List<FieldVector> children = vector.getChildrenFromFields();
      if (children.size() != field.getChildren().size()) {
        throw new IllegalArgumentException("the root's schema says " + field + " and its vector is " + vector.getField() + ": make a new root");
      }
      for (int i = 0; i < children.size(); i++) {
        vector(field.getChildren().get(i), children.get(i));
      }
      if (field.getDictionary() != null) {
        Dictionary found = dictionary(field, dictionaries);
        vector(NamedDictionary.values(found), found.getVector());
      }
    }

    /** The numbers, with the buffers kept under the third. */
    long[] lent() {
      numbers[2] = Memory.lend(buffers);
      return Arrays.copyOf(numbers, count);
    }
  }

  /** Numbers that came from Rust, taken one by one. */
  private static final class Reader {
    private final long[] numbers;
    private final Layout layout;
    private final Lease lease;
    private final BufferAllocator allocator;
    private final DictionaryProvider.MapDictionaryProvider dictionaries = new DictionaryProvider.MapDictionaryProvider();
    private final List<FieldVector> made = new ArrayList<>();
    private int at = 3;

    Reader(long[] numbers, Layout layout, Lease lease, BufferAllocator allocator) {
      this.numbers = numbers;
      this.layout = layout;
      this.lease = lease;
      this.allocator = allocator;
    }

    Batch batch() {
      try {
        List<FieldVector> vectors = new ArrayList<>();
        for (Field field : layout.schema().getFields()) {
          vectors.add(make(field));
        }
        return Batch.owning(layout.schema(), vectors, Math.toIntExact(numbers[1]), dictionaries);
      } catch (RuntimeException e) {
        made.forEach(FieldVector::close);
        throw e;
      }
    }

    private FieldVector make(Field field) {
      FieldVector vector = field.createVector(allocator);
      made.add(vector);
      load(vector, field);
      return vector;
    }

    private void load(FieldVector vector, Field field) {
      ArrowFieldNode node = new ArrowFieldNode(numbers[at], numbers[at + 1]);
      int count = (int) numbers[at + 2];
      at += 3;
      List<ArrowBuf> buffers = new ArrayList<>(count);
      try {
        for (int i = 0; i < count; i++, at += 2) {
          buffers.add(lease.buffer(allocator, numbers[at], numbers[at + 1]));
        }
        vector.loadFieldBuffers(node, buffers);
        if (vector instanceof RunEndEncodedVector runs) {
          // The one kind of vector that forgets its length in arrow-java before 19.
          runs.setValueCount(node.getLength());
        }
      } finally {
        // The vector has its own right to them now.
        buffers.forEach(ArrowBuf::close);
      }
      List<FieldVector> children = vector.getChildrenFromFields();
      for (int i = 0; i < children.size(); i++) {
        load(children.get(i), field.getChildren().get(i));
      }
      if (field.getDictionary() != null) {
        Field values = layout.values().get(field.getDictionary().getId());
        dictionaries.put(new NamedDictionary(make(values), field.getDictionary(), values));
      }
    }
  }
}
