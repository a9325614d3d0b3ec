//! Lines of text: one column, `line`.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::StringBuilder;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use transom::{Code, Error, Result};

use super::rechunk::MOST_BYTES;
use super::{Batches, Format, Input, Plan, Probe, Stream, malformed, open_once, text_of, unreadable};

/// The longest line: more would not fit the 32-bit offsets of a text column.
const LONGEST: u64 = 1 << 30;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, false)]))
}

pub(super) fn probe(path: &Path, again: bool) -> Result<Probe> {
    let source = open_once(path)?;
    Ok(Probe { schema: schema(), inferred: false, stream: (!again).then_some(Stream::Bytes(source)), extent: None })
}

pub(super) fn read(input: Input, plan: &Plan) -> Result<Batches> {
    let source = text_of(&input.path, input.stream, &plan.meter)?;
    Ok(Box::new(Lines { source: BufReader::with_capacity(1 << 20, source), path: input.path, number: 0, batch_rows: plan.batch_rows, failed: false }))
}

struct Lines<R> {
    source: R,
    path: PathBuf,
    number: u64,
    batch_rows: usize,
    failed: bool,
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.batch().transpose();
        self.failed = matches!(batch, Some(Err(_)));
        batch
    }
}

impl<R: BufRead> Lines<R> {
    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut lines = StringBuilder::new();
        let (mut rows, mut held) = (0, 0);
        let mut line = Vec::new();
        while rows < self.batch_rows && held < MOST_BYTES {
            line.clear();
            self.source.by_ref().take(LONGEST).read_until(b'\n', &mut line).map_err(|error| unreadable(&self.path, error))?;
            if line.is_empty() {
                break;
            }
            self.number += 1;
            let text = self.text(&line)?;
            lines.append_value(text);
            held += text.len();
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let batch = RecordBatch::try_new(schema(), vec![Arc::new(lines.finish())]);
        batch.map(Some).map_err(|error| malformed(&self.path, Format::Text, error))
    }

    /// A line without its ending.
    fn text<'a>(&self, line: &'a [u8]) -> Result<&'a str> {
        if line.len() as u64 == LONGEST && !line.ends_with(b"\n") {
            return Err(malformed(&self.path, Format::Text, format!("line {} has more than {LONGEST} bytes", self.number)));
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        std::str::from_utf8(line).map_err(|error| {
            let what = format!("{} is not UTF-8: line {}, byte {}", super::shown(&self.path), self.number, error.valid_up_to() + 1);
            Error::new(Code::InputFormat, what).with_hint("`iconv -f LATIN1 -t UTF-8 FILE` makes UTF-8 of a file in Latin-1")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;

    fn lines(text: &[u8], batch_rows: usize) -> Vec<Result<RecordBatch>> {
        Lines { source: text, path: "t.txt".into(), number: 0, batch_rows, failed: false }.collect()
    }

    #[test]
    fn lines_lose_their_endings_and_nothing_else() {
        let batches = lines(b"one\r\n\n  three \nlast", 3);
        let texts: Vec<String> = batches
            .iter()
            .flat_map(|batch| batch.as_ref().unwrap().column(0).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>())
            .collect();
        assert_eq!(texts, ["one", "", "  three ", "last"]);
        assert_eq!(batches.len(), 2);
        assert!(lines(b"", 3).is_empty());
    }

    #[test]
    fn what_is_not_utf8_is_named_by_line_and_byte() {
        let batches = lines(b"fine\nna\xEFve\nmore\n", 10);
        assert_eq!(batches.len(), 1);
        let error = batches[0].as_ref().unwrap_err();
        assert!(error.message().contains("line 2, byte 3"), "{error}");
    }
}
