package io.transom.worker;

import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import org.apache.arrow.vector.types.TimeUnit;

/** Points in time as Arrow counts them: ticks of a unit since 1970. */
final class Ticks {
  private static final long NANOS = 1_000_000_000;

  private Ticks() {}

  private static long perSecond(TimeUnit unit) {
    return switch (unit) {
      case SECOND -> 1;
      case MILLISECOND -> 1_000;
      case MICROSECOND -> 1_000_000;
      case NANOSECOND -> NANOS;
    };
  }

  /** Seconds and nanoseconds as ticks; what is finer than the unit is cut off. Throws ArithmeticException beyond 64 bits. */
  static long of(long seconds, int nanos, TimeUnit unit) {
    long each = perSecond(unit);
    return Math.addExact(Math.multiplyExact(seconds, each), nanos / (NANOS / each));
  }

  static long of(LocalDateTime time, TimeUnit unit) {
    return of(time.toEpochSecond(ZoneOffset.UTC), time.getNano(), unit);
  }

  static Instant toInstant(long ticks, TimeUnit unit) {
    long each = perSecond(unit);
    return Instant.ofEpochSecond(Math.floorDiv(ticks, each), Math.floorMod(ticks, each) * (NANOS / each));
  }

  static LocalDateTime toLocal(long ticks, TimeUnit unit) {
    return LocalDateTime.ofInstant(toInstant(ticks, unit), ZoneOffset.UTC);
  }
}
