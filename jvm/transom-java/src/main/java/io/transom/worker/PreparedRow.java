package io.transom.worker;

import io.transom.RowFunction;
import io.transom.Signature;
import io.transom.worker.Failure.Code;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Parameter;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntFunction;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.types.pojo.Field;

/** A row function, ready to be called: its method, and how values get in and out. */
final class PreparedRow extends Prepared implements ColumnFunction {
  private final MethodHandle call;
  private final Method method;
  private final List<Values> takes;
  private final Values gives;

  private PreparedRow(RowFunction function, Signature signature, Method method, List<Values> takes, Values gives) {
    super(function, signature);
    this.method = method;
    this.takes = takes;
    this.gives = gives;
    this.call = handle(function, method);
  }

  /** Reads the method `call` and joins what its types say with what is declared. */
  static PreparedRow of(RowFunction function, Signature declared) {
    Class<?> type = function.getClass();
    Method method = method(type);
    List<Values> takes = new ArrayList<>();
    for (Parameter parameter : method.getParameters()) {
      takes.add(values(type, parameter.getParameterizedType(), "parameter `" + parameter.getName() + "`"));
    }
    Values gives = values(type, method.getGenericReturnType(), "the result");
    Signature joined = joined(type, method, takes, declared);
    checkOneResult(type, declared);
    boolean nullable = !method.getReturnType().isPrimitive();
    Field result = declared.results().map(schema -> schema.getFields().get(0)).orElseGet(() -> gives.field("result", nullable));
    if (result == null) {
      throw wrong(type, "the Arrow type of the result does not follow from BigDecimal", "declare it: Signature.of().returns(…)");
    }
    if (!gives.fits(result)) {
      throw wrong(type, "call returns " + method.getGenericReturnType().getTypeName() + ", and " + result.getType() + " is declared", null);
    }
    return new PreparedRow(function, joined.returns(result), method, takes, gives);
  }

  private static Method method(Class<?> type) {
    List<Method> found =
        Arrays.stream(type.getMethods()).filter(m -> m.getName().equals("call") && !m.isBridge() && !Modifier.isStatic(m.getModifiers())).toList();
    if (found.size() != 1) {
      throw wrong(type, "a RowFunction has one public method `call`, and there are " + found.size(), "write `public long call(long x)`, for example");
    }
    return found.get(0);
  }

  private static Values values(Class<?> type, Type java, String what) {
    Values found = Values.of(java);
    if (found == null) {
      String known = "use a type from RowFunction's table, such as long, String or List<Double>, or write a ScalarFunction";
      throw wrong(type, what + " of call is " + java.getTypeName() + ", which has no Arrow type", known);
    }
    return found;
  }

  private static Signature joined(Class<?> type, Method method, List<Values> takes, Signature declared) {
    Parameter[] parameters = method.getParameters();
    if (declared.isVariadic()) {
      throw wrong(type, "a RowFunction takes the columns of its method and no more", "write a ScalarFunction for any number of columns");
    }
    if (!declared.parameters().isEmpty()) {
      checkDeclared(type, parameters, takes, declared);
    }
    Signature joined = Signature.of().retries(declared.retries());
    joined = declared.name().isPresent() ? joined.named(declared.name().get()) : joined;
    joined = declared.deadline().isPresent() ? joined.deadline(declared.deadline().get()) : joined;
    for (int i = 0; i < parameters.length; i++) {
      Signature.Parameter said = declared.parameters().isEmpty() ? null : declared.parameters().get(i);
      if (said == null && !parameters[i].isNamePresent()) {
        throw wrong(type, "the names of call's parameters are not in the class", "compile with -parameters, or declare them in signature()");
      }
      String name = said == null ? parameters[i].getName() : said.name();
      Field field = said == null || said.type() == null ? takes.get(i).field(name, true) : said.type();
      if (field == null) {
        throw wrong(type, "the Arrow type of parameter `" + name + "` does not follow from BigDecimal", "declare it in signature()");
      }
      joined = joined.parameter(field);
    }
    return joined;
  }

