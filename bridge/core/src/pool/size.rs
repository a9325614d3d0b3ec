//! Sizes as people write them.

use crate::failure::{Code, Error, Result};

/// The bytes in a text such as `512MiB`, `1.5 GB` or `65536`: units of 1000 (`kB`, `MB`, `GB`, `TB`) and of 1024 (`KiB`, `MiB`, `GiB`, `TiB`), in any
/// case.
///
/// ```
/// assert_eq!(transom::pool::bytes_in("512MiB")?, 512 << 20);
/// assert_eq!(transom::pool::bytes_in("1.5 gb")?, 1_500_000_000);
/// # Ok::<(), transom::Error>(())
/// ```
///
/// # Errors
/// `BAD_OPTION` where it is none.
pub fn bytes_in(text: &str) -> Result<u64> {
    let bad = || Error::new(Code::BadOption, format!("{text:?} is no size")).with_hint("write a number of bytes, or one with a unit, such as 512MiB");
    let trimmed = text.trim();
    let (number, unit) = trimmed.split_at(trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len()));
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000_u64.pow(2),
        "gb" => 1000_u64.pow(3),
        "tb" => 1000_u64.pow(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(bad()),
    };
    let number = number.trim_end();
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(bad);
    }
    let part: f64 = number.parse().map_err(|_| bad())?;
    let bytes = part * unit as f64;
    if bytes >= 1.0 && bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_size_is_refused() {
        for bad in ["", "MiB", "-1", "1 MiBs", "1e400", "nan", "18446744073709551615 KiB", "0.1", "1_000", "-1.5GB"] {
            assert_eq!(bytes_in(bad).unwrap_err().code(), Code::BadOption, "{bad}");
        }
        assert_eq!((bytes_in("64 kib").unwrap(), bytes_in(" 7 ").unwrap(), bytes_in("2TB").unwrap()), (65_536, 7, 2_000_000_000_000));
    }
}
