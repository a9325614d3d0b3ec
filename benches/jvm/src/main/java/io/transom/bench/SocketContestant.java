package io.transom.bench;

import io.transom.Copies;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.concurrent.Semaphore;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.VectorUnloader;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.arrow.vector.ipc.ArrowStreamWriter;
import org.apache.arrow.vector.ipc.message.ArrowRecordBatch;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * Arrow IPC over a Unix socket to the same Python worker as that of the peers ({@code benches/contestants/peer_worker.py}). As there, small batches are
 * sent and received in turn by one thread, and larger ones have a second thread to send them.
 */
final class SocketContestant implements Contestant {
  private static final int WINDOW = 3;
  private static final int BUFFER = 4 << 20;
  private static final int NAME = 16;

  private final BufferAllocator allocator = new RootAllocator();
  private final Process worker;
  private final SocketChannel socket;
  private final SocketPieces.Writer out;
  private final SocketPieces.Reader in;
  /** How much a worker can write before this side has read any of it. The kernel doubles what was wished for. */
  private final int capacity;

  SocketContestant(Path folder, String python) throws IOException {
    Path path = folder.resolve("jvm.socket");
    try (ServerSocketChannel listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      listener.bind(UnixDomainSocketAddress.of(path));
      worker = new ProcessBuilder(python, "-m", "contestants.peer_worker", "ipc", path.toString()).inheritIO().start();
      socket = listener.accept();
    }
    Files.delete(path);
    socket.setOption(StandardSocketOptions.SO_SNDBUF, BUFFER);
    socket.setOption(StandardSocketOptions.SO_RCVBUF, BUFFER);
    capacity = socket.getOption(StandardSocketOptions.SO_SNDBUF) / 2;
    out = new SocketPieces.Writer(socket);
    in = new SocketPieces.Reader(socket);
  }

  @Override
  public BufferAllocator arguments() {
    return allocator;
  }

  @Override
  public Results stream(String function, Schema schema, Iterator<VectorSchemaRoot> batches) {
    Wire wire = new Wire(function, schema);
    VectorSchemaRoot first = batches.next();
    wire.send(first);
    long bytes = first.getFieldVectors().stream().mapToLong(vector -> vector.getBufferSize()).sum();
    int others = (int) Math.min(WINDOW - 1, capacity * 4L / 5 / bytes);
    return others > 0 ? new InTurn(wire, batches, others + 1) : new TwoThreads(wire, batches);
  }

  @Override
  public Calls calls(String function, Schema schema) {
    Wire wire = new Wire(function, schema);
    return new Calls() {
      @Override
      public VectorSchemaRoot call(VectorSchemaRoot batch) {
        wire.send(batch);
        wire.receive();
        return wire.result();
      }

      @Override
      public void close() {
        wire.finishInTurn();
      }
    };
  }

  @Override
  public long[] workers() {
    return new long[] {worker.pid()};
  }

  @Override
  public Copies copies() {
    return null;
  }

  @Override
  public void close() throws Exception {
    socket.close();
    worker.waitFor();
    allocator.close();
  }

  /** One stream in each direction. */
  private final class Wire {
    private final Writer writer;
    private final ArrowStreamReader reader = new ArrowStreamReader(in, allocator);
    private final VectorSchemaRoot names;

    Wire(String function, Schema schema) {
      names = VectorSchemaRoot.create(schema, allocator);
      writer = new Writer(names, out);
      try {
        out.write(ByteBuffer.wrap(String.format("%-" + (NAME - 1) + "s\n", function).getBytes(StandardCharsets.US_ASCII)));
        writer.start();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    void send(VectorSchemaRoot batch) {
      try (ArrowRecordBatch message = new VectorUnloader(batch).getRecordBatch()) {
        writer.write(message);
        out.flush();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    /** Loads the next result; false at the end. */
    boolean receive() {
      try {
        return reader.loadNextBatch();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    VectorSchemaRoot result() {
      try {
        return reader.getVectorSchemaRoot();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    void finish() {
      try {
        writer.end();
        out.flush();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    /** Ends what was sent, and takes the end of what comes back. */
    void finishInTurn() {
      finish();
      if (receive()) {
        throw new IllegalStateException("the worker sent more batches than it got");
      }
      close();
    }

    /** Behind the end of what comes back; the connection stays open. */
    void close() {
      try {
        reader.close(false);
        names.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /** Writes batches as they are, where the usual writer would have them loaded into its own root first. */
  private static final class Writer extends ArrowStreamWriter {
    Writer(VectorSchemaRoot root, SocketPieces.Writer channel) {
      super(root, null, channel);
    }

    void write(ArrowRecordBatch batch) throws IOException {
      writeRecordBatch(batch);
    }
  }

  private static final class InTurn implements Results {
    private final Wire wire;
    private final Iterator<VectorSchemaRoot> batches;
    private final int most;
    private int underWay = 1;

    InTurn(Wire wire, Iterator<VectorSchemaRoot> batches, int most) {
      this.wire = wire;
      this.batches = batches;
      this.most = most;
    }

    @Override
    public boolean hasNext() {
      while (underWay < most && batches.hasNext()) {
        wire.send(batches.next());
        underWay++;
      }
      return underWay > 0;
    }

    @Override
    public VectorSchemaRoot next() {
      if (!wire.receive()) {
        throw new IllegalStateException("the worker ended the stream too early");
      }
      underWay--;
      return wire.result();
    }

    @Override
    public void close() {
      wire.finishInTurn();
    }
  }

  private static final class TwoThreads implements Results {
    private final Wire wire;
    private final Semaphore window = new Semaphore(WINDOW - 1);
    private final Thread feeder;

    TwoThreads(Wire wire, Iterator<VectorSchemaRoot> batches) {
      this.wire = wire;
      feeder = new Thread(() -> feed(batches), "feeder");
      feeder.setDaemon(true);
      feeder.start();
    }

    private void feed(Iterator<VectorSchemaRoot> batches) {
      while (batches.hasNext()) {
        window.acquireUninterruptibly();
        wire.send(batches.next());
      }
      wire.finish();
    }

    @Override
    public boolean hasNext() {
      return wire.receive();
    }

    @Override
    public VectorSchemaRoot next() {
      window.release();
      return wire.result();
    }

    @Override
    public void close() {
      wire.close();
    }
  }
}
