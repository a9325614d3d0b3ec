package com.acme;

import io.transom.Arguments;
import io.transom.ScalarFunction;
import io.transom.Signature;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.TimeZone;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.types.Types.MinorType;
import org.apache.arrow.vector.util.TransferPair;

/** The zoo: functions that do to their JVM whatever a function can do. The Python zoo, tests/zoo, has the same for Python. */
public final class Hostile {
  private static final long ATTACK = 1;
  private static final long LEAVE = 2;

  private Hostile() {}

  /**
   * Attacks where the first number of a batch asks for it, ends its process where it asks for that, and else gives its argument back.
   *
   * <p>An exception that native code leaves pending is one that Java throws where that code returns, so it needs no attack of its own; nor does a thread of
   * native code that is never detached, which is to the JVM a thread that never ends.
   */
  public abstract static class Zoo implements ScalarFunction {
    @Override
    public Signature signature() {
      return Signature.of().parameter("x", MinorType.BIGINT.getType()).returns(MinorType.BIGINT.getType());
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) throws Exception {
      BigIntVector x = arguments.vector("x", BigIntVector.class);
      long wish = x.get(0);
      if (wish == LEAVE) {
        Runtime.getRuntime().halt(0);
      }
      return wish == ATTACK ? attack(x, allocator) : x;
    }

    abstract FieldVector attack(BigIntVector x, BufferAllocator allocator) throws Exception;
  }

  private static FieldVector forEver() throws InterruptedException {
    while (true) {
      try {
        Thread.sleep(600_000);
      } catch (InterruptedException e) {
        // Nothing ends it.
      }
    }
  }

  // Exceptions.

