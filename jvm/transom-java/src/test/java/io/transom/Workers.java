package io.transom;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;

/** Python workers and what to send them. {@code -Dtransom.python} says which interpreter has transom. */
public final class Workers {
  private Workers() {}

  static PoolBuilder python(int workers) {
    return Pool.builder().workers(workers).python(System.getProperty("transom.python", "python3"));
  }

  static Path file(String name) {
    try {
      return Path.of(Workers.class.getResource("/" + name).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  static Function function(String name) {
    return Function.python(file("functions.py") + ":" + name);
  }

  /** A root of one column. */
  static VectorSchemaRoot numbers(BufferAllocator allocator, String name, long first, int count) {
    BigIntVector vector = new BigIntVector(name, allocator);
    vector.allocateNew(count);
    for (int i = 0; i < count; i++) {
      vector.set(i, first + i);
    }
    vector.setValueCount(count);
    return new VectorSchemaRoot(List.of(vector));
  }

  static BigIntVector repeated(BufferAllocator allocator, String name, long value, int count) {
    BigIntVector vector = new BigIntVector(name, allocator);
    vector.allocateNew(count);
    for (int i = 0; i < count; i++) {
      vector.set(i, value);
    }
    vector.setValueCount(count);
    return vector;
  }

  static VarCharVector repeated(BufferAllocator allocator, String name, String value, int count) {
    VarCharVector vector = new VarCharVector(name, allocator);
    vector.allocateNew();
    for (int i = 0; i < count; i++) {
      vector.setSafe(i, value.getBytes(StandardCharsets.UTF_8));
    }
    vector.setValueCount(count);
    return vector;
  }

  static long[] longs(FieldVector vector) {
    long[] values = new long[vector.getValueCount()];
    for (int i = 0; i < values.length; i++) {
      values[i] = ((BigIntVector) vector).get(i);
    }
    return values;
  }

  /** Runs the main method of a class in another JVM of this kind, and gives the lines that it printed, without those of the JVM and of logging. */
  public static List<String> run(Class<?> main, List<String> options) throws IOException, InterruptedException {
    return runIn(Path.of("").toAbsolutePath(), main.getName(), options);
  }

  /** The same for a class by name or a source file, in a folder. */
  static List<String> runIn(Path folder, String main, List<String> options) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElseThrow());
    command.addAll(options);
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), main));
    Process process = new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    process.waitFor();
    return said.lines().filter(line -> !line.isBlank() && !line.startsWith("SLF4J") && !line.startsWith("WARNING: ")).toList();
  }
}
