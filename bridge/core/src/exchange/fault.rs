//! What was found wrong in one array, and the way to it. Becomes an [`Error`] with the column's path at the top.

use std::fmt::Write;

use crate::failure::{Code, Error};

/// A fault while the way to it is still being put together: parents add their children's names as it passes.
#[derive(Debug)]
pub(super) struct Fault {
    // Boxed: faults are rare and results that carry them are everywhere.
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    code: Code,
    what: String,
    /// From the innermost field outwards.
    path: Vec<String>,
    hint: Option<String>,
}

impl Fault {
    /// The content of an array breaks the rules of its type.
    pub(super) fn data(what: impl Into<String>) -> Self {
        Self::new(Code::InvalidData, what)
    }

    /// The descriptor does not hold together.
    pub(super) fn descriptor(what: impl Into<String>) -> Self {
        Self::new(Code::BadDescriptor, what)
    }

    /// The schema cannot be used.
    pub(super) fn schema(what: impl Into<String>) -> Self {
        Self::new(Code::BadSchema, what)
    }

    fn new(code: Code, what: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { code, what: what.into(), path: Vec::new(), hint: None }) }
    }

    /// The fault was in this field of the array that passes it on.
    pub(super) fn inside(mut self, field: &str) -> Self {
        self.inner.path.push(field.to_owned());
        self
    }

    /// The finished error, for the column with this number.
    pub(super) fn in_column(self, column: usize) -> Error {
        let mut place = format!("column {column} `");
        for (index, name) in self.inner.path.iter().rev().enumerate() {
            _ = write!(place, "{}{}", if index > 0 { "." } else { "" }, capped(name));
        }
        place.push_str("`: ");
        self.finish(&place)
    }

    /// The finished error, where no column is concerned.
    pub(super) fn whole(self) -> Error {
        self.finish("")
    }

    fn finish(self, place: &str) -> Error {
        let Inner { code, what, hint, .. } = *self.inner;
        let error = Error::new(code, format!("{place}{what}"));
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl From<Error> for Fault {
    fn from(cause: Error) -> Self {
        let (what, hint) = (cause.message().to_owned(), cause.hint().map(str::to_owned));
        Self { inner: Box::new(Inner { code: cause.code(), what, path: Vec::new(), hint }) }
    }
}

/// A name from another process, short enough to print and without control characters.
pub(super) fn capped(name: &str) -> String {
    const MOST: usize = 64;
    let mut short: String = name.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_goes_from_the_column_inwards() {
        let error = Fault::data("offsets[881] is -4, below 0").inside("item").inside("tags").in_column(2);
        assert_eq!(error.code(), Code::InvalidData);
        assert_eq!(error.message(), "column 2 `tags.item`: offsets[881] is -4, below 0");
    }

    #[test]
    fn an_error_from_below_gets_a_place_and_keeps_its_hint() {
        let error = Fault::from(Error::new(Code::BadDescriptor, "no such segment").with_hint("look")).inside("n").in_column(0);
        assert_eq!((error.code(), error.message(), error.hint()), (Code::BadDescriptor, "column 0 `n`: no such segment", Some("look")));
    }

    #[test]
    fn names_are_cut() {
        assert_eq!(capped("a\nb"), "a\u{fffd}b");
        assert_eq!(capped(&"x".repeat(100)).chars().count(), 65);
    }
}
