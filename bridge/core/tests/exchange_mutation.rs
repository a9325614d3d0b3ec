//! A peer may send anything. Whatever is changed in a descriptor or in the memory that it names, an import either refuses it or gives a batch
//! whose every value can be read and that passes Arrow's own full validation.
//!
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` set how many cases there are and which. A failure prints its smallest case.

mod support;

use std::sync::LazyLock;

use proptest::prelude::*;
use support::generate::{Recipe, any_recipe};
use support::memory::{Exact, Host, Image};
use support::show;
use transom::exchange::{Descriptor, Direction, Ledger, Mode, export, import};
use transom::memory::Extent;
use transom::{Code, Error};

static HOST: LazyLock<Host> = LazyLock::new(Host::new);

/// One change, in a form that shrinks.
#[derive(Clone, Debug)]
struct Change {
    /// In the descriptor, or in what it names.
    content: bool,
    at: prop::sample::Index,
    within: prop::sample::Index,
    width: usize,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Set(u64),
    Add(i8),
    Flip(u8),
    /// The value of another place.
    From(prop::sample::Index),
}

fn any_change() -> impl Strategy<Value = Change> {
    let interesting = prop::sample::select(vec![0, 1, 7, 8, 255, 0x7fff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 47, i64::MAX as u64, u64::MAX]);
    let value = prop_oneof![
        3 => interesting.prop_map(Value::Set),
        4 => (-9..9i8).prop_map(Value::Add),
        2 => (0..64u8).prop_map(Value::Flip),
        2 => any::<prop::sample::Index>().prop_map(Value::From),
    ];
    let width = prop::sample::select(vec![1usize, 2, 4, 8, 16]);
    (any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), width, value).prop_map(|(content, at, within, width, value)| Change {
        content,
        at,
        within,
        width,
        value,
    })
}

fn apply(bytes: &mut [u8], change: &Change) {
    let width = change.width.min(8);
    if bytes.len() < width {
        return;
    }
    // Mostly whole fields: they are aligned.
    let place = |index: &prop::sample::Index| index.index(bytes.len() / width) * width;
    let at = place(&change.within);
    let read = |at: usize| bytes[at..at + width].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let value = match &change.value {
        Value::Set(value) => *value,
        Value::Add(by) => read(at).wrapping_add_signed(i64::from(*by)),
        Value::Flip(bit) => read(at) ^ 1 << (usize::from(*bit) % (8 * width)),
        Value::From(index) => read(place(index)),
    };
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

/// Whether an import took what it was given.
fn refused_or_sound(recipe: &Recipe, changes: &[Change]) -> Result<bool, TestCaseError> {
    let batch = recipe.batch();
    let host = &*HOST;
    let sent = export(&batch, host, &Ledger::default(), Direction::Result).unwrap();
    let mut wire = Vec::new();
    sent.descriptor.encode(&mut wire);
    let mut image = Image::of_extents(host, &sent.extents);
    let extents: Vec<Extent> = sent.descriptor.extents().filter(|extent| extent.len > 0).collect();
    for change in changes {
        match change.content && !extents.is_empty() {
            true => apply(image.bytes_mut(*change.at.get(&extents)), change),
            false => apply(&mut wire, change),
        }
    }
    let descriptor = match Descriptor::decode(&wire) {
        Ok(descriptor) => descriptor,
        Err(error) => return well_said(&error).map(|()| false),
    };
    let mut taken = false;
    for (mode, peer_writes) in [(Mode::Guarded, true), (Mode::Guarded, false), (Mode::Strict, true)] {
        let peer = Exact { image: image.clone(), shift: 0, peer_writes };
        match import(&descriptor, &batch.schema(), &peer, mode, &Ledger::default(), Direction::Result) {
            Err(error) => well_said(&error)?,
            Ok(received) => {
                taken = true;
                // A panic here is a failure, and the case is made smaller.
                show::batch(&received);
                received.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
                export(&received, host, &Ledger::default(), Direction::Input).unwrap();
            }
        }
    }
    Ok(taken)
}

fn well_said(error: &Error) -> Result<(), TestCaseError> {
    let known = matches!(error.code(), Code::BadDescriptor | Code::InvalidData | Code::BatchTooLarge);
    prop_assert!(known, "another code than expected: {error}");
    prop_assert!(error.message().len() < 2000, "too long: {error}");
    Ok(())
}

proptest! {
    #![proptest_config(support::cases(3000))]

    #[test]
    fn a_changed_batch_is_refused_or_sound(recipe in any_recipe(40), changes in prop::collection::vec(any_change(), 1..4)) {
        refused_or_sound(&recipe, &changes)?;
    }

    #[test]
    fn an_unchanged_batch_is_taken(recipe in any_recipe(40)) {
        prop_assert!(refused_or_sound(&recipe, &[])?);
    }
}
