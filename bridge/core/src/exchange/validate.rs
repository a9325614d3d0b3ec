//! What the content of buffers must obey before a safe Arrow array may exist over them. Each check reads its buffers once, in a loop that
//! the compiler can widen, and looks for the place only when something is wrong.

use std::fmt::Display;
use std::ops::{BitOr, Range};

use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer};
use arrow_schema::DataType;

use super::copy::{INLINE, target};
use super::fault::Fault;

type Checked<T = ()> = Result<T, Fault>;

/// The two widths of offsets.
pub(super) trait Offset: ArrowNativeType + Display + Ord + BitOr<Output = Self> {
    /// Below 0 where `next` is, or is below this offset, which is not below 0. A subtraction is what every processor has for several at once.
    fn falls_to(self, next: Self) -> Self;
}

impl Offset for i32 {
    fn falls_to(self, next: Self) -> Self {
        next.wrapping_sub(self) | next
    }
}

impl Offset for i64 {
    fn falls_to(self, next: Self) -> Self {
        next.wrapping_sub(self) | next
    }
}

/// The range that offsets cover, which must lie in `limit` values or bytes.
pub(super) fn ends<O: Offset>(offsets: &[O], limit: usize) -> Checked<Range<usize>> {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let Some(start) = first.to_usize() else { return Err(Fault::data(format!("offsets[0] is {first}, below 0"))) };
    match last.to_usize() {
        Some(end) if start <= end && end <= limit => Ok(start..end),
        Some(end) if end > limit => Err(Fault::data(format!("offsets[{}] is {last}, above the end of the values, {limit}", offsets.len() - 1))),
        _ => Err(Fault::data(format!("offsets[{}] is {last}, below offsets[0], {first}", offsets.len() - 1))),
    }
}

/// Offsets, whose first was checked by [`ends`], never fall. Together this bounds all of them.
pub(super) fn offsets<O: Offset>(offsets: &[O]) -> Checked {
    let signs = offsets.iter().zip(&offsets[1..]).fold(O::default(), |signs, (a, b)| signs | a.falls_to(*b));
    if signs >= O::default() {
        return Ok(());
    }
    let index = offsets.windows(2).position(|pair| pair[0] > pair[1]).unwrap_or_default();
    Err(Fault::data(format!("offsets[{}] is {}, below offsets[{index}], {}", index + 1, offsets[index + 1], offsets[index])))
}

/// The bytes in `range` are text, cut at offsets that were checked. Some rows are looked at together, few enough that all looks but the first are at
/// bytes in a cache, so the text comes from memory once.
pub(super) fn utf8<O: Offset>(offsets: &[O], range: Range<usize>, bytes: &[u8]) -> Checked {
    let mut rows = offsets;
    while let [first, rest @ ..] = rows
        && !rest.is_empty()
    {
        let start = first.as_usize();
        let count = rest.partition_point(|end| end.as_usize() - start <= STRETCH).max(1);
        if !is_text(&rows[..=count], &bytes[start..rest[count - 1].as_usize()]) {
            return Err(not_text(offsets, range, bytes));
        }
        rows = &rows[count..];
    }
    Ok(())
}

/// Bytes of text that are looked at together.
const STRETCH: usize = 16 << 10;

/// Whether some rows, which make up `text`, are text each.
fn is_text<O: Offset>(offsets: &[O], text: &[u8]) -> bool {
    // ASCII can be cut anywhere.
    if text.is_ascii() {
        return true;
    }
    let base = offsets[0].as_usize();
    // An offset at the end is the end of valid text, and the byte behind it is nobody's.
    let inside = |offset: &O| text.get(offset.as_usize() - base).is_some_and(|&byte| is_continuation(byte));
    simdutf8::basic::from_utf8(text).is_ok() && !offsets.iter().fold(false, |any, offset| any | inside(offset))
}

