package io.transom.worker;

import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.IntFunction;
import java.util.function.Predicate;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.BitVector;
import org.apache.arrow.vector.DateDayVector;
import org.apache.arrow.vector.Decimal256Vector;
import org.apache.arrow.vector.DecimalVector;
import org.apache.arrow.vector.DurationVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.FixedSizeBinaryVector;
import org.apache.arrow.vector.Float4Vector;
import org.apache.arrow.vector.Float8Vector;
import org.apache.arrow.vector.IntVector;
import org.apache.arrow.vector.LargeVarBinaryVector;
import org.apache.arrow.vector.LargeVarCharVector;
import org.apache.arrow.vector.SmallIntVector;
import org.apache.arrow.vector.TimeMicroVector;
import org.apache.arrow.vector.TimeNanoVector;
import org.apache.arrow.vector.TimeStampVector;
import org.apache.arrow.vector.TinyIntVector;
import org.apache.arrow.vector.VarBinaryVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.complex.ListVector;
import org.apache.arrow.vector.types.DateUnit;
import org.apache.arrow.vector.types.FloatingPointPrecision;
import org.apache.arrow.vector.types.TimeUnit;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;

/** Which Java types a row function may use, and how their values come from vectors and go into them. */
abstract class Values {
  /** Puts a value, which is not null, into a row. */
  interface Writer {
    void write(int row, Object value);
  }

  /** The field that the Java type alone says; null where it says too little. */
  abstract Field field(String name, boolean nullable);

  /** Whether a declared field can hold the Java type's values. */
  abstract boolean fits(Field declared);

  /** Reads rows that are not null. */
  abstract IntFunction<Object> present(FieldVector vector);

  /** Writes rows that are not null. */
  abstract Writer writer(FieldVector vector);

  /** Reads rows of a vector of a type that fits; null for null. */
  final IntFunction<Object> reader(FieldVector vector) {
    IntFunction<Object> present = present(vector);
    if (vector.getNullCount() == 0) {
      return present;
    }
    return row -> vector.isNull(row) ? null : present.apply(row);
  }

  /** What a Java type stands for; null where there is nothing in Arrow for it. */
  static Values of(Type type) {
    if (type instanceof Class<?> plain) {
      return PLAIN.get(plain.isPrimitive() ? java.lang.invoke.MethodType.methodType(plain).wrap().returnType() : plain);
    }
    if (type instanceof WildcardType wildcard) {
      return of(wildcard.getUpperBounds()[0]);
    }
    if (type instanceof ParameterizedType generic && generic.getRawType() == List.class) {
      Values element = of(generic.getActualTypeArguments()[0]);
      return element == null ? null : new Lists(element);
    }
    return null;
  }

  /** A type without children. */
  private static final class Plain<V> extends Values {
    private final ArrowType type;
    private final Predicate<ArrowType> others;
    private final Function<FieldVector, IntFunction<Object>> reader;
    private final Function<FieldVector, RowWriter<V>> writer;

    interface RowWriter<V> {
      void write(int row, V value);
    }

    Plain(
        ArrowType type, Predicate<ArrowType> others, Function<FieldVector, IntFunction<Object>> reader, Function<FieldVector, RowWriter<V>> writer) {
      this.type = type;
      this.others = others;
      this.reader = reader;
      this.writer = writer;
    }

    @Override
    Field field(String name, boolean nullable) {
      return type == null ? null : new Field(name, new FieldType(nullable, type, null), null);
    }

    @Override
    boolean fits(Field declared) {
      return declared.getDictionary() == null && (declared.getType().equals(type) || others.test(declared.getType()));
    }

    @Override
    IntFunction<Object> present(FieldVector vector) {
      return reader.apply(vector);
    }

    @Override
    @SuppressWarnings("unchecked") // the value is of the method's result type, by which this was found
    Writer writer(FieldVector vector) {
      RowWriter<V> write = writer.apply(vector);
      return (row, value) -> write.write(row, (V) value);
    }
  }

  private static final class Lists extends Values {
    private final Values element;

    Lists(Values element) {
      this.element = element;
    }

    @Override
    Field field(String name, boolean nullable) {
      Field item = element.field("item", true);
      return item == null ? null : new Field(name, new FieldType(nullable, new ArrowType.List(), null), List.of(item));
    }

    @Override
    boolean fits(Field declared) {
      return declared.getType() instanceof ArrowType.List && element.fits(declared.getChildren().get(0));
    }

