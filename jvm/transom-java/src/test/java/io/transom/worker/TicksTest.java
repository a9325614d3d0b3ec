package io.transom.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.time.Instant;
import java.time.LocalDateTime;
import org.apache.arrow.vector.types.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class TicksTest {
  @ParameterizedTest
  @EnumSource(TimeUnit.class)
  void ticksComeBack(TimeUnit unit) {
    for (long ticks : new long[] {0, 1, -1, 1_234_567_891_234_567L % 1_000_000_000_000L, -999}) {
      Instant instant = Ticks.toInstant(ticks, unit);
      assertEquals(ticks, Ticks.of(instant.getEpochSecond(), instant.getNano(), unit));
      assertEquals(ticks, Ticks.of(Ticks.toLocal(ticks, unit), unit));
    }
  }

  @Test
  void whatIsFinerThanTheUnitIsCutOff() {
    LocalDateTime before = LocalDateTime.of(1969, 12, 31, 23, 59, 59, 999_999_999);
    assertEquals(-1, Ticks.of(before, TimeUnit.MICROSECOND));
    assertEquals(-1, Ticks.of(before, TimeUnit.SECOND));
  }

  @Test
  void whatNoTickCountsIsRefused() {
    assertThrows(ArithmeticException.class, () -> Ticks.of(LocalDateTime.of(9999, 1, 1, 0, 0), TimeUnit.NANOSECOND));
  }
}
