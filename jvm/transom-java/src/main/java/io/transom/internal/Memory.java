package io.transom.internal;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.arrow.memory.ArrowBuf;

/** Memory that Java and Rust both read: who keeps it, and who lets go of it. */
public final class Memory {
  static {
    NativeLibrary.load();
  }

  /** Buffers of Java's that Rust reads, by the number that Rust gives back when it has done so. */
  private static final Map<Long, ArrowBuf[]> LENT = new ConcurrentHashMap<>();

  private static final AtomicLong LAST = new AtomicLong();

  private Memory() {}

  /** Keeps buffers until Rust says that nobody reads them any more; it says so under the number that is given here. */
  static long lend(List<ArrowBuf> buffers) {
    ArrowBuf[] lent = buffers.toArray(new ArrowBuf[0]);
    for (ArrowBuf buffer : lent) {
      buffer.getReferenceManager().retain();
    }
    long number = LAST.incrementAndGet();
    LENT.put(number, lent);
    return number;
  }

  /** Lets go of the buffers that Rust no longer reads. To be called after every native call that may have been the last to hold some. */
  public static void drain() {
    long[] numbers = noLongerRead();
    if (numbers == null) {
      return;
    }
    for (long number : numbers) {
      ArrowBuf[] buffers = LENT.remove(number);
      if (buffers != null) {
        for (ArrowBuf buffer : buffers) {
          buffer.getReferenceManager().release();
        }
      }
    }
  }

  /**
   * How many batches of Java's Rust holds: none when nothing is under way.
   *
   * @return their number
   */
  public static int lent() {
    drain();
    return LENT.size();
  }

  /** Gives memory of Rust's back; then whatever of Java's that held. */
  static void release(long handle) {
    giveBack(handle);
    drain();
  }

  private static native long[] noLongerRead();

  /** Memory of a pool's arena: its handle and its address. */
  static native void allocate(long pool, long size, long[] block);

  private static native void giveBack(long handle);
}