    @Override
    IntFunction<Object> present(FieldVector vector) {
      ListVector lists = (ListVector) vector;
      IntFunction<Object> read = element.reader(lists.getDataVector());
      return row -> {
        int end = lists.getElementEndIndex(row);
        List<Object> values = new ArrayList<>(end - lists.getElementStartIndex(row));
        for (int i = lists.getElementStartIndex(row); i < end; i++) {
          values.add(read.apply(i));
        }
        return values;
      };
    }

    @Override
    Writer writer(FieldVector vector) {
      ListVector lists = (ListVector) vector;
      FieldVector items = lists.getDataVector();
      Writer write = element.writer(items);
      return (row, value) -> {
        List<?> values = (List<?>) value;
        int at = lists.startNewValue(row);
        for (Object item : values) {
          if (item == null) {
            items.setNull(at);
          } else {
            write.write(at, item);
          }
          at++;
        }
        lists.endValue(row, values.size());
      };
    }
  }

  private static Plain.RowWriter<String> texts(FieldVector vector) {
    if (vector instanceof LargeVarCharVector large) {
      return (row, value) -> large.setSafe(row, value.getBytes(StandardCharsets.UTF_8));
    }
    VarCharVector small = (VarCharVector) vector;
    return (row, value) -> small.setSafe(row, value.getBytes(StandardCharsets.UTF_8));
  }

  private static IntFunction<Object> textsOf(FieldVector vector) {
    if (vector instanceof LargeVarCharVector large) {
      return row -> new String(large.get(row), StandardCharsets.UTF_8);
    }
    VarCharVector small = (VarCharVector) vector;
    return row -> new String(small.get(row), StandardCharsets.UTF_8);
  }

  private static Plain.RowWriter<byte[]> bytes(FieldVector vector) {
    if (vector instanceof FixedSizeBinaryVector fixed) {
      return (row, value) -> {
        if (value.length != fixed.getByteWidth()) {
          throw new IllegalArgumentException(value.length + " bytes for a fixed size of " + fixed.getByteWidth());
        }
        fixed.setSafe(row, value);
      };
    }
    if (vector instanceof LargeVarBinaryVector large) {
      return (row, value) -> large.setSafe(row, value);
    }
    VarBinaryVector small = (VarBinaryVector) vector;
    return (row, value) -> small.setSafe(row, value);
  }

  private static IntFunction<Object> bytesOf(FieldVector vector) {
    if (vector instanceof FixedSizeBinaryVector fixed) {
      return fixed::get;
    }
    return vector instanceof LargeVarBinaryVector large ? large::get : ((VarBinaryVector) vector)::get;
  }

  private static Plain.RowWriter<BigDecimal> decimals(FieldVector vector) {
    int scale = vector instanceof DecimalVector small ? small.getScale() : ((Decimal256Vector) vector).getScale();
    // A value of a larger scale is refused unless its last digits are zeros: nothing is rounded.
    if (vector instanceof DecimalVector small) {
      return (row, value) -> small.setSafe(row, value.setScale(scale));
    }
    return (row, value) -> ((Decimal256Vector) vector).setSafe(row, value.setScale(scale));
  }

  private static Plain.RowWriter<LocalTime> times(FieldVector vector) {
    if (vector instanceof TimeNanoVector nanos) {
      return (row, value) -> nanos.setSafe(row, value.toNanoOfDay());
    }
    return (row, value) -> ((TimeMicroVector) vector).setSafe(row, value.toNanoOfDay() / 1000);
  }

  private static IntFunction<Object> timesOf(FieldVector vector) {
    if (vector instanceof TimeNanoVector nanos) {
      return row -> LocalTime.ofNanoOfDay(nanos.get(row));
    }
    return row -> LocalTime.ofNanoOfDay(((TimeMicroVector) vector).get(row) * 1000);
  }

  private static TimeUnit unit(FieldVector vector) {
    return vector.getField().getType() instanceof ArrowType.Duration duration
        ? duration.getUnit()
        : ((ArrowType.Timestamp) vector.getField().getType()).getUnit();
  }

  private static boolean isTimestamp(ArrowType type, boolean zoned) {
    return type instanceof ArrowType.Timestamp timestamp && (timestamp.getTimezone() != null) == zoned;
  }

  private static ArrowType whole(int bits) {
    return new ArrowType.Int(bits, true);
  }

  private static final Predicate<ArrowType> NONE = type -> false;

