package io.transom.internal;

import java.util.concurrent.atomic.AtomicInteger;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.ForeignAllocation;

/** The right to read a batch of Rust's: it ends when the last of its buffers is released, however the vectors were passed around before. */
final class Lease implements AutoCloseable {
  private final long handle;
  private final Open.Handle open;
  /** Buffers that are still held, and one for whoever makes them. */
  private final AtomicInteger holders = new AtomicInteger(1);

  Lease(long handle, Open.Handle open) {
    this.handle = handle;
    this.open = open;
  }

  /** A part of the batch's memory as a buffer that is accounted to an allocator. */
  ArrowBuf buffer(BufferAllocator allocator, long address, long size) {
    if (size == 0) {
      return allocator.getEmpty();
    }
    holders.incrementAndGet();
    try {
      return allocator.wrapForeignAllocation(
          new ForeignAllocation(size, address) {
            @Override
            protected void release0() {
              close();
            }
          });
    } catch (RuntimeException e) {
      close();
      throw e;
    }
  }

  /** One holder less. */
  @Override
  public void close() {
    if (holders.decrementAndGet() == 0) {
      open.close();
      Memory.release(handle);
    }
  }
}
