package com.example;

import io.transom.RowFunction;
import java.util.Locale;

/** Turns a text into capitals. */
public final class Upper implements RowFunction {
  /**
   * One row.
   *
   * @param text the text, or null
   * @return the text in capitals, or null
   */
  public String call(String text) {
    return text == null ? null : text.toUpperCase(Locale.ROOT);
  }
}
