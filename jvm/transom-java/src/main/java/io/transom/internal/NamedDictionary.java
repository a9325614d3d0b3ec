package io.transom.internal;

import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.dictionary.Dictionary;
import org.apache.arrow.vector.types.pojo.DictionaryEncoding;
import org.apache.arrow.vector.types.pojo.Field;

/** A dictionary that knows the names inside of its values: a vector of lists calls its child `$data$`, whatever its name was. */
final class NamedDictionary extends Dictionary {
  private final Field values;

  NamedDictionary(FieldVector vector, DictionaryEncoding encoding, Field values) {
    super(vector, encoding);
    this.values = values;
  }

  /** The field of a dictionary's values, with the names that it had when it came. */
  static Field values(Dictionary dictionary) {
    return dictionary instanceof NamedDictionary named ? named.values : dictionary.getVector().getField();
  }
}
