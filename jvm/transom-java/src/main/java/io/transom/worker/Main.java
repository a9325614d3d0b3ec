package io.transom.worker;

import io.transom.internal.NativeLibrary;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A worker process: {@code java -cp … io.transom.worker.Main FD FD …}. A host starts it, with one link for each descriptor; each link has a thread of its
 * own on which its functions run.
 */
public final class Main {
  static {
    NativeLibrary.load();
  }

  private Main() {}

  /** Serves until the host says goodbye: the native side owns the descriptor from now on and calls the worker on this thread. */
  private static native void serve(int descriptor, Worker worker);

  private static void serve(int descriptor) {
    try (Worker worker = new Worker()) {
      serve(descriptor, worker);
    }
  }

  /** The next input of a stream, for the codec to receive; null at its end. Throws {@link Interrupted} where it ends otherwise. */
  static native long[] nextInput(long input);

  /**
   * Serves the hosts at the other ends of the descriptors until they say goodbye; a host that is gone ends the process at once.
   *
   * @param arguments the numbers of the descriptors
   * @throws InterruptedException where something interrupts the main thread, which nothing here does
   */
  public static void main(String[] arguments) throws InterruptedException {
    // What a function prints is seen when it prints it, whatever characters it has and whatever the locale.
    System.setOut(new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(new FileOutputStream(FileDescriptor.err), true, StandardCharsets.UTF_8));
    LastWords.prepare();
    AtomicBoolean failed = new AtomicBoolean();
    List<Thread> links = new ArrayList<>();
    for (String argument : arguments) {
      int descriptor = Integer.parseInt(argument);
      Thread link = new Thread(() -> serve(descriptor), "transom-link-" + links.size());
      link.setUncaughtExceptionHandler(
          (thread, thrown) -> {
            System.err.println("transom: " + thread.getName() + " failed: " + thrown);
            failed.set(true);
          });
      links.add(link);
      link.start();
    }
    for (Thread link : links) {
      link.join();
    }
    // Not by returning: a thread that a function left behind would keep the process.
    System.exit(failed.get() ? 1 : 0);
  }
}
