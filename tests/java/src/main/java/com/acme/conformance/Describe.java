package com.acme.conformance;

import io.transom.Arguments;
import io.transom.ScalarFunction;
import io.transom.Signature;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.function.IntFunction;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BaseIntVector;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.BitVector;
import org.apache.arrow.vector.DateDayVector;
import org.apache.arrow.vector.DateMilliVector;
import org.apache.arrow.vector.Decimal256Vector;
import org.apache.arrow.vector.DecimalVector;
import org.apache.arrow.vector.DurationVector;
import org.apache.arrow.vector.ExtensionTypeVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.FixedSizeBinaryVector;
import org.apache.arrow.vector.Float2Vector;
import org.apache.arrow.vector.Float4Vector;
import org.apache.arrow.vector.Float8Vector;
import org.apache.arrow.vector.IntervalDayVector;
import org.apache.arrow.vector.IntervalMonthDayNanoVector;
import org.apache.arrow.vector.IntervalYearVector;
import org.apache.arrow.vector.LargeVarBinaryVector;
import org.apache.arrow.vector.LargeVarCharVector;
import org.apache.arrow.vector.NullVector;
import org.apache.arrow.vector.TimeMicroVector;
import org.apache.arrow.vector.TimeMilliVector;
import org.apache.arrow.vector.TimeNanoVector;
import org.apache.arrow.vector.TimeSecVector;
import org.apache.arrow.vector.TimeStampVector;
import org.apache.arrow.vector.UInt8Vector;
import org.apache.arrow.vector.VarBinaryVector;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.ViewVarBinaryVector;
import org.apache.arrow.vector.ViewVarCharVector;
import org.apache.arrow.vector.complex.DenseUnionVector;
import org.apache.arrow.vector.complex.FixedSizeListVector;
import org.apache.arrow.vector.complex.LargeListVector;
import org.apache.arrow.vector.complex.LargeListViewVector;
import org.apache.arrow.vector.complex.ListVector;
import org.apache.arrow.vector.complex.ListViewVector;
import org.apache.arrow.vector.complex.MapVector;
import org.apache.arrow.vector.complex.RunEndEncodedVector;
import org.apache.arrow.vector.complex.StructVector;
import org.apache.arrow.vector.complex.UnionVector;
import org.apache.arrow.vector.dictionary.DictionaryProvider;
import org.apache.arrow.vector.types.Types.MinorType;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;

/** For every row its value as JSON, read by arrow-java's own means. */
public final class Describe implements ScalarFunction {
  private static final HexFormat HEX = HexFormat.of().withUpperCase();

  @Override
  public Signature signature() {
    Field text = new Field("describe", FieldType.notNullable(MinorType.VARCHAR.getType()), null);
    return Signature.of().named("describe").parameter("x").returns(text);
  }

  @Override
  public FieldVector call(Arguments arguments, BufferAllocator allocator) {
    IntFunction<String> read = reader(arguments.vectors().get(0), arguments.dictionaries());
    VarCharVector result = new VarCharVector(new Field("describe", FieldType.notNullable(MinorType.VARCHAR.getType()), null), allocator);
    result.allocateNew();
    for (int row = 0; row < arguments.rows(); row++) {
      result.setSafe(row, read.apply(row).getBytes(StandardCharsets.UTF_8));
    }
    result.setValueCount(arguments.rows());
    return result;
  }

  private static IntFunction<String> reader(FieldVector vector, DictionaryProvider dictionaries) {
    IntFunction<String> present = present(vector, dictionaries);
    return row -> vector.isNull(row) ? "null" : present.apply(row);
  }

  private static IntFunction<String> present(FieldVector vector, DictionaryProvider dictionaries) {
    if (vector.getField().getDictionary() != null) {
      FieldVector values = dictionaries.lookup(vector.getField().getDictionary().getId()).getVector();
      IntFunction<String> read = reader(values, dictionaries);
      return row -> read.apply(Math.toIntExact(((BaseIntVector) vector).getValueAsLong(row)));
    }
    if (vector instanceof ExtensionTypeVector<?> extension) {
      return reader((FieldVector) extension.getUnderlyingVector(), dictionaries);
    }
    IntFunction<String> nested = nested(vector, dictionaries);
    return nested != null ? nested : row -> plain(vector, row);
  }

