package io.transom.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.List;

/** What Python calls over Py4J and JPype: the work of {@link PlusOne} and {@link Invert} on what these bridges have. */
public final class Bridged {
  private Bridged() {}

  /**
   * One number.
   *
   * @param number any
   * @return the next
   */
  public static long next(long number) {
    return number + 1;
  }

  /**
   * A list, as Py4J and JPype make it of Python's.
   *
   * @param numbers integers, small ones as Integer
   * @return the next of each
   */
  public static List<Long> nextOfList(List<? extends Number> numbers) {
    List<Long> result = new ArrayList<>(numbers.size());
    for (Number number : numbers) {
      result.add(number.longValue() + 1);
    }
    return result;
  }

  /**
   * An array.
   *
   * @param numbers any
   * @return the next of each
   */
  public static long[] nextOfArray(long[] numbers) {
    long[] result = new long[numbers.length];
    for (int i = 0; i < numbers.length; i++) {
      result[i] = numbers[i] + 1;
    }
    return result;
  }

  /**
   * Numbers packed in bytes by hand.
   *
   * @param packed little-endian int64
   * @return the next of each
   */
  public static byte[] nextOfPacked(byte[] packed) {
    byte[] result = new byte[packed.length];
    LongBuffer from = ByteBuffer.wrap(packed).order(ByteOrder.LITTLE_ENDIAN).asLongBuffer();
    LongBuffer to = ByteBuffer.wrap(result).order(ByteOrder.LITTLE_ENDIAN).asLongBuffer();
    for (int i = 0; i < from.capacity(); i++) {
      to.put(i, from.get(i) + 1);
    }
    return result;
  }

  /**
   * Bytes.
   *
   * @param bytes any
   * @return the same with every bit turned over
   */
  public static byte[] invert(byte[] bytes) {
    byte[] result = new byte[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      result[i] = (byte) ~bytes[i];
    }
    return result;
  }
}
