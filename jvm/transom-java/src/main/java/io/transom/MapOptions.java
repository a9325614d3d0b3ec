package io.transom;

import java.util.List;

/**
 * How a stream is mapped.
 *
 * @param columns the columns that the function is given; null for those with the names of its parameters, and all for batches functions
 * @param append whether a result has the input's columns too, before the function's
 * @param ordered whether results come in the order of the input; otherwise as they are ready
 */
public record MapOptions(List<String> columns, boolean append, boolean ordered) {
  /** Columns by the parameters' names, results alone, in order. */
  public static final MapOptions DEFAULT = new MapOptions(null, false, true);

  /**
   * Options that do not change.
   *
   * @param columns the columns, or null
   * @param append whether the input's columns come too
   * @param ordered whether the order is kept
   */
  public MapOptions {
    columns = columns == null ? null : List.copyOf(columns);
  }

  /**
   * The same options for these columns.
   *
   * @param columns the columns that the function is given, in the order of its parameters
   * @return the options
   */
  public MapOptions columns(String... columns) {
    return new MapOptions(List.of(columns), append, ordered);
  }

  /**
   * The same options, with the input's columns in the results.
   *
   * @return the options
   */
  public MapOptions appending() {
    return new MapOptions(columns, true, ordered);
  }

  /**
   * The same options, with results as they are ready.
   *
   * @return the options
   */
  public MapOptions unordered() {
    return new MapOptions(columns, append, false);
  }
}