  private static String plain(FieldVector vector, int row) {
    String number = number(vector, row);
    if (number != null) {
      return number;
    }
    if (vector instanceof VarCharVector texts) {
      return text(texts.get(row));
    } else if (vector instanceof LargeVarCharVector texts) {
      return text(texts.get(row));
    } else if (vector instanceof ViewVarCharVector texts) {
      return text(texts.get(row));
    } else if (vector instanceof VarBinaryVector bytes) {
      return quoted(HEX.formatHex(bytes.get(row)));
    } else if (vector instanceof LargeVarBinaryVector bytes) {
      return quoted(HEX.formatHex(bytes.get(row)));
    } else if (vector instanceof ViewVarBinaryVector bytes) {
      return quoted(HEX.formatHex(bytes.get(row)));
    } else if (vector instanceof FixedSizeBinaryVector bytes) {
      return quoted(HEX.formatHex(bytes.get(row)));
    } else if (vector instanceof NullVector) {
      return "null";
    }
    throw new UnsupportedOperationException("a " + vector.getClass().getSimpleName());
  }

  private static String number(FieldVector vector, int row) {
    if (vector instanceof BitVector bits) {
      return bits.get(row) != 0 ? "true" : "false";
    } else if (vector instanceof BigIntVector whole) {
      return quoted(whole.get(row));
    } else if (vector instanceof UInt8Vector whole) {
      return quoted(Long.toUnsignedString(whole.get(row)));
    } else if (vector instanceof BaseIntVector whole) {
      long value = whole.getValueAsLong(row);
      ArrowType.Int type = (ArrowType.Int) vector.getField().getType();
      return Long.toString(type.getIsSigned() ? value : value & (1L << type.getBitWidth()) - 1);
    } else if (vector instanceof Float2Vector real) {
      return quoted(HEX.toHexDigits(real.get(row)));
    } else if (vector instanceof Float4Vector real) {
      return quoted(HEX.toHexDigits(Float.floatToRawIntBits(real.get(row))));
    } else if (vector instanceof Float8Vector real) {
      return quoted(HEX.toHexDigits(Double.doubleToRawLongBits(real.get(row))));
    } else if (vector instanceof DecimalVector decimal) {
      return quoted(decimal.getObject(row).unscaledValue());
    } else if (vector instanceof Decimal256Vector decimal) {
      return quoted(decimal.getObject(row).unscaledValue());
    }
    return time(vector, row);
  }

  private static String time(FieldVector vector, int row) {
    if (vector instanceof DateDayVector days) {
      return Integer.toString(days.get(row));
    } else if (vector instanceof DateMilliVector millis) {
      return quoted(millis.get(row));
    } else if (vector instanceof TimeSecVector time) {
      return Integer.toString(time.get(row));
    } else if (vector instanceof TimeMilliVector time) {
      return Integer.toString(time.get(row));
    } else if (vector instanceof TimeMicroVector time) {
      return quoted(time.get(row));
    } else if (vector instanceof TimeNanoVector time) {
      return quoted(time.get(row));
    } else if (vector instanceof TimeStampVector time) {
      return quoted(time.get(row));
    } else if (vector instanceof DurationVector duration) {
      return quoted(DurationVector.get(duration.getDataBuffer(), row));
    } else if (vector instanceof IntervalYearVector months) {
      return Integer.toString(months.get(row));
    } else if (vector instanceof IntervalDayVector interval) {
      int days = IntervalDayVector.getDays(interval.getDataBuffer(), row);
      return "{\"days\": " + days + ", \"milliseconds\": " + IntervalDayVector.getMilliseconds(interval.getDataBuffer(), row) + "}";
    } else if (vector instanceof IntervalMonthDayNanoVector interval) {
      return "{\"months\": "
          + IntervalMonthDayNanoVector.getMonths(interval.getDataBuffer(), row)
          + ", \"days\": "
          + IntervalMonthDayNanoVector.getDays(interval.getDataBuffer(), row)
          + ", \"nanoseconds\": "
          + IntervalMonthDayNanoVector.getNanoseconds(interval.getDataBuffer(), row)
          + "}";
    }
    return null;
  }

