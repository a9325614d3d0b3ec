package io.transom;

import java.util.Iterator;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;

/**
 * A function from a stream of batches to another: an iterator in, an iterator out, of any number of rows each. One instance sees a whole stream, so what
 * it keeps in local variables of {@link #call} is the stream's.
 *
 * <pre>{@code
 * public final class Evens implements BatchFunction {
 *   public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
 *     ...
 *   }
 * }
 * }</pre>
 *
 * <p>Instances are made and used as those of {@link ScalarFunction}.
 */
public interface BatchFunction {
  /**
   * What the function gives, its deadline and its retries. Asked once, when the function is loaded.
   *
   * @return the declaration; it has no parameters. Without a schema of results, that of the first batch holds for the stream
   */
  default Signature signature() {
    return Signature.of();
  }

  /**
   * Opens a stream. Batches are taken from the input as the results are asked for: nothing need be read here.
   *
   * @param input the stream's batches. Each is closed when the next is taken, and the last at the stream's end
   * @param allocator for the results and for what the stream needs meanwhile; what is still allocated when the stream has ended is reported as a leak
   * @return the results. Each belongs to the worker from now on, which closes it when it is sent; it may be the same object every time, filled anew, or a
   *     batch of the input. If the iterator is {@link AutoCloseable}, it is closed when the stream ends, wherever it stands
   * @throws Exception anything: it fails the stream with {@code FUNCTION_RAISED}
   */
  Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) throws Exception;
}
