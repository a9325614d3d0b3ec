package com.example.text;

import io.transom.RowFunction;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.standard.StandardAnalyzer;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;

/** The words of a text as Apache Lucene's standard analyzer finds them: cut by Unicode's rules (UAX 29), in small letters. */
public final class Tokens implements RowFunction, AutoCloseable {
  private final StandardAnalyzer analyzer = new StandardAnalyzer();

  /**
   * One text.
   *
   * @param text the text, or null
   * @return its words in order, or null
   * @throws IOException never: the text lies in memory
   */
  public List<String> call(String text) throws IOException {
    if (text == null) {
      return null;
    }
    List<String> words = new ArrayList<>();
    try (TokenStream stream = analyzer.tokenStream("text", text)) {
      CharTermAttribute word = stream.getAttribute(CharTermAttribute.class);
      stream.reset();
      while (stream.incrementToken()) {
        words.add(word.toString());
      }
      stream.end();
    }
    return words;
  }

  @Override
  public void close() {
    analyzer.close();
  }
}
