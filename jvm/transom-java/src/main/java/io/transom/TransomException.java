package io.transom;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * A failure, with its stable code: what happened, where, and what to do. {@code docs/errors.md} lists the codes.
 *
 * <p>{@link #getMessage()} is one sentence; {@link #toString()} is the whole story, with the place, the remote traceback and the last lines that a
 * worker printed. A failure of one batch is no failure of its pool: the next call works.
 */
public final class TransomException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** The code's number. */
  private final int code;
  /** The code's name. */
  private final String codeName;
  /** The function, or null. */
  private final String function;
  /** The batch, or -1. */
  private final long batch;
  /** The first row, or -1. */
  private final long firstRow;
  /** The row behind the last, or -1. */
  private final long endRow;
  /** The worker, or null. */
  private final String worker;
  /** The remote exception's type, or null. */
  private final String remoteType;
  /** Its message. */
  private final String remoteMessage;
  /** Its traceback. */
  private final String remoteTraceback;
  /** The worker's last lines, or null. */
  private final String output;
  /** The worker's stack, or null. */
  private final String stack;
  /** The signal, or 0. */
  private final int signal;
  /** What to do, or null. */
  private final String hint;
  /** The folder of the failure capsule, or null. */
  private final String capsule;
  /** All of it as text. */
  private final String whole;

  /**
   * An exception that a function raised in a worker, as text.
   *
   * @param type its type, such as {@code ValueError}
   * @param message its message
   * @param traceback the traceback, cut to the user's frames
   */
  public record Remote(String type, String message, String traceback) {}

  private TransomException(
      int code,
      String codeName,
      String message,
      String function,
      long[] place,
      String worker,
      String[] remote,
      String output,
      String stack,
      int signal,
      String hint,
      String capsule,
      String whole) {
    super(message);
    this.code = code;
    this.codeName = codeName;
    this.function = function;
    batch = place[0];
    firstRow = place[1];
    endRow = place[2];
    this.worker = worker;
    remoteType = remote[0];
    remoteMessage = remote[1];
    remoteTraceback = remote[2];
    this.output = output;
    this.stack = stack;
    this.signal = signal;
    this.hint = hint;
    this.capsule = capsule;
    this.whole = whole;
  }

  /** An error of Rust's with all its parts; numbers that it does not have are negative, texts are null. Called by the native library. */
  private static TransomException of(
      int code,
      String name,
      String message,
      String function,
      long batch,
      long firstRow,
      long endRow,
      String worker,
      String remoteType,
      String remoteMessage,
      String remoteTraceback,
      String output,
      String stack,
      int signal,
      String hint,
      String capsule,
      String whole) {
    long[] place = {batch, firstRow, endRow};
    String[] remote = {remoteType, remoteMessage, remoteTraceback};
    return new TransomException(code, name, message, function, place, worker, remote, output, stack, signal, hint, capsule, whole);
  }

  /**
   * A failure that is found on this side.
   *
   * @param code the code's number
   * @param name the code's name
   * @param message one sentence
   * @param hint what to do, or null
   * @return the exception
   */
  public static TransomException of(int code, String name, String message, String hint) {
    String whole = "TRN-" + code + " " + name + ": " + message + (hint == null ? "" : "\n  hint: " + hint);
    return of(code, name, message, null, -1, -1, -1, null, null, null, null, null, null, 0, hint, null, whole);
  }

  /**
   * The code's number, such as 3001.
   *
   * @return the number
   */
  public int code() {
    return code;
  }

  /**
   * The code as users see it, such as {@code TRN-3001}.
   *
   * @return the code
   */
  public String id() {
    return "TRN-" + code;
  }

  /**
   * The code's name, such as {@code FUNCTION_RAISED}.
   *
   * @return the name
   */
  public String codeName() {
    return codeName;
  }

  /**
   * The function concerned.
   *
   * @return its name
   */
  public Optional<String> function() {
    return Optional.ofNullable(function);
  }

  /**
   * The batch concerned, counted from 0 in its stream.
   *
   * @return its number
   */
  public OptionalLong batch() {
    return number(batch);
  }

  /**
   * The first of the rows concerned, counted from 0 in the stream.
   *
   * @return its number
   */
  public OptionalLong firstRow() {
    return number(firstRow);
  }

  /**
   * The row behind the last of those concerned.
   *
   * @return its number
   */
  public OptionalLong endRow() {
    return number(endRow);
  }

  /**
   * The worker concerned, in words.
   *
   * @return the worker
   */
  public Optional<String> worker() {
    return Optional.ofNullable(worker);
  }

  /**
   * The exception that the function raised.
   *
   * @return the exception as text
   */
  public Optional<Remote> remote() {
    return remoteType == null ? Optional.empty() : Optional.of(new Remote(remoteType, remoteMessage, remoteTraceback));
  }

  /**
   * The last lines that the worker printed.
   *
   * @return the lines
   */
  public List<String> output() {
    return output == null ? List.of() : List.of(output.split("\n", -1));
  }

  /**
   * The stack that the worker wrote when it died.
   *
   * @return the stack
   */
  public Optional<String> stack() {
    return Optional.ofNullable(stack);
  }

  /**
   * The signal by which the worker was killed, where it was not its host that did.
   *
   * @return its number
   */
  public OptionalInt signal() {
    return signal == 0 ? OptionalInt.empty() : OptionalInt.of(signal);
  }

  /**
   * The failure capsule in which the input that failed was saved ({@link PoolBuilder#capsules}).
   *
   * @return its folder
   */
  public Optional<Path> capsule() {
    return Optional.ofNullable(capsule).map(Path::of);
  }

  /**
   * What to do next.
   *
   * @return a sentence
   */
  public Optional<String> hint() {
    return Optional.ofNullable(hint);
  }

  @Override
  public String toString() {
    return whole;
  }

  private static OptionalLong number(long number) {
    return number < 0 ? OptionalLong.empty() : OptionalLong.of(number);
  }
}
