//! Files of every format, written by this program's own encoders and read again; and what is not what it says.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, ListArray, StringArray, types::Int64Type};
use arrow_schema::{DataType, Schema};
use arrow_select::concat::concat_batches;

use super::*;
use crate::output::{self, Target};

fn sample(rows: i64) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(Int64Array::from_iter((0..rows).map(|n| (n % 7 != 3).then_some(n)))) as ArrayRef, true),
        ("text", Arc::new(StringArray::from_iter((0..rows).map(|n| Some(format!("row {n}, \"said\" né"))))), true),
        ("x", Arc::new(Float64Array::from_iter((0..rows).map(|n| Some(n as f64 / 4.0 + 0.1)))), true),
    ])
    .unwrap()
}

fn write(path: &Path, batches: &[RecordBatch]) {
    let target = Target::choose(path.to_str(), None).unwrap();
    let mut output = output::prepare(target, std::iter::empty()).unwrap().begin(&batches[0].schema()).unwrap();
    for batch in batches {
        output.write(batch).unwrap();
    }
    output.finish().unwrap();
}

fn open(words: &[&str], format: Option<Format>) -> Result<Inputs> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Inputs::open(&words, format, 100)
}

fn read(words: &[&str]) -> Result<RecordBatch> {
    let inputs = open(words, None)?;
    let schema = inputs.schema.clone();
    let batches = inputs.read(schema.clone(), 16, None).collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

#[test]
fn every_format_gives_back_what_was_written() {
    let root = tempfile::tempdir().unwrap();
    let batch = sample(100);
    for name in ["a.parquet", "a.arrow", "a.arrows", "a.feather", "a.csv", "a.tsv", "a.jsonl", "a.ndjson"] {
        let path = root.path().join(name);
        write(&path, &[batch.slice(0, 60), batch.slice(60, 40)]);
        assert_eq!(read(&[path.to_str().unwrap()]).unwrap(), batch, "{name}");
    }
}

#[test]
fn how_many_batches_there_are_at_most_is_known_of_parquet_and_of_text() {
    let root = tempfile::tempdir().unwrap();
    let most = |name: &str, batch_rows, limit| {
        let path = root.path().join(name);
        write(&path, &[sample(100)]);
        let inputs = open(&[path.to_str().unwrap()], None).unwrap();
        let most = inputs.most_batches(batch_rows, limit);
        let schema = inputs.schema.clone();
        let found = inputs.read(schema, batch_rows, limit).count() as u64;
        assert!(most.is_none_or(|most| found <= most), "{name}: {found} batches");
        most
    };
    assert_eq!(most("a.parquet", 1000, None), Some(1));
    assert_eq!(most("a.parquet", 16, None), Some(7));
    assert_eq!(most("a.parquet", 16, Some(20)), Some(2));
    assert_eq!(most("a.csv", 1 << 16, None), Some(1));
    assert_eq!(most("a.jsonl", 16, Some(16)), Some(1));
    assert_eq!(most("a.arrow", 16, None), None);
    most("a.tsv", 3, None);
}

#[test]
fn only_the_wanted_columns_are_read_in_the_order_wanted_and_up_to_the_limit() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a.parquet", "a.arrow", "a.arrows", "a.csv", "a.jsonl"] {
        let path = root.path().join(name);
        write(&path, &[sample(100)]);
        let inputs = open(&[path.to_str().unwrap()], None).unwrap();
        let wanted = Arc::new(inputs.schema.project(&[2, 0]).unwrap());
        let batches: Vec<RecordBatch> = inputs.read(wanted.clone(), 16, Some(40)).map(Result::unwrap).collect();
        assert!(batches.iter().all(|batch| batch.schema() == wanted && batch.num_rows() <= 16), "{name}");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 40, "{name}");
        let none = open(&[path.to_str().unwrap()], None).unwrap().read(Arc::new(Schema::empty()), 16, None);
        assert_eq!(none.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 100, "{name} without columns");
    }
}