/// What is wrong with text in which something is.
#[cold]
fn not_text<O: Offset>(offsets: &[O], range: Range<usize>, bytes: &[u8]) -> Fault {
    if let Err(error) = std::str::from_utf8(&bytes[range.clone()]) {
        let at = range.start + error.valid_up_to();
        let row = offsets.partition_point(|offset| offset.as_usize() <= at).saturating_sub(1);
        return Fault::data(format!("row {row} is not UTF-8 at byte {at}, {:#04x}", bytes[at]));
    }
    let inside = |offset: &O| offset.as_usize() < range.end && is_continuation(bytes[offset.as_usize()]);
    let index = offsets.iter().position(inside).unwrap_or_default();
    Fault::data(format!("offsets[{index}] is {}, in the middle of a character", offsets[index]))
}

/// Views hold their text or point into their data buffers, and their prefixes are those of what they point to.
pub(super) fn views(views: &[u128], texts: &[Buffer], utf8: bool) -> Checked {
    let (mut behind, mut held, mut all_held) = (0, 0, true);
    for &view in views {
        match PADDING.get(view as u32 as usize) {
            Some(padding) => (behind, held) = (behind | view & padding, held | view),
            None => all_held = false,
        }
    }
    let held_ascii = held & INLINE_HIGH_BITS == 0;
    if all_held && behind == 0 && (held_ascii || !utf8) {
        return Ok(());
    }
    let text = if utf8 { Text::of(views.len(), texts, held_ascii) } else { Text::Any };
    views.iter().enumerate().try_for_each(|(index, &view)| check_view(view, texts, &text).map_err(|what| what.at(index, view)))
}

/// What is known of the text of all data buffers before the single views are looked at.
enum Text {
    /// It may be any bytes, or is nothing but ASCII, so that it can be cut anywhere.
    Any,
    /// Each buffer is UTF-8 from end to end, so that only the cuts need a look.
    Whole,
    /// Each view has to be looked at.
    Unknown,
}

impl Text {
    fn of(views: usize, texts: &[Buffer], held_ascii: bool) -> Self {
        // Checking a buffer as a whole is many times as fast, and a waste where few views use a large buffer.
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        if bytes / 256 > views {
            Text::Unknown
        } else if held_ascii && texts.iter().all(|text| text.is_ascii()) {
            Text::Any
        } else if texts.iter().all(|text| simdutf8::basic::from_utf8(text).is_ok()) {
            Text::Whole
        } else {
            Text::Unknown
        }
    }
}

/// The highest bit of each byte that a view can hold itself.
const INLINE_HIGH_BITS: u128 = 0x8080_8080_8080_8080_8080_8080_0000_0000;

/// For each length of text that a view holds itself, the bits behind it.
const PADDING: [u128; INLINE as usize + 1] = {
    let mut padding = [0; INLINE as usize + 1];
    let mut len = 0;
    while len < INLINE {
        padding[len as usize] = u128::MAX << (32 + 8 * len);
        len += 1;
    }
    padding
};

enum BadView {
    Padding,
    Nowhere,
    Prefix,
    NotUtf8,
}

impl BadView {
    #[cold]
    fn at(self, index: usize, view: u128) -> Fault {
        let (buffer, offset, len) = target(view);
        Fault::data(match self {
            BadView::Padding => format!("views[{index}] of {len} bytes is not padded with zeros"),
            BadView::Nowhere => format!("views[{index}] points to {len} bytes from {offset} on in data buffer {buffer}, which are not there"),
            BadView::Prefix => format!("views[{index}] has another prefix than the bytes that it points to"),
            BadView::NotUtf8 => format!("views[{index}] is not UTF-8"),
        })
    }
}

#[inline]
fn check_view(view: u128, texts: &[Buffer], text: &Text) -> Result<(), BadView> {
    let (buffer, offset, len) = target(view);
    if let Some(padding) = PADDING.get(len as usize) {
        if view & padding != 0 {
            return Err(BadView::Padding);
        }
        let any = matches!(text, Text::Any) || view & INLINE_HIGH_BITS == 0;
        return if any || std::str::from_utf8(&view.to_le_bytes()[4..4 + len as usize]).is_ok() { Ok(()) } else { Err(BadView::NotUtf8) };
    }
    let (start, end) = (offset as usize, offset as usize + len as usize);
    let bytes = texts.get(buffer).and_then(|text| Some((text.as_slice().get(start..end)?, text.get(end))));
    let Some((bytes, behind)) = bytes else { return Err(BadView::Nowhere) };
    if !bytes.starts_with(&((view >> 32) as u32).to_le_bytes()) {
        return Err(BadView::Prefix);
    }
    let is_text = match text {
        Text::Any => true,
        Text::Whole => !is_continuation(bytes[0]) && behind.is_none_or(|&byte| !is_continuation(byte)),
        Text::Unknown => std::str::from_utf8(bytes).is_ok(),
    };
    if is_text { Ok(()) } else { Err(BadView::NotUtf8) }
}

