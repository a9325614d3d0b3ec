package io.transom.bench;

import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.util.MemoryUtil;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;

/** Reads every byte of a result, so that no contestant gets away with handing out pointers: the sum of all words of eight bytes, and of what is left. */
final class Checksum {
  private long sum;
  private long size;

  /** What the last results added up to: kept, so that nothing may leave the reading out. */
  long sum() {
    return sum;
  }

  /** Bytes read so far. */
  long size() {
    return size;
  }

  void add(VectorSchemaRoot batch) {
    for (FieldVector vector : batch.getFieldVectors()) {
      for (ArrowBuf buffer : vector.getFieldBuffers()) {
        add(buffer.memoryAddress(), buffer.readableBytes());
      }
    }
  }

  private void add(long address, long length) {
    long words = length & -32;
    long a = 0;
    long b = 0;
    long c = 0;
    long d = 0;
    for (long at = address; at < address + words; at += 32) {
      a += MemoryUtil.getLong(at);
      b += MemoryUtil.getLong(at + 8);
      c += MemoryUtil.getLong(at + 16);
      d += MemoryUtil.getLong(at + 24);
    }
    long rest = 0;
    for (long at = address + words; at < address + length; at++) {
      rest += MemoryUtil.getByte(at);
    }
    sum += a + b + c + d + rest;
    size += length;
  }
}
