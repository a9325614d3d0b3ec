//! What becomes of rows for which a function fails.

use super::{Kind, Signature};

/// What becomes of rows for which a function fails.
///
/// The terms are those of Spark and of message queues: a dead letter is what could not be processed, kept apart with the reason.
///
/// ```
/// use transom::OnError;
/// assert_eq!(OnError::from_name("dead_letter"), Some(OnError::DeadLetter));
/// assert_eq!(OnError::default().name(), "raise");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// The batch fails.
    #[default]
    Raise,
    /// The result of a row for which the function raises is null. A function that kills its worker fails the batch all the same.
    Null,
    /// The row is taken out of the result and kept apart, with the reason; also where the function kills its worker.
    DeadLetter,
}

impl OnError {
    /// Every policy, in order.
    pub const ALL: &'static [OnError] = &[OnError::Raise, OnError::Null, OnError::DeadLetter];

    /// The name by which bindings know it, such as `dead_letter`.
    pub fn name(self) -> &'static str {
        match self {
            OnError::Raise => "raise",
            OnError::Null => "null",
            OnError::DeadLetter => "dead_letter",
        }
    }

    /// The policy of this name, if there is one.
    pub fn from_name(name: &str) -> Option<OnError> {
        OnError::ALL.iter().copied().find(|policy| policy.name() == name)
    }
}

impl Signature {
    /// Why the function cannot be run under a policy, in the words that follow its name; `None` where it can.
    pub(crate) fn objection(&self, on_error: OnError, retries: u32) -> Option<&'static str> {
        if retries > 0 && !self.deterministic {
            return Some("is not deterministic, so it cannot have retries");
        }
        match (on_error, self.kind) {
            (OnError::Raise, _) => None,
            (_, Kind::Batches) => Some("is a batches function: no row of its input is to blame for what it raises, so on_error can only be raise"),
            (_, Kind::Scalar) if !self.deterministic => {
                Some("is not deterministic: which rows of a batch fail is found by running parts of it again, so on_error can only be raise")
            }
            (OnError::Null, _) if self.returns.as_ref().is_some_and(|schema| schema.fields().iter().any(|field| !field.is_nullable())) => {
                Some("declares a result without nulls, so failing rows cannot be null")
            }
            _ => None,
        }
    }
}
