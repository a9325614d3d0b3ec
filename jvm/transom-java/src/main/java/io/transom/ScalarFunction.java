package io.transom;

import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;

/**
 * A function from columns to a column: vectors in, one vector of the same length out.
 *
 * <pre>{@code
 * public final class PlusOne implements ScalarFunction {
 *   public Signature signature() {
 *     return Signature.of().parameter("x", MinorType.BIGINT.getType()).returns(MinorType.BIGINT.getType());
 *   }
 *
 *   public FieldVector call(Arguments arguments, BufferAllocator allocator) {
 *     BigIntVector x = arguments.vector("x", BigIntVector.class);
 *     BigIntVector result = new BigIntVector("result", allocator);
 *     result.allocateNew(arguments.rows());
 *     for (int row = 0; row < arguments.rows(); row++) {
 *       if (x.isNull(row)) {
 *         result.setNull(row);
 *       } else {
 *         result.set(row, x.get(row) + 1);
 *       }
 *     }
 *     result.setValueCount(arguments.rows());
 *     return result;
 *   }
 * }
 * }</pre>
 *
 * <p>A worker makes one instance for each of its threads, by the constructor without parameters, and calls it on that thread alone: fields need no
 * lock. A Scala or Kotlin {@code object} is one instance for all threads. An instance that is {@link AutoCloseable} is closed when its worker ends.
 */
public interface ScalarFunction {
  /**
   * What the function takes and gives. Asked once, when the function is loaded.
   *
   * @return the declaration; the name is the class's simple name unless it says another
   */
  Signature signature();

  /**
   * Computes one batch.
   *
   * @param arguments the columns, in the order of the parameters and of the types that they are declared with. They lie in memory that is read-only,
   *     and are closed after the call; to keep a column longer, move it to an allocator of one's own by {@link FieldVector#getTransferPair(BufferAllocator)}.
   *     That allocator must be a child of the given one's root ({@link BufferAllocator#getRoot()}), since Arrow moves no memory between roots.
   * @param allocator for the result and for what the call needs meanwhile, which must be closed before it returns: what is left is reported as a leak
   * @return a vector with as many values as there are rows; it belongs to the worker from now on. An argument may be given back
   * @throws Exception anything: it fails the batch with {@code FUNCTION_RAISED}, and the caller sees class, message, stack and causes
   */
  FieldVector call(Arguments arguments, BufferAllocator allocator) throws Exception;
}