  private static void checkDeclared(Class<?> type, Parameter[] parameters, List<Values> takes, Signature declared) {
    if (declared.parameters().size() != parameters.length) {
      throw wrong(type, "call has " + parameters.length + " parameters, and " + declared.parameters().size() + " are declared", null);
    }
    for (int i = 0; i < parameters.length; i++) {
      Field field = declared.parameters().get(i).type();
      if (field != null && !takes.get(i).fits(field)) {
        String java = parameters[i].getParameterizedType().getTypeName();
        throw wrong(type, "parameter `" + field.getName() + "` of call is " + java + ", and " + field.getType() + " is declared", null);
      }
    }
  }

  private static MethodHandle handle(RowFunction function, Method method) {
    try {
      // The class need not be public, only the method.
      method.setAccessible(true);
      MethodHandle bound = MethodHandles.lookup().unreflect(method).bindTo(function);
      return bound.asSpreader(Object[].class, method.getParameterCount()).asType(MethodType.methodType(Object.class, Object[].class));
    } catch (ReflectiveOperationException error) {
      throw Failure.of(Code.FUNCTION_NOT_CALLABLE, "`" + method + "` cannot be called: " + Report.message(error), error, null);
    }
  }

  @Override
  int kind() {
    return 1;
  }

  @Override
  public FieldVector call(Columns columns, BufferAllocator allocator) {
    List<IntFunction<Object>> readers = readers(columns);
    Object[] values = new Object[readers.size()];
    FieldVector result = signature.results().orElseThrow().getFields().get(0).createVector(allocator);
    try {
      result.setInitialCapacity(columns.rows());
      result.allocateNew();
      Values.Writer writer = gives.writer(result);
      for (int row = 0; row < columns.rows(); row++) {
        for (int i = 0; i < values.length; i++) {
          values[i] = readers.get(i).apply(row);
        }
        write(result, writer, row, one(values, row));
      }
      result.setValueCount(columns.rows());
      return result;
    } catch (Throwable thrown) {
      result.close();
      throw thrown;
    }
  }

  private List<IntFunction<Object>> readers(Columns columns) {
    List<IntFunction<Object>> readers = new ArrayList<>();
    for (int i = 0; i < takes.size(); i++) {
      FieldVector vector = columns.vectors().get(i);
      if (method.getParameterTypes()[i].isPrimitive() && vector.getNullCount() > 0) {
        throw nullForPrimitive(vector, method.getParameterTypes()[i]);
      }
      readers.add(takes.get(i).reader(vector));
    }
    return readers;
  }

  private static Failure nullForPrimitive(FieldVector vector, Class<?> type) {
    int row = 0;
    while (!vector.isNull(row)) {
      row++;
    }
    String box = MethodType.methodType(type).wrap().returnType().getSimpleName();
    String said = "column `" + vector.getName() + "` has a null, which a " + type.getName() + " cannot hold";
    return Failure.at(row, Code.ARGUMENT_TYPE, said, "take a " + box + ", or fill the nulls before the call");
  }

  private Object one(Object[] values, int row) {
    try {
      return (Object) call.invokeExact(values);
    } catch (Throwable thrown) {
      throw Failure.raised(thrown, row);
    }
  }

  private void write(FieldVector result, Values.Writer writer, int row, Object value) {
    if (value == null) {
      if (!result.getField().isNullable()) {
        throw Failure.at(row, Code.INVALID_DATA, "the function returned a null, and its result is declared to have none", null);
      }
      result.setNull(row);
      return;
    }
    try {
      writer.write(row, value);
    } catch (ArithmeticException | IllegalArgumentException | UnsupportedOperationException error) {
      String said = "the value " + value + " does not fit " + result.getField().getType() + ": " + Report.message(error);
      throw Failure.at(row, Code.INVALID_DATA, said, "return a value of the declared type, or null");
    }
  }
}
