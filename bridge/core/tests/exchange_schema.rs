//! Schemas of every type come back the same; those that nothing can be made of are refused.

mod support;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use proptest::prelude::*;
use support::generate::{KEYS, leaves, nestings};
use support::strategies::any_type;
use transom::Code;
use transom::exchange::{decode_schema, encode_schema};

fn comes_back(schema: &Schema) {
    let bytes = encode_schema(schema).unwrap();
    assert_eq!(decode_schema(&bytes).unwrap().as_ref(), schema);
}

fn of(data_type: DataType) -> Schema {
    Schema::new(vec![Field::new("a", data_type, true)])
}

#[test]
fn every_type_comes_back() {
    for leaf in leaves() {
        comes_back(&of(leaf.clone()));
        nestings(&leaf).into_iter().for_each(|nested| comes_back(&of(nested)));
    }
    for inner in nestings(&DataType::Int8) {
        nestings(&inner).into_iter().for_each(|nested| comes_back(&of(nested)));
    }
}

#[test]
fn dictionaries_of_dictionaries_come_back() {
    let mut data_type = DataType::Utf8;
    for key in KEYS {
        data_type = DataType::Dictionary(Box::new(key), Box::new(data_type));
        comes_back(&of(data_type.clone()));
        nestings(&data_type).into_iter().for_each(|nested| comes_back(&of(nested)));
    }
}

#[test]
fn a_mark_of_ours_on_something_else_stays() {
    let marked = |data_type| {
        let mark = HashMap::from([("TRANSOM:dictionary_values".to_owned(), String::new())]);
        DataType::Struct(vec![Field::new("", data_type, true).with_metadata(mark)].into())
    };
    for values in [marked(DataType::Int32), marked(marked(DataType::Utf8))] {
        comes_back(&of(DataType::Dictionary(Box::new(DataType::Int8), Box::new(values))));
    }
}

#[test]
fn an_empty_timezone_is_none() {
    // As another encoder may write it: arrow's own leaves it away. The length before the text, and the first of three letters, become zero.
    let mut bytes = encode_schema(&of(DataType::Timestamp(TimeUnit::Second, Some("UTC".into())))).unwrap();
    let at = bytes.windows(8).position(|window| window == b"\x03\0\0\0UTC\0").unwrap();
    bytes[at] = 0;
    bytes[at + 4] = 0;
    let read = decode_schema(&bytes).unwrap();
    assert_eq!(*read, of(DataType::Timestamp(TimeUnit::Second, None)));
    comes_back(&read);
}

#[test]
fn metadata_flags_and_extension_types_come_back() {
    let text = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<HashMap<_, _>>();
    let uuid = Field::new("", DataType::FixedSizeBinary(16), false).with_metadata(text(&[
        ("ARROW:extension:name", "arrow.uuid"),
        ("ARROW:extension:metadata", ""),
        ("nul", "a\0b"),
        ("", "🚪"),
    ]));
    let ordered = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let ordered = Field::new("ordered", ordered, true).with_dict_is_ordered(true);
    let inner = Fields::from(vec![
        uuid.clone(),
        ordered.clone(),
        Field::new("same name", DataType::Null, true),
        Field::new("same name", DataType::Null, true),
    ]);
    let fields = vec![uuid, ordered, Field::new("nested", DataType::Struct(inner), true)];
    comes_back(&Schema::new_with_metadata(fields, text(&[("pandas", "{}"), ("long", &"x".repeat(100_000))])));
    comes_back(&Schema::empty());
    comes_back(&Schema::new((0..10_000).map(|i| Field::new(i.to_string(), DataType::Int64, true)).collect::<Vec<_>>()));
}

#[test]
fn deep_types_come_back_up_to_the_limit() {
    let deep = |levels: usize, wrap: fn(usize, DataType) -> DataType| (1..levels).fold(DataType::Int64, |of, level| wrap(level, of));
    let wraps: [fn(usize, DataType) -> DataType; 3] = [
        |_, of| DataType::Struct(vec![Field::new("s", of, true)].into()),
        |_, of| DataType::Dictionary(Box::new(DataType::Int8), Box::new(of)),
        |level, of| match level % 2 {
            0 => DataType::List(Arc::new(Field::new("l", of, true))),
            _ => DataType::Dictionary(Box::new(DataType::Int8), Box::new(of)),
        },
    ];
    for wrap in wraps {
        comes_back(&of(deep(64, wrap)));
        assert_eq!(encode_schema(&of(deep(65, wrap))).unwrap_err().code(), Code::BadSchema);
    }
}

proptest! {
    #![proptest_config(support::cases(500))]

    #[test]
    fn any_schema_comes_back(types in prop::collection::vec(any_type(), 0..5)) {
        comes_back(&Schema::new(types.into_iter().enumerate().map(|(i, t)| Field::new(i.to_string(), t, i % 2 == 0)).collect::<Vec<_>>()));
    }

    #[test]
    fn changed_bytes_are_refused_or_read(data_type in any_type(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = encode_schema(&of(data_type)).unwrap();
        for (at, value) in changes {
            let len = bytes.len();
            bytes[at.index(len)] = value;
        }
        match decode_schema(&bytes) {
            Ok(schema) => comes_back(&schema),
            Err(error) => prop_assert_eq!(error.code(), Code::BadSchema),
        }
    }
}
