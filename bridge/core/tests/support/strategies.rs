//! Types, batches and changes as proptest makes them: random, and made smaller when something fails.

use arrow_schema::DataType;
use proptest::prelude::*;

use super::change::{Change, Value};
use super::generate::{Nulls, Recipe, Slices, leaves, nestings};

/// Any type, nested up to four levels deep.
pub fn any_type() -> impl Strategy<Value = DataType> {
    let leaf = proptest::sample::select(leaves());
    leaf.prop_recursive(3, 12, 3, |inner| (inner, any::<prop::sample::Index>()).prop_map(|(of, which)| which.get(&nestings(&of)).clone()))
}

/// Any batch of up to `rows` rows and four columns.
pub fn any_recipe(rows: usize) -> impl Strategy<Value = Recipe> {
    let nulls = prop_oneof![1 => Just(Nulls::None), 3 => Just(Nulls::Some), 1 => Just(Nulls::All)];
    let slices = (prop_oneof![Just((0, 0)), (0..20_usize, 0..20_usize)], any::<bool>());
    (0..=rows, prop::collection::vec(any_type(), 0..5), nulls, slices, any::<u64>())
        .prop_map(|(rows, columns, nulls, (parent, children), seed)| Recipe { rows, columns, nulls, slices: Slices { parent, children }, seed })
}

/// Any change to a descriptor or to what it names.
pub fn any_change() -> impl Strategy<Value = Change> {
    let value = prop_oneof![
        3 => prop::sample::select(super::change::INTERESTING.to_vec()).prop_map(Value::Set),
        4 => (-9..9i8).prop_map(Value::Add),
        2 => (0..64u8).prop_map(Value::Flip),
        2 => any::<u16>().prop_map(Value::From),
    ];
    let width = prop::sample::select(vec![1usize, 2, 4, 8]);
    (any::<bool>(), any::<u16>(), any::<u16>(), width, value).prop_map(|(content, at, within, width, value)| Change {
        content,
        at,
        within,
        width,
        value,
    })
}