  private static IntFunction<String> nested(FieldVector vector, DictionaryProvider dictionaries) {
    if (vector instanceof MapVector maps) {
      StructVector entries = (StructVector) maps.getDataVector();
      IntFunction<String> pair = fields(entries, dictionaries);
      return row -> list(maps.getElementStartIndex(row), maps.getElementEndIndex(row), pair);
    } else if (vector instanceof ListVector lists) {
      IntFunction<String> item = reader(lists.getDataVector(), dictionaries);
      return row -> list(lists.getElementStartIndex(row), lists.getElementEndIndex(row), item);
    } else if (vector instanceof LargeListVector lists) {
      IntFunction<String> item = reader(lists.getDataVector(), dictionaries);
      return row -> list(lists.getElementStartIndex(row), lists.getElementEndIndex(row), item);
    } else if (vector instanceof ListViewVector lists) {
      IntFunction<String> item = reader(lists.getDataVector(), dictionaries);
      return row -> list(lists.getElementStartIndex(row), lists.getElementEndIndex(row), item);
    } else if (vector instanceof LargeListViewVector lists) {
      IntFunction<String> item = reader(lists.getDataVector(), dictionaries);
      return row -> {
        long start = lists.getOffsetBuffer().getLong(row * 8L);
        return list(start, start + lists.getSizeBuffer().getLong(row * 8L), item);
      };
    } else if (vector instanceof FixedSizeListVector lists) {
      IntFunction<String> item = reader(lists.getDataVector(), dictionaries);
      return row -> list(lists.getElementStartIndex(row), lists.getElementEndIndex(row), item);
    } else if (vector instanceof StructVector structs) {
      return fields(structs, dictionaries);
    } else if (vector instanceof DenseUnionVector union) {
      return row -> "[" + union.getTypeId(row) + ", " + reader((FieldVector) union.getVectorByType(union.getTypeId(row)), dictionaries).apply(union.getOffset(row)) + "]";
    } else if (vector instanceof UnionVector union) {
      return row -> "[" + union.getTypeValue(row) + ", " + reader((FieldVector) union.getVector(row), dictionaries).apply(row) + "]";
    } else if (vector instanceof RunEndEncodedVector runs) {
      IntFunction<String> value = reader(runs.getValuesVector(), dictionaries);
      return row -> value.apply(run(runs, row));
    }
    return null;
  }

  private static int run(RunEndEncodedVector runs, int row) {
    BaseIntVector ends = (BaseIntVector) runs.getRunEndsVector();
    int run = 0;
    while (ends.getValueAsLong(run) <= row) {
      run++;
    }
    return run;
  }

  private static IntFunction<String> fields(StructVector structs, DictionaryProvider dictionaries) {
    List<IntFunction<String>> readers = new ArrayList<>();
    for (FieldVector child : structs.getChildrenFromFields()) {
      readers.add(reader(child, dictionaries));
    }
    return row -> "[" + String.join(", ", readers.stream().map(read -> read.apply(row)).toList()) + "]";
  }

  private static String list(long start, long end, IntFunction<String> item) {
    List<String> items = new ArrayList<>();
    for (int i = Math.toIntExact(start); i < end; i++) {
      items.add(item.apply(i));
    }
    return "[" + String.join(", ", items) + "]";
  }

  private static String quoted(Object value) {
    return "\"" + value + "\"";
  }

  private static String text(byte[] utf8) {
    StringBuilder json = new StringBuilder("\"");
    for (char c : new String(utf8, StandardCharsets.UTF_8).toCharArray()) {
      if (c < ' ' || c == '"' || c == '\\') {
        json.append(String.format("\\u%04x", (int) c));
      } else {
        json.append(c);
      }
    }
    return json.append('"').toString();
  }
}
