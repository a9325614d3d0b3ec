package io.transom.worker;

/**
 * Thrown in a batches function where its input ends otherwise than by its end: the source failed, or nobody wants the results.
 *
 * <p>Not an {@link Exception}, so that a function's own {@code catch (Exception e)} does not take it for the function's affair. The native side keeps the
 * reason and gives it to the host when this comes out of the function.
 */
final class Interrupted extends Error {
  private static final long serialVersionUID = 1;

  Interrupted(String reason) {
    super(reason, null, false, false);
  }
}
