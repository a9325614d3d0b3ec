package io.transom.internal;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** What of a pool is open: results that nobody closed, streams that nobody ended. With {@code -Dtransom.debug=true} it is known where each began. */
public final class Open {
  private static final boolean DEBUG = Boolean.getBoolean("transom.debug");

  private final Set<Handle> handles = ConcurrentHashMap.newKeySet();

  /** One thing that is open. */
  public final class Handle {
    private final String what;
    private final Throwable opened;

    private Handle(String what) {
      this.what = what;
      opened = DEBUG ? new Throwable() : null;
    }

    /** It was closed. */
    public void close() {
      handles.remove(this);
    }

    private String describe() {
      if (opened == null) {
        return what;
      }
      StringWriter text = new StringWriter();
      opened.printStackTrace(new PrintWriter(text));
      List<String> frames = text.toString().lines().skip(1).filter(line -> !line.contains("io.transom.internal.")).toList();
      return what + ", opened\n" + String.join("\n", frames);
    }
  }

  /**
   * Notes that something was opened.
   *
   * @param what what it is, for people
   * @return what to close with it
   */
  public Handle add(String what) {
    Handle handle = new Handle(what);
    handles.add(handle);
    return handle;
  }

  /**
   * What is open now.
   *
   * @return a description of each
   */
  public List<String> describe() {
    List<String> found = new ArrayList<>();
    for (Handle handle : handles) {
      found.add(handle.describe());
    }
    return found;
  }
}
