package io.transom.internal;

import io.transom.TransomException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Locale;

/**
 * The native library: packed in the jar, unpacked and loaded once. {@code -Dtransom.library=/path/libtransom_jni.so} takes another.
 *
 * <p>What was unpacked must have the checksum that the build noted, and the library must be of this version.
 */
public final class NativeLibrary {
  /** The version of these classes, and of the library that they need. */
  static final String VERSION = "0.1.0";

  private static final String FILE = "libtransom_jni.so";

  private NativeLibrary() {}

  /** Loaded when the class is initialized: the JVM makes sure that it happens once. */
  private static final class Loaded {
    static {
      String given = System.getProperty("transom.library");
      if (given == null) {
        loadPacked();
      } else {
        load(Path.of(given).toAbsolutePath());
      }
      String found = initialize(TransomException.class);
      if (!VERSION.equals(found)) {
        throw failed("the native library is of version " + found + " and these classes are of " + VERSION, null);
      }
    }

    static void touch() {}
  }

  /**
   * Makes sure that the library is loaded.
   *
   * @throws TransomException {@code START_FAILED} where it cannot be loaded here, with the reason
   */
  public static void load() {
    try {
      Loaded.touch();
    } catch (ExceptionInInitializerError e) {
      if (e.getCause() instanceof TransomException known) {
        throw known;
      }
      throw e;
    } catch (NoClassDefFoundError e) {
      throw failed("the native library could not be loaded before", null);
    }
  }

  private static void loadPacked() {
    String platform = platform(System.getProperty("os.name"), System.getProperty("os.arch"));
    String resource = "/META-INF/native/" + platform + "/" + FILE;
    try (InputStream packed = NativeLibrary.class.getResourceAsStream(resource);
        InputStream checksum = NativeLibrary.class.getResourceAsStream(resource + ".sha256")) {
      if (packed == null || checksum == null) {
        throw failed("the jar has no native library for " + platform, "build it with `make jvm`, or say -Dtransom.library=/path/" + FILE);
      }
      byte[] library = packed.readAllBytes();
      verify(library, new String(checksum.readAllBytes(), StandardCharsets.US_ASCII).strip());
      Path unpacked = Files.createTempFile("transom-", "-" + FILE);
      try {
        Files.write(unpacked, library);
        load(unpacked);
      } finally {
        // It stays mapped; the name is not needed.
        Files.delete(unpacked);
      }
    } catch (IOException e) {
      throw failed("the native library cannot be unpacked: " + e, "make room in " + System.getProperty("java.io.tmpdir") + ", or set -Djava.io.tmpdir");
    }
  }

  /** The folder of a platform's library. */
  static String platform(String system, String architecture) {
    boolean linux = system.toLowerCase(Locale.ROOT).startsWith("linux");
    if (linux && (architecture.equals("amd64") || architecture.equals("x86_64"))) {
      return "linux-x86_64";
    }
    throw failed("Transom needs Linux on x86-64, and this is " + system + " on " + architecture, null);
  }

  /** Compares a library with the checksum that was noted when it was packed. */
  static void verify(byte[] library, String expected) {
    try {
      String found = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(library));
      if (!found.equals(expected)) {
        throw failed("the packed native library is damaged: its checksum is " + found + " and must be " + expected, "get the jar anew");
      }
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void load(Path library) {
    try {
      System.load(library.toString());
    } catch (UnsatisfiedLinkError e) {
      throw failed("the native library cannot be loaded: " + e.getMessage(), "use a JDK 17 or later with glibc 2.31 or later");
    }
  }

  private static TransomException failed(String message, String hint) {
    return TransomException.of(1008, "START_FAILED", message, hint);
  }

  /** Whether the current thread is interrupted. Called by the native library while it waits. */
  private static boolean interrupted() {
    return Thread.currentThread().isInterrupted();
  }

  private static native String initialize(Class<TransomException> exception);
}
