import io.transom.Function;
import io.transom.Pool;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.VectorSchemaRoot;

public class First {
  public static void main(String[] arguments) {
    try (var allocator = new RootAllocator();
        var pool = Pool.builder().python(".venv/bin/python").build();
        var plusOne = Function.python("examples/first.py:plus_one");
        var x = new BigIntVector("x", pool.allocator())) {
      x.allocateNew(3);
      for (int i = 0; i < 3; i++) {
        x.set(i, i + 1);
      }
      x.setValueCount(3);
      try (var result = pool.call(plusOne, VectorSchemaRoot.of(x), allocator)) {
        System.out.print(result.contentToTSVString());
      }
    }
  }
}
