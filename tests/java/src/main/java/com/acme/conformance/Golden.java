package com.acme.conformance;

import com.fasterxml.jackson.databind.JsonNode;
import io.transom.Batch;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.util.AutoCloseables;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorLoader;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.VectorUnloader;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.arrow.vector.ipc.message.ArrowFieldNode;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;
import org.apache.arrow.vector.types.UnionMode;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.Schema;
import org.apache.arrow.vector.util.TransferPair;

/**
 * The batches of a request. Each is read from the beginning of its file, since a reader has one batch at a time, and dictionaries grow; it is there
 * until the next is asked for.
 */
final class Golden implements Iterator<VectorSchemaRoot>, AutoCloseable {
  private final Path file;
  private final JsonNode column;
  private final Iterator<JsonNode> inputs;
  private final BufferAllocator allocator;
  private ArrowStreamReader reader;
  private VectorSchemaRoot current;

  Golden(JsonNode request, BufferAllocator allocator) {
    file = Path.of(request.get("file").asText());
    column = request.get("column");
    inputs = request.get("inputs").elements();
    this.allocator = allocator;
  }

  @Override
  public boolean hasNext() {
    return inputs.hasNext();
  }

  @Override
  public VectorSchemaRoot next() {
    close();
    JsonNode input = inputs.next();
    try {
      reader = new ArrowStreamReader(new BufferedInputStream(Files.newInputStream(file)), allocator);
      reader.getVectorSchemaRoot().getSchema().getFields().forEach(Golden::check);
      for (int batch = 0; batch <= input.get("batch").asInt(); batch++) {
        reader.loadNextBatch();
      }
      current = reader.getVectorSchemaRoot();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    apply(input.path("steps"));
    return Batch.of(column.isNull() ? current : only(current, column.asInt()), reader);
  }

  /**
   * Vectors have no offsets, so a slice of structs is the structs of a slice, and one of a slice is one. It is taken at once and first: arrow-java
   * can slice neither structs of all types nor slices of dense unions.
   */
  private void apply(JsonNode steps) {
    int offset = 0;
    int length = current.getRowCount();
    int nests = 0;
    for (JsonNode step : steps) {
      switch (step.get(0).asText()) {
        case "nest" -> nests++;
        case "slice" -> {
          offset += step.get(1).asInt();
          length = step.get(2).asInt();
        }
        // In shared memory a batch is what it is elsewhere: it is for hosts whose slices keep their offsets.
        case "share" -> {}
        default -> throw new IllegalArgumentException("there is no step " + step);
      }
    }
    if (length < current.getRowCount()) {
      replace(slice(current, offset, length));
    }
    for (; nests > 0; nests--) {
      replace(nested(current));
    }
  }

  private void replace(VectorSchemaRoot next) {
    current.close();
    current = next;
  }

  @Override
  public void close() {
    try {
      AutoCloseables.close(current, reader);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (Exception e) {
      throw new IllegalStateException(e);
    } finally {
      current = null;
      reader = null;
    }
  }

  /** arrow-java would fail to read them, and keep what it had read until then. */
  private static void check(Field field) {
    if (field.getType() instanceof ArrowType.Union union
        && union.getMode() == UnionMode.Dense
        && !Arrays.equals(union.getTypeIds(), IntStream.range(0, field.getChildren().size()).toArray())) {
      throw new Unreadable("arrow-java reads no dense unions with codes " + Arrays.toString(union.getTypeIds()));
    }
    field.getChildren().forEach(Golden::check);
  }

  /** A file is not for arrow-java. */
  static final class Unreadable extends RuntimeException {
    private static final long serialVersionUID = 1;

    Unreadable(String message) {
      super(message);
    }
  }

  /** As {@link VectorSchemaRoot#slice} does it, which forgets the metadata. */
  private VectorSchemaRoot slice(VectorSchemaRoot root, int offset, int length) {
    List<FieldVector> parts = new ArrayList<>();
    for (FieldVector vector : root.getFieldVectors()) {
      TransferPair pair = vector.getTransferPair(vector.getField(), allocator);
      pair.splitAndTransfer(offset, length);
      parts.add((FieldVector) pair.getTo());
    }
    return new VectorSchemaRoot(root.getSchema(), parts, length);
  }

  /** One column `nested` of structs, whose fields are the columns. */
  private VectorSchemaRoot nested(VectorSchemaRoot root) {
    Field field = new Field("nested", FieldType.nullable(ArrowType.Struct.INSTANCE), root.getSchema().getFields());
    VectorSchemaRoot made = VectorSchemaRoot.create(new Schema(List.of(field), root.getSchema().getCustomMetadata()), allocator);
    try (ArrowRecordBatch flat = new VectorUnloader(root).getRecordBatch()) {
      List<ArrowFieldNode> nodes = new ArrayList<>(flat.getNodes());
      nodes.add(0, new ArrowFieldNode(root.getRowCount(), 0));
      List<ArrowBuf> buffers = new ArrayList<>(flat.getBuffers());
      buffers.add(0, allocator.getEmpty());
      try (ArrowRecordBatch deep =
          new ArrowRecordBatch(root.getRowCount(), nodes, buffers, flat.getBodyCompression(), flat.getVariadicBufferCounts(), true)) {
        new VectorLoader(made).load(deep);
      }
    }
    return made;
  }

  /** One column, under the name `x`; a view. */
  private static VectorSchemaRoot only(VectorSchemaRoot root, int column) {
    Field field = root.getSchema().getFields().get(column);
    Field renamed = new Field("x", field.getFieldType(), field.getChildren());
    return new VectorSchemaRoot(
        new Schema(List.of(renamed), root.getSchema().getCustomMetadata()), List.of(root.getVector(column)), root.getRowCount());
  }
}