/// Whether a byte of UTF-8 is in the middle of a character.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Every list view lies in the child's values.
pub(super) fn list_views<O: Offset>(offsets: &[O], sizes: &[O], limit: usize) -> Checked {
    let fits = |offset: &O, size: &O| match (offset.to_usize(), size.to_usize()) {
        (Some(offset), Some(size)) => offset.checked_add(size).is_some_and(|end| end <= limit),
        _ => false,
    };
    match offsets.iter().zip(sizes).position(|(offset, size)| !fits(offset, size)) {
        None => Ok(()),
        Some(index) => {
            Err(Fault::data(format!("offsets[{index}] is {} and sizes[{index}] is {}, outside of the {limit} values", offsets[index], sizes[index])))
        }
    }
}

/// Type ids are those of the union's fields; `lens` has an entry for each.
pub(super) fn type_ids(ids: &[i8], lens: &[Option<usize>; 128]) -> Checked {
    let known = |id: i8| usize::try_from(id).is_ok_and(|id| lens[id].is_some());
    match ids.iter().position(|&id| !known(id)) {
        None => Ok(()),
        Some(index) => Err(Fault::data(format!("type ids[{index}] is {}, which is none of the union's", ids[index]))),
    }
}

/// Offsets of a dense union, whose type ids were checked, lie in the child of their type.
pub(super) fn union_offsets(ids: &[i8], offsets: &[i32], lens: &[Option<usize>; 128]) -> Checked {
    let limits: [usize; 128] = lens.map(|len| len.unwrap_or(0));
    let limit = |id: i8| limits[(id & 127) as usize];
    match ids.iter().zip(offsets).position(|(&id, &offset)| usize::try_from(offset).is_ok_and(|offset| offset < limit(id)).eq(&false)) {
        None => Ok(()),
        Some(index) => {
            let (id, offset) = (ids[index], offsets[index]);
            Err(Fault::data(format!("offsets[{index}] is {offset}, outside of the {} values of type id {id}", limit(id))))
        }
    }
}

/// Keys of rows that are not null name one of the dictionary's `limit` values.
pub(super) fn keys(key_type: &DataType, keys: &Buffer, limit: usize, nulls: Option<&NullBuffer>) -> Checked {
    // A negative key is a large one when it is read as unsigned, so the limit is at most the first of those.
    macro_rules! check {
        ($signed:ty, $unsigned:ty) => {{
            let keys = keys.typed_data::<$signed>();
            let outside = match <$unsigned>::try_from(limit.min(<$signed>::MAX as usize + 1)) {
                Ok(limit) => keys.iter().fold(false, |outside, &key| outside | (key as $unsigned >= limit)),
                Err(_) => false,
            };
            if outside { find_key(keys, limit, nulls) } else { Ok(()) }
        }};
    }
    match key_type {
        DataType::Int8 => check!(i8, u8),
        DataType::Int16 => check!(i16, u16),
        DataType::Int32 => check!(i32, u32),
        DataType::Int64 => check!(i64, u64),
        DataType::UInt8 => check!(u8, u8),
        DataType::UInt16 => check!(u16, u16),
        DataType::UInt32 => check!(u32, u32),
        DataType::UInt64 => find_key(keys.typed_data::<u64>(), limit, nulls),
        other => Err(Fault::schema(format!("dictionary keys cannot be {other}"))),
    }
}

