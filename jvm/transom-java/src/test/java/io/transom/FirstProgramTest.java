package io.transom;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The README's first Java program does what it says. */
class FirstProgramTest {
  private static final Path ROOT = Path.of("").toAbsolutePath().getParent().getParent();

  @Test
  void theFirstProgramRuns() throws Exception {
    List<String> options = List.of("-Xcheck:jni", "--add-opens=java.base/java.nio=ALL-UNNAMED");
    assertEquals(List.of("plus_one", "2", "3", "4"), Workers.runIn(ROOT, "examples/First.java", options));
  }
}
