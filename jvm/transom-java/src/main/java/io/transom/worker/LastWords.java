package io.transom.worker;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;

/**
 * Tells the host where functions stood when this process was ended: by SIGTERM, which the host sends when a deadline has passed, or by a function that
 * called {@link System#exit}. Both run the JVM's shutdown hooks, and this is one: no signal handler of our own is needed.
 */
final class LastWords {
  private static final Map<Thread, String> RUNNING = new ConcurrentHashMap<>();

  private LastWords() {}

  /** Runs a step of a function, which is noted meanwhile. */
  static <T> T during(String function, Supplier<T> step) {
    RUNNING.put(Thread.currentThread(), function);
    try {
      return step.get();
    } finally {
      RUNNING.remove(Thread.currentThread());
    }
  }

  /** Has the stacks written when the process ends, to the descriptor that the host named, if it named one. */
  static void prepare() {
    String descriptor = System.getenv("TRANSOM_FAULT_FD");
    if (descriptor != null && descriptor.matches("\\d+")) {
      Runtime.getRuntime().addShutdownHook(new Thread(() -> write(descriptor), "transom-last-words"));
    }
  }

  private static void write(String descriptor) {
    byte[] stacks = stacks().getBytes(StandardCharsets.UTF_8);
    if (stacks.length == 0) {
      return;
    }
    try (FileOutputStream faults = new FileOutputStream("/proc/self/fd/" + descriptor)) {
      faults.write(stacks);
    } catch (IOException gone) {
      // The host is gone, and with it whoever would read this.
      return;
    }
  }

  /** The user's frames of all threads that run functions. */
  static String stacks() {
    StringBuilder text = new StringBuilder();
    RUNNING.forEach(
        (thread, function) -> {
          text.append("function `").append(function).append("` on ").append(thread.getName()).append('\n');
          Report.frames(thread.getStackTrace()).forEach(line -> text.append("    ").append(line).append('\n'));
        });
    return text.toString();
  }
}
