package com.acme.a;

import io.transom.RowFunction;

/** Bears the name of another function. */
public final class Same implements RowFunction {
  public String call(long x) {
    return "a";
  }
}
