//! What the tests of several rooms share: batches of every type, memory to put them in, and a reader of every value.
#![allow(dead_code, reason = "each test program uses its own part")]
#![allow(unreachable_pub, reason = "test programs have no outside")]

pub mod change;
pub mod generate;
pub mod memory;
pub mod oracle;
pub mod show;
pub mod strategies;
pub mod trial;

use proptest::test_runner::{Config, RngSeed};

/// How many cases a property is tried with, and from which seed: `PROPTEST_CASES` and `PROPTEST_RNG_SEED` set both from outside. Without them a run
/// is like the last; to go where none has been is what the fuzz targets are for.
pub fn cases(count: u32) -> Config {
    let outside = Config::default();
    let seed = match outside.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => 20_261_122,
    };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { outside.cases } else { count };
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, max_shrink_iters: 20_000, ..outside }
}
