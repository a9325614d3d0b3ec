package io.transom.worker;

import io.transom.internal.Memory;
import java.util.ArrayList;
import java.util.List;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;

/** The worker's allocators. All functions of a process share one root, so that memory can be handed between them without a copy. */
final class Allocators {
  static final BufferAllocator ROOT = new RootAllocator();

  /** Allocators of calls whose results may still be on their way out, on this thread. */
  private static final ThreadLocal<List<BufferAllocator>> ENDED = ThreadLocal.withInitial(ArrayList::new);

  private Allocators() {}

  /** An allocator for one call or stream of a function. */
  static BufferAllocator lent(String function) {
    settle();
    return ROOT.newChildAllocator(function, 0, Long.MAX_VALUE);
  }

  /** Takes back what {@link #lent} gave. Where it holds memory, that may be the result's, which is still to be sent. */
  static void takeBack(BufferAllocator lent) {
    if (lent.getAllocatedMemory() == 0) {
      lent.close();
    } else {
      ENDED.get().add(lent);
    }
  }

  /** Closes the allocators of calls whose results are sent by now. What a function left in one is reported, and fails nothing. */
  static void settle() {
    List<BufferAllocator> ended = ENDED.get();
    if (ended.isEmpty()) {
      return;
    }
    Memory.drain();
    ended.forEach(Allocators::close);
    ended.clear();
  }

  private static void close(BufferAllocator lent) {
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
}
