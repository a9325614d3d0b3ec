package io.transom.internal;

import org.apache.arrow.memory.AllocationManager;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.ReferenceManager;
import org.apache.arrow.memory.RootAllocator;

/** An arrow-java allocator whose buffers lie in a pool's shared memory from the start, so that batches made with it cross without a copy. */
public final class ArenaAllocator {
  /** What the arena rounds to anyway. Arrow's own policy rounds to powers of two, which wastes up to half. */
  private static final long ALIGNMENT = 64;

  private ArenaAllocator() {}

  /**
   * An allocator over the arena of a pool.
   *
   * @param pool the pool's handle
   * @return the allocator, which belongs to the caller
   */
  public static BufferAllocator over(long pool) {
    return new RootAllocator(
        RootAllocator.configBuilder().allocationManagerFactory(new Factory(pool)).roundingPolicy(ArenaAllocator::rounded).build());
  }

  private static long rounded(long size) {
    return Math.addExact(size, ALIGNMENT - 1) & -ALIGNMENT;
  }

  private record Factory(long pool) implements AllocationManager.Factory {
    private static final ArrowBuf EMPTY = new ArrowBuf(ReferenceManager.NO_OP, null, 0, 0);

    @Override
    public AllocationManager create(BufferAllocator accounting, long size) {
      long[] block = new long[2];
      Memory.allocate(pool, size, block);
      try {
        return new Block(accounting, size, block[0], block[1]);
      } catch (RuntimeException e) {
        Memory.release(block[0]);
        throw e;
      }
    }

    @Override
    public ArrowBuf empty() {
      return EMPTY;
    }
  }

  /** One allocation. Workers that still read it keep the memory by themselves when it is released here. */
  private static final class Block extends AllocationManager {
    private final long size;
    private final long handle;
    private final long address;

    Block(BufferAllocator accounting, long size, long handle, long address) {
      super(accounting);
      this.size = size;
      this.handle = handle;
      this.address = address;
    }

    @Override
    public long getSize() {
      return size;
    }

    @Override
    protected long memoryAddress() {
      return address;
    }

    @Override
    protected void release0() {
      Memory.release(handle);
    }
  }
}
