package io.transom.worker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

class ReportTest {
  private static StackTraceElement frame(String type) {
    return new StackTraceElement(type, "call", "File.java", 3);
  }

  @Test
  void aStackIsCutToTheUsersFrames() {
    StackTraceElement[] stack = {
      frame("com.acme.Fn"),
      frame("java.lang.reflect.Method"),
      frame("io.transom.worker.PreparedRow"),
      frame("com.acme.Outer"),
      frame("io.transom.worker.Worker"),
      frame("io.transom.worker.Main"),
      frame("java.lang.Thread"),
    };
    assertEquals(List.of("at com.acme.Fn.call(File.java:3)", "at com.acme.Outer.call(File.java:3)"), Report.frames(stack));
  }

  @Test
  void ofADeepStackTheEndsStay() {
    StackTraceElement[] deep = new StackTraceElement[1000];
    java.util.Arrays.fill(deep, frame("com.acme.Deep"));
    List<String> lines = Report.frames(deep);
    assertEquals(41, lines.size());
    assertEquals("… 960 frames more …", lines.get(20));
  }

  @Test
  void causesAndSuppressedExceptionsAreTold() {
    Exception cause = new Exception("the cause");
    Exception thrown = new RuntimeException("what came of it", cause);
    thrown.addSuppressed(new Error("beside it"));
    String text = Report.stack(thrown);
    assertTrue(text.startsWith("java.lang.RuntimeException: what came of it\n"), text);
    assertTrue(text.contains("\n    Suppressed: java.lang.Error: beside it\n"), text);
    assertTrue(text.endsWith("\nCaused by: java.lang.Exception: the cause"), text);
  }

  @Test
  void aCircleOfCausesEnds() {
    Exception first = new Exception("first");
    Exception second = new Exception("second", first);
    first.initCause(second);
    assertEquals(1, Report.stack(first).split("java.lang.Exception: first", -1).length - 1);
  }

  @Test
  void aMessageThatCannotBeMadeIsNoFailure() {
    Exception bad =
        new Exception() {
          private static final long serialVersionUID = 1;

          @Override
          public String getMessage() {
            throw new IllegalStateException();
          }
        };
    assertEquals("<its message cannot be shown: getMessage threw java.lang.IllegalStateException>", Report.message(bad));
  }

  @Test
  void longTextsAreCappedBetweenCharacters() {
    String text = "🎉".repeat(5000);
    String capped = Report.capped(text, 1001);
    assertTrue(capped.length() <= 1001, capped);
    assertTrue(capped.endsWith("characters more)"), capped);
    assertEquals("🎉".codePointAt(0), capped.codePointBefore(capped.indexOf('…')));
    assertEquals("short", Report.capped("short", 100));
  }
}
