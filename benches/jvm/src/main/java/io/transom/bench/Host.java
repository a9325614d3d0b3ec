package io.transom.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.transom.Copies;
import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.VectorLoader;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.VectorUnloader;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.arrow.vector.ipc.ArrowStreamWriter;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * A JVM host that does what the driver asks: the same requests and answers as in {@code benches/contestants/base.py}, a line of JSON each. Its function
 * is {@code plus_one} over the column {@code number}.
 *
 * <p>Arguments: the contestant's name, the folder with the batches, the file with the Python functions, the Python interpreter.
 */
public final class Host implements AutoCloseable {
  private static final String COLUMN = "number";
  /** Calls before counting starts. The driver's unmeasured round has compiled everything before. */
  private static final int WARM_UP_CALLS = 200;

  private final ObjectMapper json = new ObjectMapper();
  private final BufferAllocator files = new RootAllocator();
  private final Map<Integer, List<VectorSchemaRoot>> loaded = new HashMap<>();
  private final Contestant contestant;
  private final Path folder;

  private Host(Contestant contestant, Path folder) {
    this.contestant = contestant;
    this.folder = folder;
  }

  /**
   * Answers requests until standard input ends.
   *
   * @param arguments contestant, folder, functions, interpreter
   * @throws Exception what went wrong at the start or at the end
   */
  public static void main(String[] arguments) throws Exception {
    PrintStream answers = System.out;
    System.setOut(System.err);
    Path folder = Path.of(arguments[1]);
    try (Host host = new Host(contestant(arguments[0], folder, arguments[2], arguments[3]), folder);
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line = requests.readLine(); line != null; line = requests.readLine()) {
        answers.println(host.answer(line));
        answers.flush();
      }
    }
  }

  private static Contestant contestant(String name, Path folder, String functions, String python) throws IOException {
    return switch (name) {
      case "transom_jvm_arena" -> new TransomContestant(true, functions, python);
      case "transom_jvm_heap" -> new TransomContestant(false, functions, python);
      case "ipc_socket_jvm" -> new SocketContestant(folder, python);
      default -> throw new IllegalArgumentException("there is no contestant " + name);
    };
  }

  private String answer(String line) {
    ObjectNode answer = json.createObjectNode();
    try {
      JsonNode request = json.readTree(line);
      String function = request.path("function").asText();
      switch (request.get("do").asText()) {
        case "workers" -> {
          ArrayNode pids = answer.putArray("pids");
          for (long pid : contestant.workers()) {
            pids.add(pid);
          }
        }
        case "check" -> check(function, request.get("rows").asInt(), request.get("batches").asInt(), request.get("out").asText(), answer);
        case "stream" -> stream(function, request.get("rows").asInt(), request.get("batches").asInt(), answer);
        case "calls" -> calls(function, request.get("calls").asInt(), answer);
        default -> throw new IllegalArgumentException("not a request: " + line);
      }
    } catch (Exception | Error e) {
      StringWriter trace = new StringWriter();
      e.printStackTrace(new PrintWriter(trace));
      answer.removeAll().put("error", trace.toString());
    }
    return answer.toString();
  }

  /** Writes the results for the first batches to a file, for the driver to compare. */
  private void check(String function, int rows, int batches, String out, ObjectNode answer) throws IOException {
    List<VectorSchemaRoot> source = source(rows);
    int count = 0;
    VectorSchemaRoot written = null;
    ArrowStreamWriter writer = null;
    try (FileOutputStream file = new FileOutputStream(out);
        Contestant.Results results = contestant.stream(function, source.get(0).getSchema(), cycle(source, batches))) {
      while (results.hasNext()) {
        VectorSchemaRoot result = results.next();
        if (writer == null) {
          written = VectorSchemaRoot.create(result.getSchema(), files);
          writer = new ArrowStreamWriter(written, null, file.getChannel());
        }
        // A copy, since Arrow moves no memory between two root allocators.
        try (VectorSchemaRoot copy = copy(result, files);
            ArrowRecordBatch batch = new VectorUnloader(copy).getRecordBatch()) {
          new VectorLoader(written).load(batch);
        }
        writer.writeBatch();
        count++;
      }
      writer.end();
      written.close();
    }
    answer.put("batches", count);
  }

  /** Times a stream of batches, with a checksum over each result. */
  private void stream(String function, int rows, int batches, ObjectNode answer) {
    List<VectorSchemaRoot> source = source(rows);
    Checksum checksum = new Checksum();
    long rowsOut = 0;
    long checking = 0;
    Copies before = contestant.copies();
    long start = System.nanoTime();
    try (Contestant.Results results = contestant.stream(function, source.get(0).getSchema(), cycle(source, batches))) {
      while (results.hasNext()) {
        VectorSchemaRoot result = results.next();
        long received = System.nanoTime();
        checksum.add(result);
        rowsOut += result.getRowCount();
        checking += System.nanoTime() - received;
      }
    }
    long end = System.nanoTime();
    if (rowsOut != (long) rows * batches) {
      throw new IllegalStateException(rowsOut + " rows came back instead of " + (long) rows * batches);
    }
    answer.put("seconds", (end - start) / 1e9).put("checksum_seconds", checking / 1e9);
    answer.put("bytes_read", checksum.size()).put("sum", checksum.sum());
    if (before != null) {
      Copies after = contestant.copies();
      answer.put("bytes_copied", after.bytesCopied() - before.bytesCopied());
      answer.put("arguments_copied", after.inputs().bytesCopied() - before.inputs().bytesCopied());
    }
  }

  /** Times single calls of one row, each with the reading of its result. */
  private void calls(String function, int calls, ObjectNode answer) {
    List<VectorSchemaRoot> source = source(1);
    Checksum checksum = new Checksum();
    ArrayNode nanoseconds = answer.putArray("nanoseconds");
    ArrayNode checking = answer.putArray("checksum_nanoseconds");
    try (Contestant.Calls single = contestant.calls(function, source.get(0).getSchema())) {
      Iterator<VectorSchemaRoot> batches = cycle(source, WARM_UP_CALLS + calls);
      for (int place = 0; batches.hasNext(); place++) {
        VectorSchemaRoot batch = batches.next();
        long start = System.nanoTime();
        VectorSchemaRoot result = single.call(batch);
        long received = System.nanoTime();
        checksum.add(result);
        long end = System.nanoTime();
        if (place >= WARM_UP_CALLS) {
          nanoseconds.add(end - start);
          checking.add(end - received);
        }
      }
    }
    answer.put("sum", checksum.sum());
  }

  /** The batches of one size, loaded on first use and kept: only the column that the function takes, copied into vectors of the contestant's allocator. */
  private List<VectorSchemaRoot> source(int rows) {
    return loaded.computeIfAbsent(
        rows,
        size -> {
          List<VectorSchemaRoot> batches = new ArrayList<>();
          Path path = folder.resolve(size + ".arrows");
          try (FileInputStream file = new FileInputStream(path.toFile()); ArrowStreamReader reader = new ArrowStreamReader(file.getChannel(), files)) {
            while (reader.loadNextBatch()) {
              batches.add(copy(reader.getVectorSchemaRoot(), contestant.arguments()));
            }
          } catch (IOException e) {
            throw new IllegalStateException("cannot read " + path, e);
          }
          return batches;
        });
  }

  /** The function's argument, or where there is none its result, as arrow-java makes vectors: filled in an allocation of its own. */
  private static VectorSchemaRoot copy(VectorSchemaRoot root, BufferAllocator allocator) {
    BigIntVector from = (BigIntVector) (root.getVector(COLUMN) != null ? root.getVector(COLUMN) : root.getVector(0));
    BigIntVector to = new BigIntVector(from.getField(), allocator);
    int rows = root.getRowCount();
    to.allocateNew(rows);
    copy(from.getDataBuffer(), to.getDataBuffer(), (long) rows * Long.BYTES);
    copy(from.getValidityBuffer(), to.getValidityBuffer(), (rows + 7) / 8);
    to.setValueCount(rows);
    return new VectorSchemaRoot(new Schema(List.of(to.getField())), List.of(to), rows);
  }

  private static void copy(ArrowBuf from, ArrowBuf to, long bytes) {
    to.setBytes(0, from, 0, bytes);
  }

  private static Iterator<VectorSchemaRoot> cycle(List<VectorSchemaRoot> source, int count) {
    return new Iterator<>() {
      private int taken;

      @Override
      public boolean hasNext() {
        return taken < count;
      }

      @Override
      public VectorSchemaRoot next() {
        return source.get(taken++ % source.size());
      }
    };
  }

  @Override
  public void close() throws Exception {
    loaded.values().forEach(batches -> batches.forEach(VectorSchemaRoot::close));
    contestant.close();
    files.close();
  }
}
