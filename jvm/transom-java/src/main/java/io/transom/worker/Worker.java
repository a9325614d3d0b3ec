package io.transom.worker;

import io.transom.Batch;
import io.transom.Signature;
import io.transom.internal.Codec;
import io.transom.internal.Memory;
import io.transom.internal.Open;
import io.transom.worker.Failure.Code;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.dictionary.DictionaryProvider.MapDictionaryProvider;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * The functions of one link, as the native side calls them: on one thread, each method once the one before has returned. What any of them throws is
 * the host's answer: a {@link Failure}, an {@link Interrupted}, or a defect.
 */
final class Worker implements AutoCloseable {
  private final BufferAllocator received = Allocators.ROOT.newChildAllocator("arguments", 0, Long.MAX_VALUE);
  private final Map<Integer, Prepared> functions = new HashMap<>();
  private Codec codec;
  private Stream stream;

  /** The link is there: its batches come and go by this codec. */
  void begin(long codec) {
    this.codec = new Codec(codec, new Open());
  }

  /** The language and its version. */
  String language() {
    return "Java " + Runtime.version();
  }

  /** Lets go of buffers that the native side does not read any more. */
  void letGo() {
    Memory.drain();
  }

  /** What the host is told of whatever was thrown here. */
  Failure report(Throwable thrown) {
    return Failure.reported(thrown);
  }

  /** A signature in what the native side reads field by field; a schema is a number of the codec's, or -1 where there is none. */
  record Described(String name, int kind, long parameters, boolean[] typed, boolean variadic, long returns, double deadline, int retries) {}

  /** Loads a function and remembers it under a number. */
  Described define(int function, String name, String[] jars) {
    Prepared prepared = Prepared.load(name, List.of(jars));
    Signature signature = prepared.signature;
    List<Signature.Parameter> parameters = signature.parameters();
    boolean[] typed = new boolean[parameters.size()];
    for (int i = 0; i < typed.length; i++) {
      typed[i] = parameters.get(i).type() != null;
    }
    List<Field> fields = parameters.stream().map(Worker::field).toList();
    long returns = signature.results().map(this::announced).orElse(-1L);
    double deadline = signature.deadline().map(duration -> duration.toNanos() / 1e9).orElse(-1.0);
    functions.put(function, prepared);
    return new Described(
        prepared.name(), prepared.kind(), announced(new Schema(fields)), typed, signature.isVariadic(), returns, deadline, signature.retries());
  }

  private static Field field(Signature.Parameter parameter) {
    return parameter.type() != null ? parameter.type() : new Field(parameter.name(), FieldType.nullable(new ArrowType.Null()), null);
  }

  private long announced(Schema schema) {
    return codec.announce(schema, new MapDictionaryProvider());
  }

  private <P> P prepared(int function, Class<P> kind) {
    Prepared found = functions.get(function);
    if (!kind.isInstance(found)) {
      throw Failure.of(Code.INTERNAL, "function " + function + " is not loaded", null);
    }
    Thread.currentThread().setContextClassLoader(found.classes());
    return kind.cast(found);
  }

  /** Calls a scalar or row function with a batch; gives a batch of one column. */
  long[] call(int function, long[] flat) {
    ColumnFunction column = prepared(function, ColumnFunction.class);
    return LastWords.during(column.name(), () -> call(column, flat));
  }

  private long[] call(ColumnFunction function, long[] flat) {
    BufferAllocator lent = Allocators.lent(function.name());
    try (Batch batch = codec.receive(flat, received);
        Dictionaries dictionaries = new Dictionaries()) {
      dictionaries.show(batch);
      FieldVector result = function.call(new Columns(batch, dictionaries), lent);
      // Arrow's sparse unions forget the numbers of their types: an argument that is given back has its own field still.
      int index = batch.getFieldVectors().indexOf(result);
      Field field = index < 0 ? result.getField() : batch.getSchema().getFields().get(index);
      try (VectorSchemaRoot root = new VectorSchemaRoot(List.of(field), List.of(result), result.getValueCount())) {
        return codec.send(Batch.of(root, dictionaries.provider()));
      }
    } finally {
      Allocators.takeBack(lent);
    }
  }

  /** Opens a batches function over an input. */
  void open(int function, long schema, long input) {
    PreparedBatches batches = prepared(function, PreparedBatches.class);
    stream = LastWords.during(batches.name(), () -> new Stream(batches, codec, received, schema, input));
  }

  /** The next result of the stream that is open; null at its end. */
  long[] next() {
    return LastWords.during(stream.function(), stream::next);
  }

  /** Ends the stream that is open, if it could be opened. */
  void end() {
    if (stream != null) {
      Stream ended = stream;
      stream = null;
      LastWords.during(
          ended.function(),
          () -> {
            ended.end();
            return null;
          });
    }
  }

  /** Says goodbye: functions that want to are closed. */
  @Override
  public void close() {
    Allocators.settle();
    functions.values().forEach(Prepared::close);
  }
}
