//! The formats that inputs come in, and how names tell them.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, as a file.
    Arrow,
    /// Arrow IPC, as a stream.
    #[value(name = "arrow-stream")]
    Stream,
    /// Comma-separated values with a header line.
    Csv,
    /// Tab-separated values with a header line.
    Tsv,
    /// JSON, one object a line.
    #[value(name = "jsonl")]
    Json,
    /// Lines of text: one column, `line`.
    Text,
}

impl Format {
    /// What the name of a file says about it.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "parquet" | "pq" => Self::Parquet,
            "arrow" | "feather" | "ipc" => Self::Arrow,
            "arrows" => Self::Stream,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "jsonl" | "ndjson" | "json" => Self::Json,
            "txt" | "text" | "log" => Self::Text,
            _ => return None,
        })
    }

    /// Whether it is Arrow's own.
    pub(super) fn is_arrow(self) -> bool {
        matches!(self, Self::Arrow | Self::Stream)
    }

    /// Whether each row takes up at least the end of a line.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::Json | Self::Text)
    }

    /// All names, for messages.
    pub(crate) fn names() -> String {
        let names: Vec<String> = Self::value_variants().iter().filter_map(|format| Some(format.to_possible_value()?.get_name().to_owned())).collect();
        names.join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "an Arrow file",
            Self::Stream => "an Arrow stream",
            Self::Csv => "CSV",
            Self::Tsv => "TSV",
            Self::Json => "JSON lines",
            Self::Text => "text",
        })
    }
}
