package io.transom.worker;

import io.transom.Arguments;
import io.transom.Batch;
import java.util.List;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.dictionary.DictionaryProvider.MapDictionaryProvider;

/** The arguments of one call. */
final class Columns implements Arguments {
  private final Batch batch;
  private final Dictionaries dictionaries;

  Columns(Batch batch, Dictionaries dictionaries) {
    this.batch = batch;
    this.dictionaries = dictionaries;
  }

  @Override
  public int rows() {
    return batch.getRowCount();
  }

  @Override
  public List<FieldVector> vectors() {
    return batch.getFieldVectors();
  }

  @Override
  public <V extends FieldVector> V vector(String name, Class<V> type) {
    FieldVector found = batch.getVector(name);
    if (found == null) {
      throw new IllegalArgumentException("there is no column `" + name + "`: there are " + batch.getSchema().getFields());
    }
    if (!type.isInstance(found)) {
      throw new IllegalArgumentException("column `" + name + "` is a " + found.getClass().getSimpleName() + ", not a " + type.getSimpleName());
    }
    return type.cast(found);
  }

  @Override
  public MapDictionaryProvider dictionaries() {
    return dictionaries.provider();
  }
}
