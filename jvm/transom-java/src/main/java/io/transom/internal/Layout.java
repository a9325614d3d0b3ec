package io.transom.internal;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.DictionaryEncoding;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * A schema as vectors have it, in which a dictionary-encoded field has the type of its indices, and the fields of the dictionaries' values beside it.
 *
 * @param schema the schema
 * @param values the values' fields by the dictionaries' ids
 */
record Layout(Schema schema, Map<Long, Field> values) {
  /** What an IPC message says, in which a dictionary-encoded field has the type of its values. */
  static Layout parse(byte[] message) {
    Schema sent = Schema.deserializeMessage(ByteBuffer.wrap(message));
    Map<Long, Field> values = new HashMap<>();
    List<Field> fields = new ArrayList<>();
    for (Field field : sent.getFields()) {
      fields.add(inMemory(field, values));
    }
    return new Layout(new Schema(fields, sent.getCustomMetadata()), Map.copyOf(values));
  }

  private static Field inMemory(Field field, Map<Long, Field> values) {
    List<Field> children = new ArrayList<>();
    for (Field child : field.getChildren()) {
      children.add(inMemory(child, values));
    }
    DictionaryEncoding encoding = field.getDictionary();
    if (encoding == null) {
      return children.isEmpty() ? field : new Field(field.getName(), field.getFieldType(), children);
    }
    values.put(encoding.getId(), new Field("dictionary", FieldType.nullable(field.getType()), children));
    ArrowType indices = encoding.getIndexType();
    return new Field(field.getName(), new FieldType(field.isNullable(), indices, encoding, field.getMetadata()), null);
  }
}
