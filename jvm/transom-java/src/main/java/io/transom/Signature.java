package io.transom;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.Schema;

/**
 * What a function takes and gives, in Arrow's own types, and how it is to be run. Every method gives a new signature, so one can be kept and shared.
 *
 * <pre>{@code
 * Signature.of()
 *     .parameter("price", MinorType.FLOAT8.getType())
 *     .parameter("discount", MinorType.FLOAT8.getType())
 *     .returns(MinorType.FLOAT8.getType())
 *     .deadline(Duration.ofSeconds(10));
 * }</pre>
 *
 * <p>What is wrong here fails the function when it is loaded, with {@code FUNCTION_SIGNATURE} and a sentence that says what.
 */
public final class Signature {
  private static final Signature NOTHING = new Signature(new Parts());

  private final Parts parts;

  private Signature(Parts parts) {
    this.parts = parts;
  }

  /**
   * One parameter.
   *
   * @param name the column that it takes where the caller says no other
   * @param type the field with its Arrow type; null where any type will do
   */
  public record Parameter(String name, Field type) {
    /**
     * A parameter with a name that is not empty.
     *
     * @param name the name
     * @param type the type, or null
     */
    public Parameter {
      if (name == null || name.isEmpty()) {
        throw new IllegalArgumentException("a parameter has no name");
      }
    }
  }

  /** The values, apart from the class so that a change is a copy and an assignment. */
  private static final class Parts {
    private String name;
    private List<Parameter> parameters = List.of();
    private boolean variadic;
    private Schema returns;
    private Duration deadline;
    private int retries;

    private Parts copy() {
      Parts copy = new Parts();
      copy.name = name;
      copy.parameters = parameters;
      copy.variadic = variadic;
      copy.returns = returns;
      copy.deadline = deadline;
      copy.retries = retries;
      return copy;
    }
  }

  /**
   * A signature that declares nothing yet.
   *
   * @return the signature
   */
  public static Signature of() {
    return NOTHING;
  }

  /**
   * Names the function: errors and the result's column bear the name. It is the class's simple name otherwise.
   *
   * @param name the name
   * @return the signature with it
   */
  public Signature named(String name) {
    Parts changed = parts.copy();
    changed.name = Objects.requireNonNull(name, "the function's name is null");
    return new Signature(changed);
  }

  /**
   * Adds a parameter of an Arrow type without children. A column of another type is cast where no value is lost, and refused otherwise.
   *
   * @param name the parameter's name
   * @param type its type, such as {@code MinorType.BIGINT.getType()}
   * @return the signature with it
   */
  public Signature parameter(String name, ArrowType type) {
    Objects.requireNonNull(type, () -> "the type of parameter `" + name + "` is null");
    return with(new Parameter(name, new Field(name, FieldType.nullable(type), null)));
  }

  /**
   * Adds a parameter of any Arrow type; the field's name is the parameter's.
   *
   * @param field name, type and children
   * @return the signature with it
   */
  public Signature parameter(Field field) {
    return with(new Parameter(field.getName(), field));
  }

  /**
   * Adds a parameter that takes columns of every type.
   *
   * @param name the parameter's name
   * @return the signature with it
   */
  public Signature parameter(String name) {
    return with(new Parameter(name, null));
  }

  /**
   * Takes any number of columns more, behind the parameters.
   *
   * @return the signature with them
   */
  public Signature variadic() {
    Parts changed = parts.copy();
    changed.variadic = true;
    return new Signature(changed);
  }

  /**
   * Declares the type of the result, which may have nulls.
   *
   * @param type a type without children
   * @return the signature with it
   */
  public Signature returns(ArrowType type) {
    Objects.requireNonNull(type, "the type of the result is null");
    return returns(new Field("result", FieldType.nullable(type), null));
  }

  /**
   * Declares the result of a scalar or row function: type, children, and whether it may have nulls. The column is named after the function.
   *
   * @param field the result
   * @return the signature with it
   */
  public Signature returns(Field field) {
    return returns(new Schema(List.of(field)));
  }

  /**
   * Declares the batches that a batches function gives.
   *
   * @param schema their schema
   * @return the signature with it
   */
  public Signature returns(Schema schema) {
    Parts changed = parts.copy();
    changed.returns = Objects.requireNonNull(schema, "the schema of the results is null");
    return new Signature(changed);
  }

  /**
   * The longest that one batch may take before its worker is ended ({@code DEADLINE_EXCEEDED}).
   *
   * @param deadline more than nothing
   * @return the signature with it
   */
  public Signature deadline(Duration deadline) {
    if (deadline.isNegative() || deadline.isZero()) {
      throw new IllegalArgumentException("the deadline " + deadline + " is not more than nothing");
    }
    Parts changed = parts.copy();
    changed.deadline = deadline;
    return new Signature(changed);
  }

  /**
   * How often a batch is tried again after its worker died. Only for functions that may run twice on the same rows.
   *
   * @param retries 0 or more
   * @return the signature with it
   */
  public Signature retries(int retries) {
    if (retries < 0) {
      throw new IllegalArgumentException("retries are " + retries + ", and cannot be less than 0");
    }
    Parts changed = parts.copy();
    changed.retries = retries;
    return new Signature(changed);
  }

  private Signature with(Parameter parameter) {
    for (Parameter other : parts.parameters) {
      if (other.name().equals(parameter.name())) {
        throw new IllegalArgumentException("two parameters are named `" + parameter.name() + "`");
      }
    }
    Parts changed = parts.copy();
    List<Parameter> longer = new ArrayList<>(parts.parameters);
    longer.add(parameter);
    changed.parameters = List.copyOf(longer);
    return new Signature(changed);
  }

  /**
   * The name, where one was given.
   *
   * @return the name
   */
  public Optional<String> name() {
    return Optional.ofNullable(parts.name);
  }

  /**
   * The parameters, in order.
   *
   * @return the parameters
   */
  public List<Parameter> parameters() {
    return parts.parameters;
  }

  /**
   * Whether any number of columns more is taken.
   *
   * @return whether it is
   */
  public boolean isVariadic() {
    return parts.variadic;
  }

  /**
   * The schema of the results, where it is declared: one field for scalar and row functions.
   *
   * @return the schema
   */
  public Optional<Schema> results() {
    return Optional.ofNullable(parts.returns);
  }

  /**
   * The longest that one batch may take, where that is declared.
   *
   * @return the deadline
   */
  public Optional<Duration> deadline() {
    return Optional.ofNullable(parts.deadline);
  }

  /**
   * How often a batch is tried again after its worker died.
   *
   * @return the number, 0 unless declared
   */
  public int retries() {
    return parts.retries;
  }
}
