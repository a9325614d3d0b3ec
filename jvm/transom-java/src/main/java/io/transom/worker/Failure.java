package io.transom.worker;

import io.transom.TransomException;

/** What the host is told instead of a result. The native side reads the fields by name. */
final class Failure extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** No row is to blame. */
  static final long NO_ROW = -1;

  /** The codes that come from here; their numbers are those of {@code docs/errors.md}. */
  enum Code {
    FUNCTION_NOT_FOUND(1101),
    FUNCTION_IMPORT_FAILED(1102),
    FUNCTION_NOT_CALLABLE(1103),
    FUNCTION_SIGNATURE(1104),
    CANCELLED(2112),
    FUNCTION_RAISED(3001),
    NOT_ARROW(4003),
    INVALID_DATA(4004),
    ARGUMENT_TYPE(6003),
    INTERNAL(9001);

    private final int number;

    Code(int number) {
      this.number = number;
    }
  }

  final int code;
  final String kind;
  final String traceback;
  final long row;
  final String hint;

  private Failure(int code, String kind, String message, String traceback, long row, String hint) {
    // Nobody looks at its own stack: the user's is in the text.
    super(message, null, false, false);
    this.code = code;
    this.kind = kind;
    this.traceback = traceback;
    this.row = row;
    this.hint = hint;
  }

  /** A failure without an exception; the hint may be null. */
  static Failure of(Code code, String message, String hint) {
    return new Failure(code.number, "", Report.capped(message, Report.MESSAGE_LIMIT), "", NO_ROW, hint);
  }

  /** A failure at a row of the batch. */
  static Failure at(long row, Code code, String message, String hint) {
    return new Failure(code.number, "", Report.capped(message, Report.MESSAGE_LIMIT), "", row, hint);
  }

  /** A failure with its own sentence and the exception that it came of. */
  static Failure of(Code code, String message, Throwable cause, String hint) {
    return new Failure(code.number, cause.getClass().getName(), Report.capped(message, Report.MESSAGE_LIMIT), Report.stack(cause), NO_ROW, hint);
  }

  /** What the function's own code threw, whatever it is, to be thrown instead of it. */
  static Failure raised(Throwable thrown, long row) {
    if (thrown instanceof Failure failure) {
      return failure;
    }
    if (thrown instanceof Interrupted interrupted) {
      throw interrupted;
    }
    String hint = null;
    if (thrown instanceof OutOfMemoryError) {
      hint = "send smaller batches, or give the worker's JVM more memory: java_options=[\"-Xmx2g\"]";
    } else if (thrown instanceof StackOverflowError) {
      hint = "the recursion does not end, or needs more stack: java_options=[\"-Xss8m\"]";
    }
    return new Failure(Code.FUNCTION_RAISED.number, thrown.getClass().getName(), Report.message(thrown), Report.stack(thrown), row, hint);
  }

  /** The report on whatever came out of the worker. */
  static Failure reported(Throwable thrown) {
    if (thrown instanceof Failure failure) {
      return failure;
    }
    if (thrown instanceof Interrupted) {
      // The native side knows the reason, which it gave to the input.
      return new Failure(Code.CANCELLED.number, thrown.getClass().getName(), Report.message(thrown), "", NO_ROW, null);
    }
    if (thrown instanceof TransomException refused) {
      return new Failure(refused.code(), "", Report.message(refused), "", NO_ROW, refused.hint().orElse(null));
    }
    if (thrown instanceof OutOfMemoryError) {
      return raised(thrown, NO_ROW);
    }
    // What is left is a defect of Transom itself.
    return new Failure(Code.INTERNAL.number, thrown.getClass().getName(), Report.message(thrown), Report.stack(thrown), NO_ROW, null);
  }
}
