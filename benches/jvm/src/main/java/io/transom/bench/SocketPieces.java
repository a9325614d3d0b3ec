package io.transom.bench;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.WritableByteChannel;

/** A socket with few system calls: arrow-java writes and reads a message in many small pieces. The socket stays open when a stream is closed. */
final class SocketPieces {
  private static final int SMALL = 16 << 10;

  private SocketPieces() {}

  /** Collects small pieces; a large one leaves together with those before it. */
  static final class Writer implements WritableByteChannel {
    private final SocketChannel socket;
    private final ByteBuffer small = ByteBuffer.allocateDirect(SMALL);

    Writer(SocketChannel socket) {
      this.socket = socket;
    }

    @Override
    public int write(ByteBuffer piece) throws IOException {
      int size = piece.remaining();
      if (size <= small.remaining()) {
        small.put(piece);
        return size;
      }
      ByteBuffer[] pieces = {small.flip(), piece};
      while (piece.hasRemaining()) {
        socket.write(pieces);
      }
      small.clear();
      return size;
    }

    void flush() throws IOException {
      small.flip();
      while (small.hasRemaining()) {
        socket.write(small);
      }
      small.clear();
    }

    @Override
    public boolean isOpen() {
      return socket.isOpen();
    }

    @Override
    public void close() {}
  }

  /** Reads what was asked for straight to its place, and with it the start of what follows. */
  static final class Reader implements ReadableByteChannel {
    private final SocketChannel socket;
    private final ByteBuffer ahead = ByteBuffer.allocateDirect(SMALL).limit(0);

    Reader(SocketChannel socket) {
      this.socket = socket;
    }

    @Override
    public int read(ByteBuffer target) throws IOException {
      int wanted = target.remaining();
      if (ahead.hasRemaining()) {
        int size = Math.min(wanted, ahead.remaining());
        target.put(ahead.duplicate().limit(ahead.position() + size));
        ahead.position(ahead.position() + size);
        return size;
      }
      ahead.clear();
      long read = socket.read(new ByteBuffer[] {target, ahead});
      ahead.flip();
      if (read < 0) {
        throw new EOFException("the worker has closed the connection");
      }
      return wanted - target.remaining();
    }

    @Override
    public boolean isOpen() {
      return socket.isOpen();
    }

    @Override
    public void close() {}
  }
}
