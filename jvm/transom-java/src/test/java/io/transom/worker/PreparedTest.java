package io.transom.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.transom.RowFunction;
import io.transom.Signature;
import java.time.Duration;
import java.util.List;
import org.apache.arrow.vector.types.Types.MinorType;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.junit.jupiter.api.Test;

class PreparedTest {
  /** Declares what its method cannot say. */
  public static final class Repeat implements RowFunction {
    @Override
    public Signature signature() {
      return Signature.of().named("repeat").deadline(Duration.ofSeconds(3)).retries(2);
    }

    public List<String> call(String text, int count) {
      return java.util.Collections.nCopies(count, text);
    }
  }

  private static final String REPEAT = Repeat.class.getName();

  @Test
  void aSignatureComesFromTheMethodAndTheDeclaration() {
    Prepared repeat = Prepared.load(REPEAT, List.of());
    assertEquals("repeat", repeat.name());
    assertEquals(Duration.ofSeconds(3), repeat.signature.deadline().orElseThrow());
    assertEquals(2, repeat.signature.retries());
    List<Signature.Parameter> parameters = repeat.signature.parameters();
    assertEquals(List.of("text", "count"), parameters.stream().map(Signature.Parameter::name).toList());
    assertEquals(MinorType.INT.getType(), parameters.get(1).type().getType());
    Field result = repeat.signature.results().orElseThrow().getFields().get(0);
    assertEquals(new ArrowType.List(), result.getType());
    assertEquals(MinorType.VARCHAR.getType(), result.getChildren().get(0).getType());
  }

  @Test
  void aFunctionIsLoadedForEachThreadAnew() {
    assertTrue(Prepared.load(REPEAT, List.of()) != Prepared.load(REPEAT, List.of()));
  }

  @Test
  void whatIsNotThereNamesWhatIs() {
    Failure failure = assertThrows(Failure.class, () -> Prepared.load("io.transom.worker.Nowhere", List.of()));
    assertEquals(1101, failure.code);
    assertTrue(failure.getMessage().contains("`io.transom.worker.Nowhere` on the workers' class path"), failure.getMessage());
  }
}
