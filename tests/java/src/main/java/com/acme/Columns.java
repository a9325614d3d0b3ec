package com.acme;

import io.transom.Arguments;
import io.transom.ScalarFunction;
import io.transom.Signature;
import java.util.List;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.IntVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.dictionary.Dictionary;
import org.apache.arrow.vector.types.Types.MinorType;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.DictionaryEncoding;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.util.TransferPair;

/** Scalar functions, good and bad. */
public final class Columns {
  private Columns() {}

  /** Takes a column of any type. */
  public abstract static class OfAnything implements ScalarFunction {
    @Override
    public Signature signature() {
      return Signature.of().parameter("x");
    }
  }

  /** Gives its argument back. */
  public static final class Identity extends OfAnything {
    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      return arguments.vectors().get(0);
    }
  }

  /** Copies its argument value by value into memory of its own. */
  public static final class Copied extends OfAnything {
    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      FieldVector from = arguments.vectors().get(0);
      FieldVector to = from.getField().createVector(allocator);
      to.allocateNew();
      for (int row = 0; row < arguments.rows(); row++) {
        to.copyFromSafe(row, row, from);
      }
      to.setValueCount(arguments.rows());
      return to;
    }
  }

  /** All rows but the first, as a slice of the argument. */
  public static final class Tail extends OfAnything {
    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      FieldVector from = arguments.vectors().get(0);
      TransferPair pair = from.getTransferPair(from.getField(), allocator);
      pair.splitAndTransfer(1, arguments.rows() - 1);
      return (FieldVector) pair.getTo();
    }
  }

  /** The number of columns, for any number of them. */
  public static final class Width implements ScalarFunction {
    @Override
    public Signature signature() {
      return Signature.of().named("width").variadic().returns(MinorType.INT.getType());
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      IntVector result = new IntVector("width", allocator);
      result.allocateNew(arguments.rows());
      for (int row = 0; row < arguments.rows(); row++) {
        result.set(row, arguments.vectors().size());
      }
      result.setValueCount(arguments.rows());
      return result;
    }
  }

  /** Encodes its argument, which has few values, by a dictionary of its own. */
  public static final class Encoded implements ScalarFunction {
    private static final DictionaryEncoding ENCODING = new DictionaryEncoding(77, false, new ArrowType.Int(32, true));

    @Override
    public Signature signature() {
      return Signature.of().parameter("x", MinorType.VARCHAR.getType());
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      VarCharVector x = arguments.vector("x", VarCharVector.class);
      VarCharVector values = new VarCharVector("values", allocator);
      values.allocateNew();
      IntVector indices = new IntVector(new Field("x", new FieldType(true, new ArrowType.Int(32, true), ENCODING), null), allocator);
      indices.allocateNew(arguments.rows());
      List<String> seen = new java.util.ArrayList<>();
      for (int row = 0; row < arguments.rows(); row++) {
        if (x.isNull(row)) {
          indices.setNull(row);
          continue;
        }
        String text = x.getObject(row).toString();
        if (!seen.contains(text)) {
          values.setSafe(seen.size(), x.get(row));
          seen.add(text);
        }
        indices.set(row, seen.indexOf(text));
      }
      indices.setValueCount(arguments.rows());
      values.setValueCount(seen.size());
      arguments.dictionaries().put(new Dictionary(values, ENCODING));
      return indices;
    }
  }

  /** Keeps every column that it was ever given, and gives the sum of their first values. */
  public static final class Keeps implements ScalarFunction, AutoCloseable {
    private final List<BigIntVector> kept = new java.util.ArrayList<>();
    private BufferAllocator own;

    @Override
    public Signature signature() {
      return Signature.of().parameter("x", MinorType.BIGINT.getType());
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      if (own == null) {
        own = allocator.getRoot().newChildAllocator("kept", 0, Long.MAX_VALUE);
      }
      BigIntVector x = arguments.vector("x", BigIntVector.class);
      TransferPair pair = x.getTransferPair(x.getField(), own);
      pair.transfer();
      kept.add((BigIntVector) pair.getTo());
      long sum = kept.stream().mapToLong(vector -> vector.get(0)).sum();
      BigIntVector result = new BigIntVector("sum", allocator);
      result.allocateNew(arguments.rows());
      for (int row = 0; row < arguments.rows(); row++) {
        result.set(row, sum);
      }
      result.setValueCount(arguments.rows());
      return result;
    }

    @Override
    public void close() {
      kept.forEach(BigIntVector::close);
      own.close();
      System.out.println("closed with nothing left");
    }
  }

  /** Forgets 4096 bytes of its allocator. */
  public static final class Leaks extends OfAnything {
    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      ArrowBuf forgotten = allocator.buffer(4096);
      forgotten.setZero(0, 4096);
      return arguments.vectors().get(0);
    }
  }

  /** Returns nothing. */
  public static final class Nothing extends OfAnything {
    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      return null;
    }
  }

  /** Declares a text and returns its argument. */
  public static final class Liar extends OfAnything {
    @Override
    public Signature signature() {
      return super.signature().returns(MinorType.VARCHAR.getType());
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      return arguments.vectors().get(0);
    }
  }

  /** Declares that its result has no nulls and returns its argument. */
  public static final class NeverNull extends OfAnything {
    @Override
    public Signature signature() {
      return super.signature().returns(new Field("r", FieldType.notNullable(MinorType.BIGINT.getType()), null));
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      return arguments.vectors().get(0);
    }
  }

  /** Writes to its argument, which is read-only memory. */
  public static final class Writes implements ScalarFunction {
    @Override
    public Signature signature() {
      return Signature.of().parameter("x", MinorType.BIGINT.getType());
    }

    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      BigIntVector x = arguments.vector("x", BigIntVector.class);
      x.set(0, 42);
      return x;
    }
  }

  /** Asks for a column that it does not take. */
  public static final class Asks extends OfAnything {
    @Override
    public FieldVector call(Arguments arguments, BufferAllocator allocator) {
      return arguments.vector("y", BigIntVector.class);
    }
  }
}
