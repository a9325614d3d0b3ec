//! Many inputs for each that libFuzzer makes. What libFuzzer does for an input costs more than most trials, so a long run tries others around it too:
//! each is an input like any other, and they are always the same for the same bytes.

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::generate::Random;
use crate::trial::{self, Case, Sent, changes_of};

/// How many inputs are tried around each, and where each is written before it is tried.
static OTHERS: LazyLock<usize> =
    LazyLock::new(|| std::env::var("TRANSOM_AROUND").map_or(0, |number| number.parse().expect("TRANSOM_AROUND is a number")));
static WRITTEN: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("TRANSOM_AROUND_WRITTEN").map(PathBuf::from));

/// Tries these bytes, then others that differ from them in one to three places.
pub fn bytes(bytes: &[u8], trial: fn(&[u8])) {
    trial(bytes);
    let mut random = seeded(bytes);
    for _ in 0..*OTHERS {
        let mut other = bytes.to_vec();
        (0..1 + random.below(3)).for_each(|_| differ(&mut other, &mut random));
        write(&[&other]);
        trial(&other);
    }
}

/// Tries the batch that these bytes stand for, then the same batch with other changes.
pub fn batch(bytes: &[u8]) {
    let (case, changes) = Case::without_changes(bytes);
    let sent = Sent::of(&case);
    sent.changed(&changes_of(changes));
    let mut random = seeded(bytes);
    for _ in 0..*OTHERS {
        let mut other = random.bytes(LONGEST);
        // Mostly one, since the more there are the fewer batches are taken.
        other[0] = [1, 1, 1, 1, 1, 1, 2, 3 + random.below(2) as u8][random.below(8)];
        write(&[&bytes[..bytes.len() - changes.len()], &other]);
        sent.changed(&changes_of(&other));
    }
}

/// What four changes take at most: 9 bytes each, and their number.
const LONGEST: usize = 37;

fn differ(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..(at + 1 + random.below(8)).min(bytes.len()))),
        2 => {
            let len = 1 + random.below(8);
            bytes.splice(at..at, random.bytes(len));
        }
        // A field that is as far from the beginning as the fields of anything that begins in the first bytes.
        _ => {
            let start = random.below(8).min(bytes.len());
            trial::change_of(&random.bytes(LONGEST)).apply(&mut bytes[start..]);
        }
    }
}

fn seeded(bytes: &[u8]) -> Random {
    // FNV-1a, by Fowler, Noll and Vo.
    Random(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
}

fn write(parts: &[&[u8]]) {
    if let Some(path) = &*WRITTEN {
        std::fs::write(path, parts.concat()).expect("the input can be written");
    }
}
