package io.transom;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/**
 * What a pool's workers have done and are doing.
 *
 * @param workers one for each place; those of a language are there from its first function on
 * @param memoryUsed bytes of all shared memory segments now
 * @param memoryLimit bytes that they may reach
 */
public record Stats(List<Worker> workers, long memoryUsed, long memoryLimit) {
  /** Numbers of each worker, as the native library gives them. */
  private static final int OF_WORKER = 9;

  /** What a worker is doing. */
  public enum State {
    /** Its process starts. */
    STARTING,
    /** It has nothing to do. */
    IDLE,
    /** It works. */
    BUSY,
    /** Its process has ended; another will take its place where that can help. */
    GONE
  }

  /** What a worker runs. */
  public enum Language {
    /** Python functions. */
    PYTHON,
    /** Functions of shared libraries. */
    NATIVE,
    /** Classes of the JVM. */
    JAVA
  }

  /**
   * One worker, and those before it in its place.
   *
   * @param language what it runs
   * @param state what it is doing
   * @param process its process, where there is one now
   * @param batches results that it gave
   * @param rows rows in them
   * @param failures batches that failed in it
   * @param restarts how often a new process took the place of one that ended
   * @param busy how long it was busy
   * @param leases batches that it was given and has not let go of
   */
  public record Worker(
      Language language, State state, OptionalLong process, long batches, long rows, long failures, long restarts, Duration busy, long leases) {}

  static Stats of(long[] numbers) {
    List<Worker> workers = new ArrayList<>();
    for (int at = 2; at < numbers.length; at += OF_WORKER) {
      OptionalLong process = numbers[at + 2] == 0 ? OptionalLong.empty() : OptionalLong.of(numbers[at + 2]);
      workers.add(
          new Worker(
              byLetter(Language.values(), numbers[at]),
              byLetter(State.values(), numbers[at + 1]),
              process,
              numbers[at + 3],
              numbers[at + 4],
              numbers[at + 5],
              numbers[at + 6],
              Duration.ofNanos(numbers[at + 7]),
              numbers[at + 8]));
    }
    return new Stats(List.copyOf(workers), numbers[0], numbers[1]);
  }

  private static <E extends Enum<E>> E byLetter(E[] values, long letter) {
    for (E value : values) {
      if (Character.toLowerCase(value.name().charAt(0)) == letter) {
        return value;
      }
    }
    throw new IllegalStateException("the native library says " + (char) letter);
  }
}
