package io.transom;

import java.util.Iterator;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.dictionary.DictionaryProvider.MapDictionaryProvider;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * The stream of batches that a {@link BatchFunction} reads. {@link #next()} waits for the host where no batch is there yet, and closes the batch before.
 *
 * <p>Where the host's source fails, or nobody wants the results any more, {@link #hasNext()} and {@link #next()} throw an {@link Error} that is not the
 * function's affair: it should be let through.
 */
public interface Input extends Iterator<VectorSchemaRoot> {
  /**
   * The schema of all batches.
   *
   * @return the schema; a dictionary-encoded field is that of its indices, with its encoding
   */
  Schema schema();

  /**
   * The dictionaries of the batch that came last. A result with a dictionary of its own has it put here.
   *
   * @return the dictionaries of this stream
   */
  MapDictionaryProvider dictionaries();
}
