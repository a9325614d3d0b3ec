package io.transom;

import java.util.List;
import java.util.Objects;
import org.apache.arrow.util.AutoCloseables;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.dictionary.Dictionary;
import org.apache.arrow.vector.dictionary.DictionaryProvider;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * A record batch with its dictionaries: what calls give.
 *
 * <p>A result's vectors lie in shared memory that its worker wrote, and are read there without a copy. Closing the batch ends the lease, so that the
 * worker can use the memory again; vectors that were transferred out of it end their part when they are closed. A result stays readable after its
 * pool is closed. Results are read only: what other processes may read must not change.
 *
 * <p>A batch may be the argument of further calls; it crosses then without a copy as well. {@link #of} makes one of a root of the application's own
 * whose columns are dictionary-encoded.
 */
public final class Batch extends VectorSchemaRoot {
  private final DictionaryProvider dictionaries;
  private final boolean owner;

  private Batch(Schema schema, List<FieldVector> vectors, int rows, DictionaryProvider dictionaries, boolean owner) {
    super(schema, vectors, rows);
    this.dictionaries = dictionaries;
    this.owner = owner;
  }

  /**
   * A root and the dictionaries of its columns, to be sent together. Both stay the caller's: closing the batch closes neither.
   *
   * @param root the root
   * @param dictionaries where the dictionaries of its columns are found
   * @return the batch, a view
   */
  public static Batch of(VectorSchemaRoot root, DictionaryProvider dictionaries) {
    Objects.requireNonNull(dictionaries, "the dictionaries are null");
    return new Batch(root.getSchema(), root.getFieldVectors(), root.getRowCount(), dictionaries, false);
  }

  /**
   * Vectors that belong to the batch from here on.
   *
   * @param schema their schema, in which dictionary-encoded fields have the type of their indices
   * @param vectors the vectors
   * @param rows the number of rows
   * @param dictionaries the dictionaries, which belong to the batch too
   * @return the batch
   */
  public static Batch owning(Schema schema, List<FieldVector> vectors, int rows, DictionaryProvider dictionaries) {
    return new Batch(schema, vectors, rows, dictionaries, true);
  }

  /**
   * The dictionaries of the columns that are encoded by one.
   *
   * @return where they are found by their ids
   */
  public DictionaryProvider dictionaries() {
    return dictionaries;
  }

  /** Closes the vectors and the dictionaries. Doing so twice does nothing. */
  @Override
  public void close() {
    if (!owner) {
      return;
    }
    try {
      AutoCloseables.close(getFieldVectors());
      for (long id : dictionaries.getDictionaryIds()) {
        Dictionary dictionary = dictionaries.lookup(id);
        dictionary.getVector().close();
      }
    } catch (RuntimeException e) {
      throw e;
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }
}
