package com.acme;

import io.transom.BatchFunction;
import io.transom.Input;
import io.transom.Signature;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.types.Types.MinorType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.Schema;

/** Batches functions, good and bad. */
public final class Streams {
  private Streams() {}

  /** Gives its input back. */
  public static final class Identity implements BatchFunction {
    @Override
    public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
      return input;
    }
  }

  /** One root, filled anew with one more row each time. */
  public static final class Reuses implements BatchFunction {
    @Override
    public Signature signature() {
      return Signature.of().returns(new Schema(List.of(Field.nullable("n", MinorType.BIGINT.getType()))));
    }

    @Override
    public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
      VectorSchemaRoot root = VectorSchemaRoot.create(signature().results().orElseThrow(), allocator);
      return new Iterator<>() {
        private int rows;

        @Override
        public boolean hasNext() {
          return rows < 3;
        }

        @Override
        public VectorSchemaRoot next() {
          rows++;
          BigIntVector n = (BigIntVector) root.getVector("n");
          n.allocateNew(rows);
          for (int row = 0; row < rows; row++) {
            n.set(row, rows);
          }
          root.setRowCount(rows);
          return root;
        }
      };
    }
  }

  /** Looks at all of its input before it gives the number of rows. */
  public static final class Counts implements BatchFunction {
    @Override
    public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
      long rows = 0;
      while (input.hasNext()) {
        rows += input.next().getRowCount();
      }
      BigIntVector count = new BigIntVector("rows", allocator);
      count.allocateNew(1);
      count.set(0, rows);
      count.setValueCount(1);
      return List.of(new VectorSchemaRoot(List.<FieldVector>of(count))).iterator();
    }
  }

  /** Gives its first batch and fails at the second. */
  public static final class Fails implements BatchFunction {
    @Override
    public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
      return new Iterator<>() {
        private int seen;

        @Override
        public boolean hasNext() {
          return true;
        }

        @Override
        public VectorSchemaRoot next() {
          if (seen++ == 1) {
            throw new IllegalArgumentException("the second is one too many");
          }
          return input.next();
        }
      };
    }
  }

  /** Gives batches for ever, catches every exception, and says when it is closed. */
  public static final class Stubborn implements BatchFunction {
    @Override
    public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
      return new Results(input);
    }

    private static final class Results implements Iterator<VectorSchemaRoot>, AutoCloseable {
      private final Input input;

      Results(Input input) {
        this.input = input;
      }

      @Override
      public boolean hasNext() {
        try {
          return input.hasNext();
        } catch (Exception swallowed) {
          return false;
        }
      }

      @Override
      public VectorSchemaRoot next() {
        return input.next();
      }

      @Override
      public void close() {
        System.out.println("the results were closed");
      }
    }
  }

  /** Gives batches of two schemas. */
  public static final class Changes implements BatchFunction {
    @Override
    public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
      List<VectorSchemaRoot> results = new ArrayList<>();
      for (String name : List.of("a", "b")) {
        BigIntVector vector = new BigIntVector(name, allocator);
        vector.allocateNew(1);
        vector.set(0, 1);
        vector.setValueCount(1);
        results.add(new VectorSchemaRoot(List.<FieldVector>of(vector)));
      }
      return results.iterator();
    }
  }

  /** Returns nothing. */
  public static final class Nothing implements BatchFunction {
    @Override
    public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
      return null;
    }
  }

  /** Declares parameters, which a batches function has not. */
  public static final class Declares implements BatchFunction {
    @Override
    public Signature signature() {
      return Signature.of().parameter("x", MinorType.BIGINT.getType());
    }

    @Override
    public Iterator<VectorSchemaRoot> call(Input input, BufferAllocator allocator) {
      return input;
    }
  }
}
