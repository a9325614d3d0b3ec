//! The first rows as a table for people.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_cast::pretty::pretty_format_batches_with_schema;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use transom::Result;

use super::{Wanted, file};
use crate::progress::number;

/// How many rows are shown.
const SHOWN: usize = 20;
/// How many characters of a value are shown.
const WIDEST: usize = 80;

/// Keeps the first rows and counts the rest.
pub(crate) struct Table {
    schema: SchemaRef,
    first: Vec<RecordBatch>,
    held: usize,
    more: u64,
}

impl Table {
    /// A table with nothing in it.
    pub(super) fn new(schema: SchemaRef) -> Self {
        Self { schema, first: Vec::new(), held: 0, more: 0 }
    }

    /// Adds a batch.
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        let count = (SHOWN - self.held).min(batch.num_rows());
        if count > 0 {
            // Turned into text at once: keeping the batch would keep its shared memory.
            self.first.push(texts(&batch.slice(0, count)));
        }
        self.held += count;
        self.more += (batch.num_rows() - count) as u64;
    }

    /// Prints it.
    pub(super) fn print(self) -> Result<Wanted> {
        match self.text().and_then(|text| writeln!(io::stdout(), "{text}")) {
            Ok(()) => Ok(Wanted::More),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Wanted::Nothing),
            Err(error) => Err(file::unwritable("standard output", &error)),
        }
    }

    fn text(&self) -> io::Result<String> {
        let table = pretty_format_batches_with_schema(headings(&self.schema), &self.first).map_err(io::Error::other)?;
        Ok(match self.more {
            0 => table.to_string(),
            1 => format!("{table}\n… and 1 more row"),
            more => format!("{table}\n… and {} more rows", number(more)),
        })
    }
}

fn headings(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(|field| Field::new(field.name(), DataType::Utf8, true)).collect::<Vec<_>>()))
}

/// Every value as one short line of text.
fn texts(batch: &RecordBatch) -> RecordBatch {
    let columns: Vec<ArrayRef> = batch.columns().iter().map(|column| text_column(column)).collect();
    RecordBatch::try_new(headings(&batch.schema()), columns).unwrap_or_else(|_| RecordBatch::new_empty(headings(&batch.schema())))
}

fn text_column(column: &ArrayRef) -> ArrayRef {
    let options = FormatOptions::default().with_null("null").with_display_error(true);
    let shown: StringArray = match ArrayFormatter::try_new(column, &options) {
        Ok(formatter) => (0..column.len()).map(|row| Some(shortened(&formatter.value(row).to_string()))).collect(),
        Err(error) => (0..column.len()).map(|_| Some(error.to_string())).collect(),
    };
    Arc::new(shown)
}

fn shortened(text: &str) -> String {
    let mut visible =
        text.chars().flat_map(|character| if character.is_control() { character.escape_default().collect::<Vec<_>>() } else { vec![character] });
    let mut line: String = visible.clone().take(WIDEST).collect();
    if visible.nth(WIDEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;

    #[test]
    fn the_first_rows_are_shown_and_the_rest_counted() {
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from_iter((0..15).map(|n| (n != 3).then_some(n)))) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec![format!("a\tb{}", "c".repeat(100)); 15]))),
        ])
        .unwrap();
        let mut table = Table::new(batch.schema());
        table.add(&batch);
        assert!(!table.text().unwrap().contains("more"));
        table.add(&batch);
        let text = table.text().unwrap();
        assert!(text.ends_with("… and 10 more rows"), "{text}");
        assert!(text.contains("null") && text.contains("a\\tbccc") && text.contains("c… |"), "{text}");
        assert_eq!(text.lines().count(), SHOWN + 5);
    }

    #[test]
    fn no_rows_have_their_headings() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        assert!(Table::new(schema).text().unwrap().contains("| n |"));
    }
}
