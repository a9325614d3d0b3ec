package io.transom.worker;

import io.transom.Batch;
import java.util.HashSet;
import java.util.Set;
import org.apache.arrow.vector.dictionary.DictionaryProvider.MapDictionaryProvider;

/** The dictionaries that a function sees: those of its input, which the input closes, and those that it adds for its results. */
final class Dictionaries implements AutoCloseable {
  private final MapDictionaryProvider provider = new MapDictionaryProvider();
  private final Set<Long> inputs = new HashSet<>();

  /** Shows the dictionaries of a batch, in place of those of the batch before under the same numbers. */
  void show(Batch batch) {
    for (long id : batch.dictionaries().getDictionaryIds()) {
      provider.put(batch.dictionaries().lookup(id));
      inputs.add(id);
    }
  }

  MapDictionaryProvider provider() {
    return provider;
  }

  /** Closes what the function added. */
  @Override
  public void close() {
    for (long id : provider.getDictionaryIds()) {
      if (!inputs.contains(id)) {
        provider.lookup(id).getVector().close();
      }
    }
  }
}
