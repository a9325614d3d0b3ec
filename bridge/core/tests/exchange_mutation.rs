//! A peer may send anything. Whatever is changed in a descriptor or in the memory that it names, an import either refuses it or gives a batch
//! whose every value can be read and that passes Arrow's own full validation.
//!
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` set how many cases there are and which. A failure prints its smallest case. `fuzz/` runs the same
//! trials with inputs that grow by what they reach.

mod support;

use proptest::prelude::*;
use support::generate::Recipe;
use support::strategies::{any_change, any_recipe};
use support::trial::{Case, case};

fn tried(recipe: Recipe, changes: Vec<support::change::Change>) -> bool {
    case(&Case { recipe, changes, disguise: None })
}

proptest! {
    #![proptest_config(support::cases(3000))]

    #[test]
    fn a_changed_batch_is_refused_or_sound(recipe in any_recipe(40), changes in prop::collection::vec(any_change(), 1..4)) {
        tried(recipe, changes);
    }

    #[test]
    fn an_unchanged_batch_is_taken(recipe in any_recipe(40)) {
        prop_assert!(tried(recipe, vec![]));
    }
}
