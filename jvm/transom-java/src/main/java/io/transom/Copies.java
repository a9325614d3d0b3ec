package io.transom;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The copy ledger of a pool: how many bytes crossed in place, how many were copied, and why.
 *
 * @param inputs of arguments, from this process to workers
 * @param results of results, from workers to this process
 * @param reasons bytes copied for each reason that occurred, both ways added up
 */
public record Copies(Way inputs, Way results, Map<String, Long> reasons) {
  /**
   * The bytes that went one way.
   *
   * @param bytesShared those that crossed where they lay
   * @param bytesCopied those that were copied; padding is not counted
   */
  public record Way(long bytesShared, long bytesCopied) {}

  static Copies of(long[] counts, String[] reasons) {
    Map<String, Long> found = new LinkedHashMap<>();
    for (int i = 0; i < reasons.length; i++) {
      if (counts[4 + i] > 0) {
        found.put(reasons[i], counts[4 + i]);
      }
    }
    return new Copies(new Way(counts[0], counts[1]), new Way(counts[2], counts[3]), Collections.unmodifiableMap(found));
  }

  /**
   * Bytes that crossed where they lay, both ways.
   *
   * @return their number
   */
  public long bytesShared() {
    return inputs.bytesShared() + results.bytesShared();
  }

  /**
   * Bytes that were copied, both ways.
   *
   * @return their number
   */
  public long bytesCopied() {
    return inputs.bytesCopied() + results.bytesCopied();
  }
}
