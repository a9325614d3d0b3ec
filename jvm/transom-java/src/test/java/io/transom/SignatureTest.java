package io.transom;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import org.apache.arrow.vector.types.Types.MinorType;
import org.junit.jupiter.api.Test;

class SignatureTest {
  @Test
  void aChangeGivesANewSignature() {
    Signature first = Signature.of().parameter("x", MinorType.BIGINT.getType());
    Signature second = first.parameter("y").variadic().returns(MinorType.VARCHAR.getType()).retries(1);
    assertEquals(1, first.parameters().size());
    assertTrue(first.results().isEmpty() && !first.isVariadic());
    assertEquals(2, second.parameters().size());
    assertTrue(second.isVariadic());
    assertEquals(1, second.retries());
  }

  @Test
  void whatMakesNoSenseIsRefused() {
    Signature x = Signature.of().parameter("x");
    assertThrows(IllegalArgumentException.class, () -> x.parameter("x"));
    assertThrows(IllegalArgumentException.class, () -> x.parameter(""));
    assertThrows(IllegalArgumentException.class, () -> x.deadline(Duration.ZERO));
    assertThrows(IllegalArgumentException.class, () -> x.retries(-1));
    assertThrows(NullPointerException.class, () -> x.parameter("y", null));
  }
}
