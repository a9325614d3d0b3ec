package com.acme;

import io.transom.RowFunction;
import io.transom.Signature;
import java.math.BigDecimal;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.util.List;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.arrow.vector.types.Types.MinorType;
import org.apache.arrow.vector.types.pojo.ArrowType;

/** Row functions, good and bad. */
public final class Rows {
  private Rows() {}

  /** A truth value. */
  public static final class OfBoolean implements RowFunction {
    public Boolean call(Boolean x) {
      return x;
    }
  }

  /** A byte. */
  public static final class OfByte implements RowFunction {
    public Byte call(Byte x) {
      return x;
    }
  }

  /** A short. */
  public static final class OfShort implements RowFunction {
    public Short call(Short x) {
      return x;
    }
  }

  /** An int. */
  public static final class OfInteger implements RowFunction {
    public Integer call(Integer x) {
      return x;
    }
  }

  /** A long. */
  public static final class OfLong implements RowFunction {
    public Long call(Long x) {
      return x;
    }
  }

  /** A float. */
  public static final class OfFloat implements RowFunction {
    public Float call(Float x) {
      return x;
    }
  }

  /** A double. */
  public static final class OfDouble implements RowFunction {
    public Double call(Double x) {
      return x;
    }
  }

  /** A text. */
  public static final class OfString implements RowFunction {
    public String call(String x) {
      return x;
    }
  }

  /** Bytes. */
  public static final class OfBytes implements RowFunction {
    public byte[] call(byte[] x) {
      return x;
    }
  }

  /** A date. */
  public static final class OfLocalDate implements RowFunction {
    public LocalDate call(LocalDate x) {
      return x;
    }
  }

  /** A time of the day. */
  public static final class OfLocalTime implements RowFunction {
    public LocalTime call(LocalTime x) {
      return x;
    }
  }

  /** A date and a time. */
  public static final class OfLocalDateTime implements RowFunction {
    public LocalDateTime call(LocalDateTime x) {
      return x;
    }
  }

  /** A point in time. */
  public static final class OfInstant implements RowFunction {
    public Instant call(Instant x) {
      return x;
    }
  }

  /** A duration. */
  public static final class OfDuration implements RowFunction {
    public Duration call(Duration x) {
      return x;
    }
  }

  /** Lists of lists. */
  public static final class OfLists implements RowFunction {
    public List<List<String>> call(List<List<String>> x) {
      return x;
    }
  }

  /** A decimal, whose type must be declared. */
  public static final class OfDecimal implements RowFunction {
    private static final ArrowType CENTS = new ArrowType.Decimal(10, 2, 128);

    @Override
    public Signature signature() {
      return Signature.of().named("decimal").parameter("x", CENTS).returns(CENTS);
    }

    public BigDecimal call(BigDecimal x) {
      return x;
    }
  }

  /** A decimal with more digits than the declared type has. */
  public static final class Pi implements RowFunction {
    @Override
    public Signature signature() {
      return Signature.of().returns(new ArrowType.Decimal(10, 2, 128));
    }

    public BigDecimal call(long x) {
      return x == 2 ? new BigDecimal("3.14159") : BigDecimal.ONE;
    }
  }

  /** Fails at three, for a reason. */
  public static final class Raises implements RowFunction {
    public long call(long x) {
      if (x == 3) {
        throw new IllegalStateException("three is not allowed", new NumberFormatException("a cause"));
      }
      return x;
    }
  }

  /** Never comes back from itself. */
  public static final class Deep implements RowFunction {
    public long call(long x) {
      return call(x + 1) + 1;
    }
  }

  /** Wants more memory than there is. */
  public static final class Hungry implements RowFunction {
    public long call(long x) {
      List<long[]> all = new java.util.ArrayList<>();
      while (true) {
        all.add(new long[16 << 20]);
      }
    }
  }

  /** Ends its process in order. */
  public static final class Exits implements RowFunction {
    public long call(long x) {
      System.exit(7);
      return x;
    }
  }

  /** Ends its process at once. */
  public static final class Halts implements RowFunction {
    public long call(long x) {
      Runtime.getRuntime().halt(9);
      return x;
    }
  }

  /** Crashes its process, as faulty native code does. */
  public static final class Crashes implements RowFunction {
    public long call(long x) throws ReflectiveOperationException {
      java.lang.reflect.Field field = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe");
      field.setAccessible(true);
      Object unsafe = field.get(null);
      unsafe.getClass().getMethod("putAddress", long.class, long.class).invoke(unsafe, 0, 0);
      return x;
    }
  }

  /** Computes for ever. */
  public static final class Loops implements RowFunction {
    public long call(long x) {
      long sum = x;
      while (sum != -1) {
        sum = step(sum);
      }
      return sum;
    }

    private static long step(long sum) {
      return sum == -2 ? 0 : sum + 2;
    }
  }

  /** Has a deadline of its own, which it passes. */
  public static final class Late implements RowFunction {
    @Override
    public Signature signature() {
      return Signature.of().deadline(Duration.ofMillis(200));
    }

    public long call(long x) throws InterruptedException {
      Thread.sleep(600_000);
      return x;
    }
  }

  /** Waits until two threads are in it at once. */
  public static final class Meets implements RowFunction {
    private static final CyclicBarrier BOTH = new CyclicBarrier(2);

    public String call(long x) throws BrokenBarrierException, InterruptedException, TimeoutException {
      BOTH.await(60, TimeUnit.SECONDS);
      return ProcessHandle.current().pid() + " " + Thread.currentThread().getName();
    }
  }

  /** Prints before it fails. */
  public static final class Prints implements RowFunction {
    public long call(long x) {
      System.out.println("said: grüß " + x);
      System.err.println("complained: " + x);
      Runtime.getRuntime().halt(1);
      return x;
    }
  }

  /** Where classes are looked for in threads of its own. */
  public static final class Loads implements RowFunction {
    public String call(long x) throws ClassNotFoundException {
      return Class.forName("com.acme.Rows", true, Thread.currentThread().getContextClassLoader()).getName();
    }
  }

  /** A function without columns. */
  public static final class Constant implements RowFunction {
    public long call() {
      return 7;
    }
  }

  /** Every parameter may be something else. */
  public static final class Mixed implements RowFunction {
    @Override
    public Signature signature() {
      return Signature.of()
          .named("mixed")
          .parameter("text", MinorType.LARGEVARCHAR.getType())
          .parameter("count")
          .returns(MinorType.LARGEVARCHAR.getType());
    }

    public String call(String text, int count) {
      return text == null ? null : text.repeat(count);
    }
  }

  /** One instance for all, as a Kotlin object is compiled. */
  public static final class Only implements RowFunction {
    public static final Only INSTANCE = new Only();

    private Only() {}

    public long call(long x) {
      return -x;
    }
  }
}
