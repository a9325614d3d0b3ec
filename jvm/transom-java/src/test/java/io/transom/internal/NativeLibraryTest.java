package io.transom.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.transom.TransomException;
import io.transom.Workers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The native library is found, is the right one, and says clearly when it is not. */
class NativeLibraryTest {
  @Test
  void onePlatformIsKnownAndTheOthersAreNamed() {
    assertEquals("linux-x86_64", NativeLibrary.platform("Linux", "amd64"));
    TransomException other = assertThrows(TransomException.class, () -> NativeLibrary.platform("Windows 11", "aarch64"));
    assertEquals("Transom needs Linux on x86-64, and this is Windows 11 on aarch64", other.getMessage());
  }

  @Test
  void aDamagedLibraryIsRefused() {
    byte[] library = {1, 2, 3};
    NativeLibrary.verify(library, "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81");
    TransomException damaged = assertThrows(TransomException.class, () -> NativeLibrary.verify(library, "00"));
    assertTrue(damaged.getMessage().startsWith("the packed native library is damaged"), damaged::getMessage);
  }

  @Test
  void theUnpackedFileIsGone() throws IOException {
    NativeLibrary.load();
    try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
      List<String> ours = maps.filter(line -> line.contains("libtransom_jni.so")).toList();
      assertTrue(!ours.isEmpty() && ours.stream().allMatch(line -> line.endsWith("(deleted)")), ours::toString);
    }
  }

  @Test
  void aLibraryThatIsNoneIsAnErrorInAnotherProcess(@TempDir Path folder) throws Exception {
    Path none = Files.writeString(folder.resolve("libtransom_jni.so"), "no library");
    String said = loadedWith("-Dtransom.library=" + none);
    assertTrue(said.contains("TRN-1008 START_FAILED: the native library cannot be loaded"), said);
    assertEquals("loaded", loadedWith("-Dtransom.debug=true"));
  }

  private static String loadedWith(String option) throws Exception {
    return String.join("\n", Workers.run(Load.class, List.of("-Xcheck:jni", option)));
  }

  /** Loads the library. */
  static final class Load {
    private Load() {}

    public static void main(String[] arguments) {
      NativeLibrary.load();
      System.out.println("loaded");
    }
  }
}
