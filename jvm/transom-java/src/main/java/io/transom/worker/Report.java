package io.transom.worker;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;

/** Exceptions and stacks as text for the host, cut to the user's frames. Nothing of a worker's is ever deserialised there. */
final class Report {
  static final int MESSAGE_LIMIT = 8 << 10;
  private static final int STACK_LIMIT = 32 << 10;
  // Of a very deep stack (endless recursion) the ends tell the story.
  private static final int FRAMES_AT_AN_END = 20;
  private static final int CAUSES = 10;

  private static final String WORKER = Report.class.getPackageName() + ".";
  private static final String[] REFLECTION = {"java.lang.invoke.", "java.lang.reflect.", "jdk.internal.reflect."};

  private Report() {}

  /** The message, even where making it fails; empty where there is none. */
  static String message(Throwable thrown) {
    try {
      String message = thrown.getLocalizedMessage();
      return message == null ? "" : capped(message, MESSAGE_LIMIT);
    } catch (Throwable second) {
      return "<its message cannot be shown: getMessage threw " + second.getClass().getName() + ">";
    }
  }

  /** Class, message and frames of an exception, and of its causes. */
  static String stack(Throwable thrown) {
    StringBuilder text = new StringBuilder();
    Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    append(text, thrown, "", "", seen);
    return capped(text.toString().stripTrailing(), STACK_LIMIT);
  }

  private static void append(StringBuilder text, Throwable thrown, String caption, String indent, Set<Throwable> seen) {
    if (!seen.add(thrown) || seen.size() > CAUSES) {
      return;
    }
    text.append(indent).append(caption).append(thrown.getClass().getName());
    String message = message(thrown);
    text.append(message.isEmpty() ? "" : ": " + message).append('\n');
    for (String line : frames(thrown.getStackTrace())) {
      text.append(indent).append("    ").append(line).append('\n');
    }
    for (Throwable suppressed : thrown.getSuppressed()) {
      append(text, suppressed, "Suppressed: ", indent + "    ", seen);
    }
    if (thrown.getCause() != null) {
      append(text, thrown.getCause(), "Caused by: ", indent, seen);
    }
  }

  /** The user's frames of a stack, the innermost first, as lines. */
  static List<String> frames(StackTraceElement[] stack) {
    // What stands under the worker's outermost frame is how its thread began.
    int end = stack.length;
    for (int i = stack.length - 1; i >= 0; i--) {
      if (stack[i].getClassName().startsWith(WORKER)) {
        end = i;
        break;
      }
    }
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < end; i++) {
      if (isUsers(stack[i])) {
        lines.add("at " + stack[i]);
      }
    }
    if (lines.size() > 4 * FRAMES_AT_AN_END) {
      int left = lines.size() - 2 * FRAMES_AT_AN_END;
      lines.subList(FRAMES_AT_AN_END, FRAMES_AT_AN_END + left).clear();
      lines.add(FRAMES_AT_AN_END, "… " + left + " frames more …");
    }
    return lines;
  }

  private static boolean isUsers(StackTraceElement frame) {
    String name = frame.getClassName();
    return !name.startsWith(WORKER) && Arrays.stream(REFLECTION).noneMatch(name::startsWith);
  }

  /** At most so many characters, and how many are missing. A cut never parts a character in two. */
  static String capped(String text, int limit) {
    if (text.length() <= limit) {
      return text;
    }
    int end = limit - 64;
    if (Character.isHighSurrogate(text.charAt(end - 1))) {
      end--;
    }
    return text.substring(0, end) + "… (" + (text.length() - end) + " characters more)";
  }
}