  private static final Map<Class<?>, Values> PLAIN =
      Map.ofEntries(
          Map.entry(
              Boolean.class,
              new Plain<Boolean>(
                  new ArrowType.Bool(),
                  NONE,
                  vector -> row -> ((BitVector) vector).get(row) != 0,
                  vector -> (row, value) -> ((BitVector) vector).setSafe(row, value ? 1 : 0))),
          Map.entry(
              Byte.class,
              new Plain<Byte>(
                  whole(8), NONE, vector -> ((TinyIntVector) vector)::get, vector -> (row, value) -> ((TinyIntVector) vector).setSafe(row, value))),
          Map.entry(
              Short.class,
              new Plain<Short>(
                  whole(16), NONE, vector -> ((SmallIntVector) vector)::get, vector -> (row, value) -> ((SmallIntVector) vector).setSafe(row, value))),
          Map.entry(
              Integer.class,
              new Plain<Integer>(
                  whole(32), NONE, vector -> ((IntVector) vector)::get, vector -> (row, value) -> ((IntVector) vector).setSafe(row, value))),
          Map.entry(
              Long.class,
              new Plain<Long>(
                  whole(64), NONE, vector -> ((BigIntVector) vector)::get, vector -> (row, value) -> ((BigIntVector) vector).setSafe(row, value))),
          Map.entry(
              Float.class,
              new Plain<Float>(
                  new ArrowType.FloatingPoint(FloatingPointPrecision.SINGLE),
                  NONE,
                  vector -> ((Float4Vector) vector)::get,
                  vector -> (row, value) -> ((Float4Vector) vector).setSafe(row, value))),
          Map.entry(
              Double.class,
              new Plain<Double>(
                  new ArrowType.FloatingPoint(FloatingPointPrecision.DOUBLE),
                  NONE,
                  vector -> ((Float8Vector) vector)::get,
                  vector -> (row, value) -> ((Float8Vector) vector).setSafe(row, value))),
          Map.entry(
              String.class, new Plain<String>(new ArrowType.Utf8(), type -> type instanceof ArrowType.LargeUtf8, Values::textsOf, Values::texts)),
          Map.entry(
              byte[].class,
              new Plain<byte[]>(
                  new ArrowType.Binary(),
                  type -> type instanceof ArrowType.LargeBinary || type instanceof ArrowType.FixedSizeBinary,
                  Values::bytesOf,
                  Values::bytes)),
          Map.entry(
              BigDecimal.class,
              new Plain<BigDecimal>(
                  null,
                  type -> type instanceof ArrowType.Decimal decimal && decimal.getBitWidth() >= 128,
                  vector -> vector::getObject,
                  Values::decimals)),
          Map.entry(
              LocalDate.class,
              new Plain<LocalDate>(
                  new ArrowType.Date(DateUnit.DAY),
                  NONE,
                  vector -> row -> LocalDate.ofEpochDay(((DateDayVector) vector).get(row)),
                  vector -> (row, value) -> ((DateDayVector) vector).setSafe(row, Math.toIntExact(value.toEpochDay())))),
          Map.entry(
              LocalTime.class,
              new Plain<LocalTime>(
                  new ArrowType.Time(TimeUnit.MICROSECOND, 64),
                  new ArrowType.Time(TimeUnit.NANOSECOND, 64)::equals,
                  Values::timesOf,
                  Values::times)),
          Map.entry(
              LocalDateTime.class,
              new Plain<LocalDateTime>(
                  new ArrowType.Timestamp(TimeUnit.MICROSECOND, null),
                  type -> isTimestamp(type, false),
                  vector -> {
                    TimeUnit unit = unit(vector);
                    return row -> Ticks.toLocal(((TimeStampVector) vector).get(row), unit);
                  },
                  vector -> {
                    TimeUnit unit = unit(vector);
                    return (row, value) -> ((TimeStampVector) vector).setSafe(row, Ticks.of(value, unit));
                  })),
          Map.entry(
              Instant.class,
              new Plain<Instant>(
                  new ArrowType.Timestamp(TimeUnit.MICROSECOND, "UTC"),
                  type -> isTimestamp(type, true),
                  vector -> {
                    TimeUnit unit = unit(vector);
                    return row -> Ticks.toInstant(((TimeStampVector) vector).get(row), unit);
                  },
                  vector -> {
                    TimeUnit unit = unit(vector);
                    return (row, value) -> ((TimeStampVector) vector).setSafe(row, Ticks.of(value.getEpochSecond(), value.getNano(), unit));
                  })),
          Map.entry(
              Duration.class,
              new Plain<Duration>(
                  new ArrowType.Duration(TimeUnit.MICROSECOND),
                  type -> type instanceof ArrowType.Duration,
                  vector -> vector::getObject,
                  vector -> {
                    TimeUnit unit = unit(vector);
                    return (row, value) -> ((DurationVector) vector).setSafe(row, Ticks.of(value.getSeconds(), value.getNano(), unit));
                  })));
}
