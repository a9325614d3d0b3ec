package io.transom.worker;

import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.NullVector;
import org.apache.arrow.vector.util.TransferPair;

/** The worker's allocators. All functions of a process share one root, so that memory can be handed between them without a copy. */
final class Allocators {
  static final BufferAllocator ROOT = new RootAllocator();

  private Allocators() {}

  /** An allocator for one call or stream of a function. */
  static BufferAllocator lent(String function) {
    return ROOT.newChildAllocator(function, 0, Long.MAX_VALUE);
  }

  /** Takes back what {@link #lent} gave; what the function left in it is reported, and fails nothing. */
  static void takeBack(BufferAllocator lent) {
    long left = lent.getAllocatedMemory();
    if (left > 0) {
      System.err.println("transom: function `" + lent.getName() + "` left " + left + " bytes of its allocator unreleased");
    }
    try {
      lent.close();
    } catch (IllegalStateException leak) {
      // Arrow's way to say the same; the line above names the function.
      assert left > 0 : leak;
    }
  }

  /** The same values in another allocator, without a copy; the vector is empty afterwards. A vector of a root of the function's own stays as it is. */
  static FieldVector moved(FieldVector vector, BufferAllocator to) {
    // A vector of nothing but nulls has no memory at all.
    if (vector instanceof NullVector || vector.getAllocator().getRoot() != ROOT) {
      return vector;
    }
    TransferPair pair = vector.getTransferPair(vector.getField(), to);
    pair.transfer();
    return (FieldVector) pair.getTo();
  }
}
