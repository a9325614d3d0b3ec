package io.transom;

import java.io.File;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;

/** Settings for a new {@link Pool}. Each has a sensible default. */
public final class PoolBuilder {
  /** How far workers are believed; {@code docs/architecture.md} says what each promises. */
  public enum Mode {
    /** What shapes the data is copied out of shared memory before it is checked. */
    GUARDED,
    /** Everything is copied before it is checked. */
    STRICT,
    /** Only bounds are checked. */
    TRUSTED
  }

  private final List<String> options = new ArrayList<>();
  private boolean hasJava;
  private boolean hasClassPath;

  PoolBuilder() {}

  private PoolBuilder with(String name, Object value) {
    options.add(name);
    options.add(String.valueOf(value));
    return this;
  }

  /**
   * How many workers there are for each language that is used; by default one for each core.
   *
   * @param workers the number
   * @return this
   */
  public PoolBuilder workers(int workers) {
    return with("workers", workers);
  }

  /**
   * The Python interpreter of the workers; by default {@code python3} of the path.
   *
   * @param interpreter such as a virtual environment's {@code bin/python}
   * @return this
   */
  public PoolBuilder python(String interpreter) {
    return with("python", interpreter);
  }

  /**
   * The program that runs functions of shared libraries.
   *
   * @param program its file
   * @return this
   */
  public PoolBuilder nativeWorker(Path program) {
    return with("native-worker", program);
  }

  /**
   * The {@code java} of JVM workers; by default the one that runs this program.
   *
   * @param program its file
   * @return this
   */
  public PoolBuilder java(Path program) {
    hasJava = true;
    return with("java", program);
  }

  /**
   * The class path of JVM workers, with transom-java and arrow-java on it; by default that of this program. Functions bring their own jars.
   *
   * @param entries jars and folders
   * @return this
   */
  public PoolBuilder javaClassPath(Collection<Path> entries) {
    hasClassPath = true;
    entries.forEach(entry -> with("java-class-path", entry));
    return this;
  }

  /**
   * Options of the workers' JVM.
   *
   * @param javaOptions such as {@code -Xmx1g}
   * @return this
   */
  public PoolBuilder javaOptions(String... javaOptions) {
    Arrays.stream(javaOptions).forEach(option -> with("java-option", option));
    return this;
  }

  /**
   * The languages whose workers start with the pool; by default Python. Those of others start with their first function.
   *
   * @param languages the languages, none to start nothing
   * @return this
   */
  public PoolBuilder prestart(Stats.Language... languages) {
    if (languages.length == 0) {
      return with("no-prestart", "");
    }
    Arrays.stream(languages).forEach(language -> with("prestart", language.name().toLowerCase(Locale.ROOT)));
    return this;
  }

  /**
   * An environment variable for the workers, besides those of this process.
   *
   * @param name its name
   * @param value its value
   * @return this
   */
  public PoolBuilder env(String name, String value) {
    return with("env", name + "=" + value);
  }

  /**
   * The working directory of the workers; by default that of this process.
   *
   * @param directory the folder
   * @return this
   */
  public PoolBuilder workingDirectory(Path directory) {
    return with("working-directory", directory);
  }

  /**
   * The most bytes of shared memory, arguments and results together; by default half of what the machine or the control group has left.
   *
   * @param bytes the number
   * @return this
   */
  public PoolBuilder memoryLimit(long bytes) {
    return with("memory-limit", bytes);
  }

  /**
   * How far workers are believed; {@link Mode#GUARDED} by default.
   *
   * @param mode the mode
   * @return this
   */
  public PoolBuilder mode(Mode mode) {
    return with("mode", mode.name().toLowerCase(Locale.ROOT));
  }

  /**
   * How many batches a worker may have at a time; 3 by default.
   *
   * @param batches one that it works on, the others ready
   * @return this
   */
  public PoolBuilder window(int batches) {
    return with("window", batches);
  }

  /**
   * The longest that a function may take for one batch before its worker is ended; none by default. A function's own deadline comes first.
   *
   * @param deadline the time
   * @return this
   */
  public PoolBuilder deadline(Duration deadline) {
    return with("deadline", deadline.toNanos());
  }

  /**
   * The most bytes of memory that a worker may have of its own, with what it starts; no limit by default. The pool's shared memory does not count. A
   * worker that has more is ended, and its call fails with {@code WORKER_OUT_OF_MEMORY}.
   *
   * @param bytes the number
   * @return this
   */
  public PoolBuilder workerMemory(long bytes) {
    return with("worker-memory", bytes);
  }

  /**
   * The most descriptors that a worker may have open, the seven that it starts with included; by default as many as this process.
   *
   * @param descriptors the number
   * @return this
   */
  public PoolBuilder workerDescriptors(long descriptors) {
    return with("worker-descriptors", descriptors);
  }

  /**
   * The most processes and threads that functions may start in a worker, besides those that it has when it becomes ready; no limit by default. Where
   * it cannot be held to, the pool is refused.
   *
   * @param processes the number
   * @return this
   */
  public PoolBuilder workerProcesses(long processes) {
    return with("worker-processes", processes);
  }

  /**
   * The most bytes of one batch of a result; what is larger is {@code RESULT_TOO_LARGE}. By default the pool's memory is the limit.
   *
   * @param bytes the number
   * @return this
   */
  public PoolBuilder resultLimit(long bytes) {
    return with("result-limit", bytes);
  }

  /**
   * How long a worker may take to become ready before it is ended with {@code START_TIMEOUT}; a minute by default.
   *
   * @param limit the time
   * @return this
   */
  public PoolBuilder startLimit(Duration limit) {
    return with("start-limit", limit.toNanos());
  }

  /**
   * Saves a failure capsule in this folder for each batch that fails: its arguments, the function, and what is needed to see the failure again with
   * {@code transom replay}; {@link TransomException#capsule} says where. By default the folder that {@code TRANSOM_CAPSULES} names, and none where it is
   * not set, since capsules hold the data itself.
   *
   * @param folder the folder, which is made where there is none
   * @return this
   */
  public PoolBuilder capsules(Path folder) {
    return with("capsules", folder);
  }

  /**
   * The most bytes of arguments in one capsule; 64 MiB by default. Of a larger batch the rows around the failing one are saved.
   *
   * @param bytes the number
   * @return this
   */
  public PoolBuilder capsuleBytes(long bytes) {
    return with("capsule-bytes", bytes);
  }

  /**
   * The most capsules that the pool saves; 16 by default.
   *
   * @param capsules the number
   * @return this
   */
  public PoolBuilder capsuleCount(int capsules) {
    return with("capsule-count", capsules);
  }

  /**
   * Makes the pool. Its workers start in the background; the first call waits for one.
   *
   * @return the pool
   * @throws TransomException {@code BAD_OPTION}, {@code INTERPRETER_MISSING} where a program given is not there, or what the system says
   */
  public Pool build() {
    if (!hasJava) {
      java(Path.of(System.getProperty("java.home"), "bin", "java"));
    }
    if (!hasClassPath) {
      javaClassPath(Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator)).map(Path::of).map(Path::toAbsolutePath).toList());
    }
    return new Pool(options);
  }
}