/// The first key that is outside, unless its row is null.
fn find_key<K: ArrowNativeType + Display>(keys: &[K], limit: usize, nulls: Option<&NullBuffer>) -> Checked {
    let outside = |index: usize, key: &K| key.as_usize() >= limit && nulls.is_none_or(|nulls| nulls.is_valid(index));
    match keys.iter().enumerate().find(|&(index, key)| outside(index, key)) {
        None => Ok(()),
        Some((index, key)) => Err(Fault::data(format!("keys[{index}] is {key}, outside of the dictionary's {limit} values"))),
    }
}

/// Run ends rise from above 0 and reach the last row.
pub(super) fn run_ends(end_type: &DataType, ends: &Buffer, first: usize, len: usize) -> Checked {
    match end_type {
        DataType::Int16 => run_ends_of::<i16>(ends, first, len),
        DataType::Int32 => run_ends_of::<i32>(ends, first, len),
        DataType::Int64 => run_ends_of::<i64>(ends, first, len),
        other => Err(Fault::schema(format!("run ends cannot be {other}"))),
    }
}

fn run_ends_of<R: ArrowNativeType + Display + Ord>(ends: &Buffer, first: usize, len: usize) -> Checked {
    let ends = ends.typed_data::<R>();
    if let Some(&end) = ends.first().filter(|&&end| end <= R::default()) {
        return Err(Fault::data(format!("values[0] is {end}, and a run ends above 0")));
    }
    if let Some(index) = ends.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(Fault::data(format!("values[{}] is {}, not above values[{index}], {}", index + 1, ends[index + 1], ends[index])));
    }
    match ends.last() {
        None if len == 0 => Ok(()),
        Some(last) if len == 0 || last.as_usize() >= first + len => Ok(()),
        last => Err(Fault::data(format!("the last run ends at {} and must reach row {}", last.copied().unwrap_or_default(), first + len))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_judged_as_the_standard_library_does_wherever_it_is_cut() {
        for before in [0, 1, STRETCH - 2, STRETCH - 1, STRETCH, 2 * STRETCH + 5] {
            for (middle, after) in [("", 0), ("é", 0), ("é", 3), ("\u{10ffff}", 2 * STRETCH)] {
                let text = format!("{}{middle}{}", "a".repeat(before), "b".repeat(after));
                let len = text.len();
                for cut in [0, before / 2, before, before + middle.len(), len] {
                    assert!(utf8(&[0, cut as i32, len as i32], 0..len, text.as_bytes()).is_ok(), "{before} {middle} {after} {cut}");
                }
                for inside in before + 1..before + middle.len() {
                    let fault = utf8(&[0, 0, inside as i64, len as i64], 0..len, text.as_bytes()).unwrap_err();
                    assert!(format!("{fault:?}").contains("offsets[2]"), "{fault:?}");
                }
                for broken in [before / 2, len / 2, len.saturating_sub(1)].into_iter().filter(|_| len > 0) {
                    let mut bytes = text.clone().into_bytes();
                    bytes[broken] = 0xff;
                    let valid = std::str::from_utf8(&bytes).unwrap_err().valid_up_to();
                    let fault = utf8(&[0, len as i32], 0..len, &bytes).unwrap_err();
                    assert!(format!("{fault:?}").contains(&format!("row 0 is not UTF-8 at byte {valid},")), "{fault:?}");
                }
            }
        }
    }

    #[test]
    fn offsets_that_fall_are_found_however_far() {
        assert!(offsets(&[0i32, 0, 5, i32::MAX, i32::MAX]).is_ok() && offsets(&[3i64, i64::MAX]).is_ok());
        for bad in [[0, 5, 4, 6], [0, i32::MAX, i32::MIN, 7], [0, i32::MAX, -2, i32::MAX], [7, 6, 6, 7], [0, -1, 0, 0]] {
            let fault = offsets(&bad).unwrap_err();
            let first = bad.windows(2).position(|pair| pair[0] > pair[1]).unwrap();
            assert!(format!("{fault:?}").contains(&format!("offsets[{}] is", first + 1)), "{fault:?}");
            assert!(offsets(&bad.map(i64::from)).is_err());
        }
    }
}
