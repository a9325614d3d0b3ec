package io.transom;

import io.transom.internal.NativeLibrary;
import java.lang.ref.Cleaner;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Locale;

/**
 * A user-defined function: where it is, and how it is to be run. It holds no memory of batches and belongs to no pool; the first use of it in a pool
 * loads it in a worker.
 *
 * <pre>{@code
 * Function plusOne = Function.python("udfs.py:plus_one").withDeadline(Duration.ofSeconds(10));
 * }</pre>
 */
public final class Function implements AutoCloseable {
  static {
    NativeLibrary.load();
  }

  /** What becomes of rows for which a function fails. */
  public enum OnError {
    /** Their batch fails. */
    RAISE,
    /** The result of a row for which the function raises is null. A function that kills its worker fails the batch all the same. */
    NULL,
    /**
     * The row is taken out of the result and kept apart, with the reason; also where the function kills its worker. {@link Batches#deadLetters} and
     * {@link Pool#deadLetters} give such rows.
     */
    DEAD_LETTER
  }

  private static final Cleaner CLEANER = Cleaner.create();

  private final long handle;
  private final Cleaner.Cleanable cleanable;

  private Function(long handle) {
    this.handle = handle;
    cleanable = CLEANER.register(this, () -> release(handle));
  }

  /**
   * A Python function.
   *
   * @param reference {@code path/file.py:name} or {@code package.module:name}
   * @return the function
   * @throws TransomException {@code BAD_OPTION} where the text has no such form
   */
  public static Function python(String reference) {
    return new Function(pythonReference(reference));
  }

  /**
   * A function in a shared library, by the name under which the library describes it.
   *
   * @param library the library's file
   * @param name the function's name
   * @return the function
   * @throws TransomException {@code BAD_OPTION} where the name is empty
   */
  public static Function library(Path library, String name) {
    return new Function(inLibrary(library.toString(), name));
  }

  /**
   * A function for JVM workers: the name of a class, or of a service that one of the jars offers.
   *
   * @param name such as {@code com.acme.Discount}
   * @param jars where the class lies, besides the workers' class path
   * @return the function
   * @throws TransomException {@code BAD_OPTION} where the text is no name of a class
   */
  public static Function java(String name, Path... jars) {
    Function function = new Function(javaClass(name));
    return jars.length == 0 ? function : function.withPath(jars);
  }

  /**
   * The same function, with other places where its worker looks for modules or classes.
   *
   * @param path folders for Python; jars and folders of classes for Java
   * @return the function with it
   */
  public Function withPath(Path... path) {
    String[] texts = Arrays.stream(path).map(entry -> entry.toAbsolutePath().toString()).toArray(String[]::new);
    return new Function(with(handle(), texts, 0, -1, null));
  }

  /**
   * The same function with a deadline.
   *
   * @param deadline the longest that one batch may take before its worker is ended; overrules the pool's
   * @return the function with it
   */
  public Function withDeadline(Duration deadline) {
    if (deadline.isNegative() || deadline.isZero()) {
      throw new IllegalArgumentException("the deadline " + deadline + " is not more than nothing");
    }
    return new Function(with(handle(), null, deadline.toNanos(), -1, null));
  }

  /**
   * The same function with retries. Only for functions that may run twice on the same rows.
   *
   * @param retries how often a batch is tried again after its worker died
   * @return the function with them
   */
  public Function withRetries(int retries) {
    if (retries < 0) {
      throw new IllegalArgumentException("retries are " + retries + ", and cannot be less than 0");
    }
    return new Function(with(handle(), null, 0, retries, null));
  }

  /**
   * The same function with another policy for rows for which it fails. To find the rows to blame, rows may be run again, so the same rows must give the
   * same results.
   *
   * @param onError the policy; overrules what the function's definition says
   * @return the function with it
   */
  public Function withOnError(OnError onError) {
    return new Function(with(handle(), null, 0, -1, onError.name().toLowerCase(Locale.ROOT)));
  }

  /**
   * The function's name.
   *
   * @return the name
   */
  public String name() {
    return name(handle());
  }

  long handle() {
    return handle;
  }

  /** Lets go of the handle; calls under way go on. A function that is not closed is closed when it is collected. Doing so twice does nothing. */
  @Override
  public void close() {
    cleanable.clean();
  }

  @Override
  public String toString() {
    return "Function(" + name() + ")";
  }

  private static native long pythonReference(String reference);

  private static native long inLibrary(String library, String name);

  private static native long javaClass(String name);

  private static native long with(long function, String[] path, long deadline, int retries, String onError);

  private static native String name(long function);

  private static native void release(long function);
}
