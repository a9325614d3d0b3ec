package io.transom;

/**
 * A function of the values of one row: it has one public method named {@code call}, whose parameters are columns and whose result is a value.
 *
 * <pre>{@code
 * public final class Upper implements RowFunction {
 *   public String call(String text) {
 *     return text == null ? null : text.toUpperCase(Locale.ROOT);
 *   }
 * }
 * }</pre>
 *
 * <p>The method's types say the Arrow types:
 *
 * <table>
 * <caption>Java types and their Arrow types</caption>
 * <tr><th>Java</th><th>Arrow</th><th>others, declared by {@link #signature()}</th></tr>
 * <tr><td>{@code boolean}</td><td>bool</td><td></td></tr>
 * <tr><td>{@code byte}, {@code short}, {@code int}, {@code long}</td><td>int8, int16, int32, int64</td><td></td></tr>
 * <tr><td>{@code float}, {@code double}</td><td>float32, float64</td><td></td></tr>
 * <tr><td>{@code String}</td><td>utf8</td><td>large_utf8</td></tr>
 * <tr><td>{@code byte[]}</td><td>binary</td><td>large_binary, fixed_size_binary</td></tr>
 * <tr><td>{@code BigDecimal}</td><td>none: must be declared</td><td>decimal128, decimal256</td></tr>
 * <tr><td>{@code LocalDate}</td><td>date32</td><td></td></tr>
 * <tr><td>{@code LocalTime}</td><td>time64 in microseconds</td><td>time64 in nanoseconds</td></tr>
 * <tr><td>{@code LocalDateTime}</td><td>timestamp in microseconds</td><td>other units</td></tr>
 * <tr><td>{@code Instant}</td><td>timestamp in microseconds, UTC</td><td>other units and zones</td></tr>
 * <tr><td>{@code Duration}</td><td>duration in microseconds</td><td>other units</td></tr>
 * <tr><td>{@code List<T>}</td><td>list of T's type</td><td></td></tr>
 * </table>
 *
 * <p>A null is {@code null}. A primitive parameter has none, so a null in its column is an error ({@code ARGUMENT_TYPE}) before the first row is
 * computed; the box ({@code Long} for {@code long}) takes nulls. A primitive result is never null.
 *
 * <p>The columns are named after the parameters: compile with {@code javac -parameters} ({@code kotlinc -java-parameters}; Scala does it by itself), or
 * name them in {@link #signature()}. Instances are made and used as those of {@link ScalarFunction}. What {@code call} throws fails the batch with
 * {@code FUNCTION_RAISED} and names the row.
 */
public interface RowFunction {
  /**
   * What the method alone cannot say: names, types from the last column of the table, deadline, retries. Asked once, when the function is loaded.
   *
   * @return the declaration; where it has parameters, there must be one for each of the method's
   */
  default Signature signature() {
    return Signature.of();
  }
}