#[test]
fn several_files_are_one_input() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name).display().to_string();
    write(Path::new(&at("1.parquet")), &[sample(10)]);
    write(Path::new(&at("2.arrow")), &[sample(10)]);
    assert_eq!(read(&[&at("")]).unwrap().num_rows(), 20);
    fs::write(at("1.csv"), "a,b\n1,x\n").unwrap();
    fs::write(at("2.csv"), "b,a\ny,2.5\n").unwrap();
    let batch = read(&[&at("*.csv")]).unwrap();
    assert_eq!(batch.column(0).as_ref(), &Float64Array::from(vec![1.0, 2.5]));
    assert_eq!(batch.column(1).as_ref(), &StringArray::from(vec!["x", "y"]));
    fs::write(at("1.jsonl"), "{\"z\":1,\"a\":[1]}\n").unwrap();
    fs::write(at("2.jsonl"), "{\"b\":true,\"z\":2}\n").unwrap();
    let batch = read(&[&at("*.jsonl")]).unwrap();
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["z", "a", "b"]);
    assert_eq!(batch.column(1).as_ref(), &ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)]), None]));
    let error = read(&[&at("1.parquet"), &at("1.csv")]).unwrap_err();
    assert_eq!(error.code(), Code::SchemaMismatch);
}

#[test]
fn empty_files_have_their_columns_where_the_format_knows_them() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a.parquet", "a.arrow", "a.arrows", "a.csv"] {
        let path = root.path().join(name);
        write(&path, &[sample(0)]);
        let batch = read(&[path.to_str().unwrap()]).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (0, 3), "{name}");
    }
    fs::write(root.path().join("a.txt"), "").unwrap();
    assert_eq!(read(&[root.path().join("a.txt").to_str().unwrap()]).unwrap().schema().field(0).name(), "line");
}

#[test]
fn what_is_not_what_it_says_is_named() {
    let root = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 14] = [
        ("a.parquet", b"this is text, not a table", "not a Parquet file"),
        ("b.parquet", b"PAR1 and so on and on", "truncated"),
        ("c.parquet", b"", "too short"),
        ("d.parquet", b"PARE and so on and PARE", "encrypted"),
        ("a.arrow", b"", "empty"),
        ("b.arrow", b"a,b\n1,2\n", "neither like an Arrow file nor"),
        ("c.feather", b"FEA1....", "version 1 of the Feather format"),
        ("d.arrow", b"PAR1....", "it is a Parquet file"),
        ("e.arrows", b"\xFF\xFF\xFF\xFF\x10\x00\x00\x00abc", "truncated"),
        ("a.csv", b"", "no header line"),
        ("b.csv", b"a,a\n1,2\n", "two columns are named `a`"),
        ("c.csv", b"a,b\n1,2\n3\n", "line 3"),
        ("a.json", b"[{\"a\": 1}]", "it holds an array"),
        ("b.jsonl", b"", "empty"),
    ];
    for (name, content, part) in cases {
        let path = root.path().join(name);
        fs::write(&path, content).unwrap();
        let error = read(&[path.to_str().unwrap()]).unwrap_err();
        assert_eq!(error.code(), Code::InputFormat, "{name}: {error}");
        assert!(error.message().contains(part) && error.message().contains(name), "{name}: {error}");
    }
}

#[test]
fn a_row_that_does_not_fit_the_guess_is_named_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("late.csv");
    let numbers: String = (0..200).map(|number| format!("{number}\n")).collect();
    fs::write(&path, format!("x\n{numbers}oops\n")).unwrap();
    let word = path.to_str().unwrap();
    let error = read(&[word]).unwrap_err();
    assert!(error.message().contains("line 201") && error.hint().unwrap().contains("--infer-rows 0"), "{error}");
    let all = Inputs::open(&[word.to_owned()], None, 0).unwrap();
    assert_eq!(all.schema.field(0).data_type(), &DataType::Utf8);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("bom.csv");
    fs::write(&path, "\u{FEFF}a,b\n1,2\n").unwrap();
    assert_eq!(read(&[path.to_str().unwrap()]).unwrap().schema().field(0).name(), "a");
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a.parquet", "a.arrow"] {
        let path = root.path().join(name);
        write(&path, &[sample(50)]);
        let whole = fs::read(&path).unwrap();
        let mut seed = 20_u64;
        let mut refused = 0;
        for _ in 0..300 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut damaged = whole.clone();
            // Not the highest bits of a length: the readers would ask for that much memory, which ends any process.
            damaged[(seed >> 33) as usize % whole.len()] ^= 1 << (seed >> 60 & 3);
            fs::write(&path, damaged).unwrap();
            match read(&[path.to_str().unwrap()]) {
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error.code(), Code::InputFormat), "{name}: {error}");
                }
                Ok(batch) => assert!(batch.num_rows() <= 50),
            }
        }
        assert!(refused > 20, "{name}: {refused} refused");
    }
}
