package com.acme.conformance;

import io.transom.Batch;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.VectorUnloader;
import org.apache.arrow.vector.dictionary.Dictionary;
import org.apache.arrow.vector.dictionary.DictionaryProvider;
import org.apache.arrow.vector.ipc.WriteChannel;
import org.apache.arrow.vector.ipc.message.ArrowDictionaryBatch;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;
import org.apache.arrow.vector.ipc.message.MessageSerializer;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.Schema;
import org.apache.arrow.vector.util.DictionaryUtility;

/**
 * The results of a request as an Arrow IPC stream. arrow-java's own writer is for one root that is filled again and again; here each batch is one of
 * its own, with dictionaries of its own.
 */
final class Output implements AutoCloseable {
  private final WriteChannel channel;
  private int written;

  Output(Path file) throws IOException {
    channel = new WriteChannel(FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE));
  }

  int written() {
    return written;
  }

  void write(VectorSchemaRoot batch) throws IOException {
    DictionaryProvider dictionaries = ((Batch) batch).dictionaries();
    if (written == 0) {
      MessageSerializer.serialize(channel, message(batch.getSchema(), dictionaries));
    }
    for (Field field : batch.getSchema().getFields()) {
      writeDictionaries(field, dictionaries);
    }
    try (ArrowRecordBatch record = new VectorUnloader(batch).getRecordBatch()) {
      MessageSerializer.serialize(channel, record);
    }
    written++;
  }

  private static Schema message(Schema schema, DictionaryProvider dictionaries) {
    List<Field> fields = new ArrayList<>();
    for (Field field : schema.getFields()) {
      fields.add(DictionaryUtility.toMessageFormat(field, dictionaries, new HashSet<>()));
    }
    return new Schema(fields, schema.getCustomMetadata());
  }

  /** The dictionaries of a field, in place of those of the batch before; those that others are made of come first. */
  private void writeDictionaries(Field field, DictionaryProvider dictionaries) throws IOException {
    for (Field child : field.getChildren()) {
      writeDictionaries(child, dictionaries);
    }
    if (field.getDictionary() == null) {
      return;
    }
    Dictionary dictionary = dictionaries.lookup(field.getDictionary().getId());
    FieldVector values = dictionary.getVector();
    for (Field child : values.getField().getChildren()) {
      writeDictionaries(child, dictionaries);
    }
    VectorSchemaRoot root = new VectorSchemaRoot(List.of(values.getField()), List.of(values), values.getValueCount());
    try (ArrowDictionaryBatch batch = new ArrowDictionaryBatch(field.getDictionary().getId(), new VectorUnloader(root).getRecordBatch(), false)) {
      MessageSerializer.serialize(channel, batch);
    }
  }

  @Override
  public void close() throws IOException {
    try (channel) {
      if (written == 0) {
        MessageSerializer.serialize(channel, new Schema(List.of()));
      }
      channel.writeIntLittleEndian(MessageSerializer.IPC_CONTINUATION_TOKEN);
      channel.writeIntLittleEndian(0);
    }
  }
}
