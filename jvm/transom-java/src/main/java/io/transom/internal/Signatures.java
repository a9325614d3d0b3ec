package io.transom.internal;

import io.transom.Signature;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.Schema;

/** What the native library says of a function, as a signature. */
public final class Signatures {
  private Signatures() {}

  /**
   * Reads a signature.
   *
   * @param parameters the parameters as the fields of a schema, whose metadata say the rest
   * @param results the schema of the results; null where it is not declared
   * @return the signature
   */
  public static Signature read(byte[] parameters, byte[] results) {
    Schema schema = Schema.deserializeMessage(ByteBuffer.wrap(parameters));
    Map<String, String> said = schema.getCustomMetadata();
    Signature signature = Signature.of().named(said.get("name")).retries(Integer.parseInt(said.get("retries")));
    for (Field field : schema.getFields()) {
      signature = field.getMetadata().containsKey("any") ? signature.parameter(field.getName()) : signature.parameter(field);
    }
    if (said.containsKey("variadic")) {
      signature = signature.variadic();
    }
    if (said.containsKey("deadline")) {
      signature = signature.deadline(Duration.ofNanos(Long.parseLong(said.get("deadline"))));
    }
    return results == null ? signature : signature.returns(Schema.deserializeMessage(ByteBuffer.wrap(results)));
  }
}
