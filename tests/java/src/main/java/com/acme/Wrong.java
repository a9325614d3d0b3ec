package com.acme;

import io.transom.Arguments;
import io.transom.RowFunction;
import io.transom.ScalarFunction;
import io.transom.Signature;
import java.math.BigDecimal;
import java.util.Map;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.types.Types.MinorType;

/** Functions that cannot be loaded. */
public final class Wrong {
  private Wrong() {}

  /** Has no method to call. */
  public static final class NoCall implements RowFunction {}

  /** Has two methods to call. */
  public static final class TwoCalls implements RowFunction {
    public long call(long x) {
      return x;
    }

    public String call(String x) {
      return x;
    }
  }

  /** Takes what Arrow has no plain type for. */
  public static final class TakesMap implements RowFunction {
    public long call(Map<String, String> x) {
      return x.size();
    }
  }

  /** Returns nothing. */
  public static final class ReturnsVoid implements RowFunction {
    public void call(long x) {}
  }

  /** Does not say how many digits. */
  public static final class Digits implements RowFunction {
    public BigDecimal call(BigDecimal x) {
      return x;
    }
  }

  /** Declares another type than it takes. */
  public static final class Mismatch implements RowFunction {
    @Override
    public Signature signature() {
      return Signature.of().parameter("x", MinorType.VARCHAR.getType());
    }

    public long call(long x) {
      return x;
    }
  }

  /** Declares more parameters than it takes. */
  public static final class TooMany implements RowFunction {
    @Override
    public Signature signature() {
      return Signature.of().parameter("x").parameter("y");
    }

    public long call(long x) {
      return x;
    }
  }

  /** Declares one parameter twice. */
  public static final class Twice extends Columns.OfAnything {
    @Override
    public Signature signature() {
      return super.signature().parameter("x");
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      return null;
    }
  }

  /** Declares nothing at all. */
  public static final class Mute implements ScalarFunction {
    @Override
    public Signature signature() {
      return null;
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      return null;
    }
  }

  /** Is of two kinds. */
  public static final class Both extends Columns.OfAnything implements RowFunction {
    @Override
    public Signature signature() {
      return super.signature();
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      return null;
    }
  }

  /** Cannot be made. */
  public static final class Unmade implements RowFunction {
    public Unmade() {
      throw new IllegalStateException("not today");
    }

    public long call(long x) {
      return x;
    }
  }

  /** Cannot even be looked at. */
  public static final class Unready implements RowFunction {
    private static final int DIVIDED = Integer.parseInt("ten");

    public long call(long x) {
      return DIVIDED;
    }
  }

  /** Needs something to be made of. */
  public static final class Needy implements RowFunction {
    private final long more;

    public Needy(long more) {
      this.more = more;
    }

    public long call(long x) {
      return x + more;
    }
  }
}
