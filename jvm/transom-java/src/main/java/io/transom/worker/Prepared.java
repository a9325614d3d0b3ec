package io.transom.worker;

import io.transom.BatchFunction;
import io.transom.RowFunction;
import io.transom.ScalarFunction;
import io.transom.Signature;
import io.transom.worker.Failure.Code;
import java.util.List;
import java.util.function.Supplier;

/** A function in a worker: its instance and what it declares. One for each thread that runs it. */
abstract class Prepared implements AutoCloseable {
  private final String name;
  final Signature signature;
  private final Object instance;

  Prepared(Object instance, Signature signature) {
    this.instance = instance;
    this.name = signature.name().orElse(instance.getClass().getSimpleName());
    this.signature = signature;
  }

  /** Finds, makes and reads a function. */
  static Prepared load(String name, List<String> jars) {
    Class<?> type = Loader.find(name, jars);
    Thread.currentThread().setContextClassLoader(type.getClassLoader());
    Object instance = Loader.instance(type);
    if (instance instanceof ScalarFunction scalar) {
      return new PreparedScalar(scalar, declared(type, scalar::signature));
    }
    if (instance instanceof RowFunction row) {
      return PreparedRow.of(row, declared(type, row::signature));
    }
    BatchFunction batches = (BatchFunction) instance;
    return new PreparedBatches(batches, declared(type, batches::signature));
  }

  private static Signature declared(Class<?> type, Supplier<Signature> signature) {
    Signature found;
    try {
      found = signature.get();
    } catch (Throwable thrown) {
      // Signature's own refusals say what is wrong in their messages; whatever else the method throws is shown the same way.
      String said = thrown instanceof IllegalArgumentException ? Report.message(thrown) : thrown.getClass().getName() + ": " + Report.message(thrown);
      throw Failure.of(Code.FUNCTION_SIGNATURE, "`" + type.getName() + "` declares no signature: " + said, thrown, null);
    }
    if (found == null) {
      throw wrong(type, "its method signature() returns null", "return Signature.of() where there is nothing to declare");
    }
    return found;
  }

  /** The refusal of a function that contradicts itself. */
  static Failure wrong(Class<?> type, String what, String hint) {
    return Failure.of(Code.FUNCTION_SIGNATURE, "`" + type.getName() + "`: " + what, hint);
  }

  /** Refuses more than one field as the result of a function that gives one column. */
  static void checkOneResult(Class<?> type, Signature signature) {
    signature
        .results()
        .filter(schema -> schema.getFields().size() != 1)
        .ifPresent(
            schema -> {
              throw wrong(type, "it gives one column, and declares " + schema.getFields().size() + " fields", "declare one field");
            });
  }

  /** The function's name. */
  public final String name() {
    return name;
  }

  final ClassLoader classes() {
    return instance.getClass().getClassLoader();
  }

  /** How the function sees data, by the number that the native side knows. */
  abstract int kind();

  /** Closes a function that wants it; what it throws is told on stderr, since nobody waits for an answer any more. */
  @Override
  public final void close() {
    if (instance instanceof AutoCloseable closeable) {
      try {
        closeable.close();
      } catch (Throwable thrown) {
        System.err.println("transom: closing function `" + name + "` failed: " + Report.stack(thrown));
      }
    }
  }
}
