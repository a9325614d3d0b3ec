package com.acme.conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.transom.Batches;
import io.transom.Function;
import io.transom.MapOptions;
import io.transom.Pool;
import io.transom.PoolBuilder;
import io.transom.Stats;
import io.transom.TransomException;
import io.transom.internal.Memory;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;

/** The conformance kit's host in Java: answers requests, one line of JSON each. {@code docs/conformance.md} has the contract. */
public final class Host {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final BufferAllocator allocator = new RootAllocator();
  private Pool pool;
  private String language;

  private Host() {}

  /**
   * Answers until there are no more requests.
   *
   * @param arguments none
   * @throws IOException where a request cannot be read
   */
  public static void main(String[] arguments) throws IOException {
    Host host = new Host();
    BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      System.out.println(JSON.writeValueAsString(host.answer(JSON.readTree(line))));
    }
  }

  private Map<String, Object> answer(JsonNode request) {
    return switch (request.get("do").asText()) {
      case "open" -> open(request);
      case "run" -> run(request);
      case "held" -> held();
      case "close" -> close();
      default -> throw new IllegalArgumentException("there is no request " + request);
    };
  }

  private Map<String, Object> open(JsonNode request) {
    language = request.get("language").asText();
    Path program = Path.of(request.get("program").asText());
    PoolBuilder builder = Pool.builder().workers(1);
    if (language.equals("native")) {
      builder.nativeWorker(program).prestart(Stats.Language.NATIVE);
    } else if (language.equals("java")) {
      List<Path> classPath = texts(request.get("class_path")).stream().map(Path::of).toList();
      builder.java(program).javaClassPath(classPath).javaOptions(texts(request.get("options")).toArray(String[]::new)).prestart(Stats.Language.JAVA);
    } else {
      builder.python(program.toString()).prestart(Stats.Language.PYTHON);
    }
    pool = builder.build();
    return Map.of("host", "Java " + Runtime.version() + ", arrow-java");
  }

  private static List<String> texts(JsonNode array) {
    List<String> found = new ArrayList<>();
    array.forEach(element -> found.add(element.asText()));
    return found;
  }

  private Function function(String reference) {
    if (language.equals("native")) {
      int colon = reference.lastIndexOf(':');
      return Function.library(Path.of(reference.substring(0, colon)), reference.substring(colon + 1));
    }
    return language.equals("java") ? Function.java(reference) : Function.python(reference);
  }

  private Map<String, Object> run(JsonNode request) {
    try (Golden golden = new Golden(request, allocator);
        Function function = function(request.get("function").asText());
        Batches results = pool.map(function, golden, allocator, MapOptions.DEFAULT);
        Output output = new Output(Path.of(request.get("output").asText()))) {
      while (results.hasNext()) {
        try (VectorSchemaRoot batch = results.next()) {
          output.write(batch);
        }
      }
      return Map.of("batches", output.written());
    } catch (TransomException e) {
      return Map.of("failed", Map.of("code", e.id(), "message", e.toString(), "parts", parts(e)));
    } catch (Exception e) {
      return failed(e instanceof Golden.Unreadable || isOfArrow(e) ? "arrow-java" : "", e);
    }
  }

  /** All that an error says. */
  private static Map<String, Object> parts(TransomException error) {
    Map<String, Object> parts = new HashMap<>();
    parts.put("name", error.codeName());
    parts.put("message", error.getMessage());
    parts.put("function", error.function().orElse(null));
    parts.put("batch", error.batch().isPresent() ? error.batch().getAsLong() : null);
    parts.put("rows", error.firstRow().isPresent() ? List.of(error.firstRow().getAsLong(), error.endRow().orElseThrow()) : null);
    parts.put("worker", error.worker().orElse(null));
    parts.put("remote", error.remote().map(remote -> List.of(remote.type(), remote.message(), remote.traceback())).orElse(null));
    parts.put("output", error.output());
    parts.put("stack", error.stack().orElse(null));
    parts.put("hint", error.hint().orElse(null));
    return parts;
  }

  private static Map<String, Object> failed(String code, Exception error) {
    return Map.of("failed", Map.of("code", code, "message", error.toString()));
  }

  /** Whether it is arrow-java that does not go on: the library that reads and writes the files is not what is tested. */
  private static boolean isOfArrow(Throwable error) {
    Stream<String> ours = Stream.of(error.getStackTrace()).map(StackTraceElement::getClassName).filter(name -> !name.startsWith("java."));
    return ours.findFirst().filter(name -> name.startsWith("org.apache.arrow.")).isPresent();
  }

  private Map<String, Object> held() {
    Memory.drain();
    long leases = pool.stats().workers().stream().mapToLong(Stats.Worker::leases).sum();
    return Map.of("leases", leases, "allocated", allocator.getAllocatedMemory());
  }

  private Map<String, Object> close() {
    pool.close();
    pool = null;
    return Map.of();
  }
}
