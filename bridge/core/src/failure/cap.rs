//! How much text an error may have.

/// The most bytes of each text in an error: its message, its hint, the name of its function, a line of output. Exceptions, names of columns and
/// values end up in messages, and they are the user's data: a log is no place for megabytes of it.
pub const TEXT_LIMIT: usize = 8 << 10;
/// The most bytes of a traceback or of a stack.
pub const TRACEBACK_LIMIT: usize = 4 * TEXT_LIMIT;

/// Room for the words that say how much is missing.
const REMARK: usize = 64;

/// At most `limit` bytes of a text, and how much is missing.
pub(super) fn cap(mut text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let kept = (0..=limit - REMARK).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let missing = text[kept..].chars().count();
    text.truncate(kept);
    // What stays of a text of megabytes should not hold megabytes.
    text.shrink_to(limit);
    text + &format!("… ({missing} characters more)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        assert_eq!(cap("short".to_owned(), 100), "short");
        for shift in 0..3 {
            let text = "x".repeat(shift) + &"€".repeat(1000);
            let cut = cap(text.clone(), 100);
            assert!(cut.len() <= 100 && text.starts_with(cut.split('…').next().unwrap()), "{cut}");
            let kept = cut.chars().filter(|&c| c == 'x' || c == '€').count();
            assert!(cut.ends_with(&format!("… ({} characters more)", shift + 1000 - kept)), "{cut}");
        }
    }
}
