//! Parquet: only the columns that are wanted are read.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use arrow_schema::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use transom::Result;

use super::rechunk::MOST_BYTES;
use super::{Batches, Extent, Format, Plan, Probe, malformed, open, reading, unreadable};

type Builder = ParquetRecordBatchReaderBuilder<File>;

pub(super) fn probe(path: &Path) -> Result<Probe> {
    let builder = builder(path)?;
    let extent = Extent { rows: rows(&builder), batch_rows: most_rows(&builder, &ProjectionMask::all()) };
    let schema = builder.schema().clone();
    // What pandas and others say about themselves in the metadata differs from file to file and means nothing here.
    Ok(Probe { schema: Schema::new(schema.fields().clone()).into(), inferred: false, stream: None, extent: Some(extent) })
}

pub(super) fn read(path: &Path, plan: &Plan) -> Result<Batches> {
    let builder = builder(path)?;
    let wanted: Vec<usize> = plan.columns.fields().iter().filter_map(|field| builder.schema().index_of(field.name()).ok()).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let rows = rows(&builder).max(1);
    let batch_rows = most_rows(&builder, &mask).min(plan.batch_rows);
    let length = std::fs::metadata(path).map_err(|error| unreadable(path, error))?.len();
    let reader = builder.with_projection(mask).with_batch_size(batch_rows).build().map_err(|error| malformed(path, Format::Parquet, error))?;
    let (path, meter) = (path.to_path_buf(), plan.meter.clone());
    let mut done = 0;
    Ok(Box::new(reader.map(move |batch| {
        let batch = batch.map_err(|error| reading(&path, Format::Parquet, error))?;
        let before = share(length, done, rows);
        done += batch.num_rows() as u64;
        meter.add(share(length, done, rows) - before);
        Ok(batch)
    })))
}

fn rows(builder: &Builder) -> u64 {
    u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0)
}

/// The part of a file's length that stands for its first `done` rows.
fn share(length: u64, done: u64, rows: u64) -> u64 {
    (u128::from(length) * u128::from(done.min(rows)) / u128::from(rows)) as u64
}

/// As many rows as fit a batch that does not fill the memory, judged by the file's own sizes.
fn most_rows(builder: &Builder, mask: &ProjectionMask) -> usize {
    let groups = builder.metadata().row_groups();
    let bytes_a_row = groups.iter().map(|group| {
        let wanted = group.columns().iter().enumerate().filter(|(index, _)| mask.leaf_included(*index));
        let bytes: i64 = wanted.map(|(_, column)| column.uncompressed_size()).sum();
        bytes.max(0) / group.num_rows().max(1)
    });
    MOST_BYTES / (bytes_a_row.max().unwrap_or(0).max(1) as usize)
}

fn builder(path: &Path) -> Result<Builder> {
    let mut file = open(path)?;
    check_marks(path, &mut file)?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| malformed(path, Format::Parquet, error))
}

/// Looks at the first and last four bytes, so that the commonest mistakes get a plain answer.
fn check_marks(path: &Path, file: &mut File) -> Result<()> {
    let mut ends = || -> std::io::Result<Option<([u8; 4], [u8; 4])>> {
        let (mut head, mut tail) = ([0; 4], [0; 4]);
        if file.metadata()?.len() < 12 {
            return Ok(None);
        }
        file.read_exact(&mut head)?;
        file.seek(SeekFrom::End(-4))?;
        file.read_exact(&mut tail)?;
        file.rewind()?;
        Ok(Some((head, tail)))
    };
    let what = match ends().map_err(|error| unreadable(path, error))? {
        Some((head, tail)) if &head == b"PAR1" && &tail == b"PAR1" => return Ok(()),
        Some((head, tail)) if &head == b"PARE" || &tail == b"PARE" => "it is encrypted",
        Some((head, _)) if &head == b"PAR1" => "it begins like a Parquet file and does not end like one; it is truncated",
        Some(_) => "it is not a Parquet file: it does not begin with PAR1",
        None => "it is too short to be a Parquet file",
    };
    Err(malformed(path, Format::Parquet, what))
}