  /** Throws an exception. */
  public static final class Throws extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws IOException {
      throw new IOException("as asked");
    }
  }

  /** Throws what no program should catch. */
  public static final class ThrowsError extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      throw new AssertionError("as asked");
    }
  }

  /** Throws what cannot say what it is. */
  public static final class ThrowsUnspeakable extends Zoo {
    private static final class Unspeakable extends RuntimeException {
      private static final long serialVersionUID = 1;

      @Override
      public String getMessage() {
        throw new IllegalStateException("no words");
      }
    }

    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      throw new Unspeakable();
    }
  }

  /** Throws a text of megabytes. */
  public static final class ThrowsFlood extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      throw new IllegalStateException("x".repeat(10_000_000));
    }
  }

  /** Throws half a character. */
  public static final class ThrowsNoText extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      throw new IllegalStateException("\ud800 half a character");
    }
  }

  /** Calls itself until the stack is full. */
  public static final class Recurses extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      return deeper(x, 0);
    }

    private static FieldVector deeper(FieldVector x, int depth) {
      return depth < 0 ? x : deeper(deeper(x, depth + 1), depth + 1);
    }
  }

  /** Takes all of the heap. */
  public static final class TakesTheHeap extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      List<long[]> hoard = new ArrayList<>();
      while (true) {
        hoard.add(new long[1 << 20]);
      }
    }
  }

  /** Asks Arrow for more than there is. */
  public static final class TakesArrowsMemory extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      allocator.buffer(1L << 46);
      return x;
    }
  }

  // Results.

  /** Returns nothing. */
  public static final class ReturnsNothing extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      return null;
    }
  }

  /** Returns texts. */
  public static final class ReturnsText extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      VarCharVector texts = new VarCharVector("texts", allocator);
      texts.allocateNew(x.getValueCount());
      texts.setValueCount(x.getValueCount());
      return texts;
    }
  }

  /** Returns fewer rows. */
  public static final class ReturnsTooFew extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      TransferPair pair = x.getTransferPair(x.getField(), allocator);
      pair.splitAndTransfer(1, x.getValueCount() - 1);
      return (FieldVector) pair.getTo();
    }
  }

  // Ends.

  /** Ends the program. */
  public static final class Exits extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      System.exit(7);
      return x;
    }
  }

  /** Ends the program, which then waits for ever for something that is to be done at its end. */
  public static final class ExitsAndHangs extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      Runtime.getRuntime().addShutdownHook(new Thread(Hostile::sleepOn));
      System.exit(7);
      return x;
    }
  }

  /** Ends the process. */
  public static final class Halts extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      Runtime.getRuntime().halt(9);
      return x;
    }
  }

  /** Writes to where nothing is. */
  public static final class WritesNowhere extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws ReflectiveOperationException {
      Class<?> unsafe = Class.forName("sun.misc.Unsafe");
      Field field = unsafe.getDeclaredField("theUnsafe");
      field.setAccessible(true);
      unsafe.getMethod("putAddress", long.class, long.class).invoke(field.get(null), 0L, 0L);
      return x;
    }
  }

  /** Writes to its input, which is read-only. */
  public static final class WritesToItsInput extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      x.set(1, 42);
      return x;
    }
  }

  /** Kills itself. */
  public static final class KillsItself extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws Exception {
      new ProcessBuilder("kill", "-9", Long.toString(ProcessHandle.current().pid())).start();
      return forEver();
    }
  }

  // Functions that do not come back.

  /** Computes for ever. */
  public static final class Spins extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      long sum = 0;
      while (sum >= 0) {
        sum = (sum + 1) & Long.MAX_VALUE;
      }
      return x;
    }
  }

  /** Sleeps for ever, and lets nobody wake it. */
  public static final class Sleeps extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws InterruptedException {
      return forEver();
    }
  }

  /** Waits for a lock that nobody gives back. */
  public static final class Deadlocks extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws InterruptedException {
      Object lock = new Object();
      Thread holder = new Thread(() -> holdFor(lock), "holder");
      holder.setDaemon(true);
      holder.start();
      while (!Thread.holdsLock(lock) && holder.getState() != Thread.State.TIMED_WAITING) {
        Thread.onSpinWait();
      }
      synchronized (lock) {
        return x;
      }
    }

    private static void holdFor(Object lock) {
      synchronized (lock) {
        sleepOn();
      }
    }
  }

  /** Does not end when it is told to. */
  public static final class HangsAtItsEnd extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws InterruptedException {
      Runtime.getRuntime().addShutdownHook(new Thread(Hostile::sleepOn));
      return forEver();
    }
  }

  private static void sleepOn() {
    try {
      forEver();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  // What is left behind.

  /** Keeps its input for good. */
  public static final class Keeps extends Zoo {
    private static final List<FieldVector> KEPT = new ArrayList<>();

    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      TransferPair pair = x.getTransferPair(x.getField(), allocator.getRoot().newChildAllocator("kept", 0, Long.MAX_VALUE));
      pair.splitAndTransfer(0, x.getValueCount());
      KEPT.add((FieldVector) pair.getTo());
      return x;
    }
  }

  /** Leaves a thread that never ends. */
  public static class LeavesThread extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      leave(false);
      return x;
    }

    static void leave(boolean daemon) {
      Thread thread = new Thread(Hostile::sleepOn, "left");
      thread.setDaemon(daemon);
      thread.start();
    }
  }

  /** Leaves a daemon that never ends. */
  public static final class LeavesDaemon extends LeavesThread {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      leave(true);
      return x;
    }
  }

  /** Leaves a thread that dies of an exception. */
  public static final class LeavesDyingThread extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws InterruptedException {
      Thread thread = new Thread(() -> System.out.println(new int[0][x.getValueCount()].length / (x.getValueCount() - x.getValueCount())), "dying");
      thread.start();
      thread.join();
      return x;
    }
  }

  /** Runs a program. */
  public static final class RunsProgram extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws Exception {
      Process process = new ProcessBuilder("echo", "hello").start();
      try (InputStream said = process.getInputStream()) {
        if (!"hello\n".equals(new String(said.readAllBytes())) || process.waitFor() != 0) {
          throw new IllegalStateException("the program did not work");
        }
      }
      return x;
    }
  }

  /** Leaves a program that goes on. */
  public static final class LeavesProgram extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) throws IOException {
      new ProcessBuilder("sleep", "600").start();
      return x;
    }
  }

  /** Prints megabytes. */
  public static final class Prints extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      String line = "x".repeat(65_535);
      for (int i = 0; i < 64; i++) {
        System.out.println(line);
        System.err.println(line);
      }
      return x;
    }
  }

  /** Closes what it could print to. */
  public static final class ClosesOutput extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      System.out.close();
      System.err.close();
      return x;
    }
  }

  /** Changes what all of the process has in common. */
  public static final class ChangesSurroundings extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      Locale.setDefault(Locale.forLanguageTag("tr"));
      TimeZone.setDefault(TimeZone.getTimeZone("Asia/Kathmandu"));
      System.setOut(null);
      System.getProperties().clear();
      Thread.setDefaultUncaughtExceptionHandler((thread, thrown) -> Runtime.getRuntime().halt(1));
      Thread.currentThread().setContextClassLoader(null);
      Thread.currentThread().setName("somebody else's");
      return x;
    }
  }

  /** Comes back interrupted. */
  public static final class StaysInterrupted extends Zoo {
    @Override
    FieldVector attack(BigIntVector x, BufferAllocator allocator) {
      Thread.currentThread().interrupt();
      return x;
    }
  }
}
