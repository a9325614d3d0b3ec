package io.transom;

import static org.junit.jupiter.api.Assertions.fail;

import io.transom.internal.Memory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/** After every test the process holds what it held before: descriptors, mappings, threads, children, and no buffer lent to Rust. */
final class Leaks implements BeforeEachCallback, AfterEachCallback {
  private static final ExtensionContext.Namespace NAMESPACE = ExtensionContext.Namespace.create(Leaks.class);
  private static final long PATIENCE = 10_000_000_000L;

  /** What a process holds. */
  private record Balance(Map<String, String> descriptors, List<String> maps, List<String> children, List<String> threads, int lent) {
    static Balance now() throws IOException {
      return new Balance(openDescriptors(), sharedMaps(), childProcesses(), ownThreads(), Memory.lent());
    }

    List<String> more(Balance before) {
      List<String> left = new ArrayList<>();
      Map<String, String> opened = new TreeMap<>(descriptors);
      before.descriptors.forEach(opened::remove);
      if (!opened.isEmpty()) {
        left.add("descriptors " + opened);
      }
      if (maps.size() > before.maps.size()) {
        left.add("mappings " + maps);
      }
      if (children.size() > before.children.size()) {
        left.add("processes " + children);
      }
      if (threads.size() > before.threads.size()) {
        left.add("threads " + threads);
      }
      if (lent > before.lent) {
        left.add(lent + " batches lent to Rust");
      }
      return left;
    }
  }

  @Override
  public void beforeEach(ExtensionContext context) throws Exception {
    context.getStore(NAMESPACE).put("before", Balance.now());
  }

  @Override
  public void afterEach(ExtensionContext context) throws Exception {
    if (context.getExecutionException().isPresent()) {
      return;
    }
    Balance before = context.getStore(NAMESPACE).get("before", Balance.class);
    long until = System.nanoTime() + PATIENCE;
    List<String> left = Balance.now().more(before);
    while (!left.isEmpty() && System.nanoTime() < until) {
      Thread.sleep(20);
      left = Balance.now().more(before);
    }
    if (!left.isEmpty()) {
      fail("the test left behind: " + String.join("; ", left));
    }
  }

  private static Map<String, String> openDescriptors() throws IOException {
    Map<String, String> found = new TreeMap<>();
    List<String> links = links();
    try (Stream<Path> entries = Files.list(Path.of("/proc/self/fd"))) {
      for (Path entry : entries.toList()) {
        try {
          String what = Files.readSymbolicLink(entry).toString();
          // The JVM opens class files, and sockets of another type than links, when it likes.
          boolean itsOwn = what.startsWith("socket:") ? !links.contains(what) : what.startsWith("/") && !what.contains("memfd");
          if (!itsOwn) {
            found.put(entry.getFileName().toString(), what);
          }
        } catch (IOException e) {
          continue; // the listing's own
        }
      }
    }
    return found;
  }

  /** The sockets that keep the bounds of packets, as those between host and worker do. */
  private static List<String> links() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/net/unix"))) {
      return lines.map(line -> line.trim().split("\\s+")).filter(line -> line[4].equals("0005")).map(line -> "socket:[" + line[6] + "]").toList();
    }
  }

  private static List<String> sharedMaps() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
      return lines.filter(line -> line.contains("memfd:")).toList();
    }
  }

  private static List<String> childProcesses() {
    return ProcessHandle.current().children().map(child -> child.pid() + " " + child.info().command().orElse("")).toList();
  }

  private static List<String> ownThreads() throws IOException {
    List<String> names = new ArrayList<>();
    try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
      for (Path task : tasks.toList()) {
        try {
          String name = Files.readString(task.resolve("comm")).strip();
          if (name.startsWith("transom") || name.startsWith("tokio")) {
            names.add(name);
          }
        } catch (IOException e) {
          continue; // it has just ended
        }
      }
    }
    return names;
  }
}
