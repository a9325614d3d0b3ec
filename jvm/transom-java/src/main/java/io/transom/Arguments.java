package io.transom;

import java.util.List;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.dictionary.DictionaryProvider.MapDictionaryProvider;

/** The columns of one call of a {@link ScalarFunction}. */
public interface Arguments {
  /**
   * How many rows the batch has; also where there are no columns.
   *
   * @return the number of rows, from 0
   */
  int rows();

  /**
   * All columns, in the order of the parameters; columns of a variadic function's tail follow.
   *
   * @return the columns, each with {@link #rows()} values
   */
  List<FieldVector> vectors();

  /**
   * A column by its parameter's name.
   *
   * @param <V> the vector's class
   * @param name the parameter
   * @param type the class that the column's Arrow type has, such as {@code BigIntVector.class} for int64
   * @return the column
   * @throws IllegalArgumentException where there is no such column or it is of another class; the message names both
   */
  <V extends FieldVector> V vector(String name, Class<V> type);

  /**
   * The dictionaries of the columns that are dictionary-encoded. A result that is dictionary-encoded has its dictionary put here; it is closed with the
   * result.
   *
   * @return the dictionaries of this call
   */
  MapDictionaryProvider dictionaries();
}
