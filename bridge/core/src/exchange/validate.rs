//! What the content of buffers must obey before a safe Arrow array may exist over them. Each check reads its buffers once, in a loop that
//! the compiler can widen, and looks for the place only when something is wrong.

use std::fmt::Display;
use std::ops::Range;

use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer};
use arrow_schema::DataType;

use super::copy::{INLINE, target};
use super::fault::Fault;

type Checked<T = ()> = Result<T, Fault>;

/// The two widths of offsets.
pub(super) trait Offset: ArrowNativeType + Display + Ord {}
impl Offset for i32 {}
impl Offset for i64 {}

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

/// Offsets never fall. With [`ends`] this bounds all of them.
pub(super) fn offsets<O: Offset>(offsets: &[O]) -> Checked {
    let falls = offsets.iter().zip(&offsets[1..]).fold(false, |falls, (a, b)| falls | (a > b));
    if !falls {
        return Ok(());
    }
    let index = offsets.windows(2).position(|pair| pair[0] > pair[1]).unwrap_or_default();
    Err(Fault::data(format!("offsets[{}] is {}, below offsets[{index}], {}", index + 1, offsets[index + 1], offsets[index])))
}

/// The bytes in `range` are text, cut at offsets that were checked.
pub(super) fn utf8<O: Offset>(offsets: &[O], range: Range<usize>, bytes: &[u8]) -> Checked {
    let text = &bytes[range.clone()];
    if text.is_ascii() {
        return Ok(());
    }
    let row_of = |at: usize| offsets.partition_point(|offset| offset.as_usize() <= at).saturating_sub(1);
    if let Err(error) = std::str::from_utf8(text) {
        let at = range.start + error.valid_up_to();
        return Err(Fault::data(format!("row {} is not UTF-8 at byte {at}, {:#04x}", row_of(at), bytes[at])));
    }
    let is_continuation = |offset: &O| bytes.get(offset.as_usize()).is_some_and(|byte| byte & 0xc0 == 0x80);
    // The last offset is the end of valid text, and the byte behind it is nobody's.
    match offsets[..offsets.len() - 1].iter().filter(|offset| offset.as_usize() < range.end).position(is_continuation) {
        None => Ok(()),
        Some(index) => Err(Fault::data(format!("offsets[{index}] is {}, in the middle of a character", offsets[index]))),
    }
}

/// Views hold their text or point into their data buffers, and their prefixes are those of what they point to.
pub(super) fn views(views: &[u128], texts: &[Buffer], utf8: bool) -> Checked {
    views.iter().enumerate().try_for_each(|(index, &view)| check_view(view, texts, utf8).map_err(|what| what.at(index, view)))
}

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

fn check_view(view: u128, texts: &[Buffer], utf8: bool) -> Result<(), BadView> {
    let (buffer, offset, len) = target(view);
    if len <= INLINE {
        let text = view >> 32;
        if text.checked_shr(len * 8).is_some_and(|padding| padding != 0) {
            return Err(BadView::Padding);
        }
        const HIGH_BITS: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;
        let is_text = !utf8 || text & HIGH_BITS == 0 || std::str::from_utf8(&view.to_le_bytes()[4..4 + len as usize]).is_ok();
        return if is_text { Ok(()) } else { Err(BadView::NotUtf8) };
    }
    let start = offset as usize;
    let Some(text) = texts.get(buffer).and_then(|text| text.as_slice().get(start..start + len as usize)) else { return Err(BadView::Nowhere) };
    if !text.starts_with(&((view >> 32) as u32).to_le_bytes()) {
        return Err(BadView::Prefix);
    }
    if utf8 && std::str::from_utf8(text).is_err() { Err(BadView::NotUtf8) } else { Ok(()) }
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
    match key_type {
        DataType::Int8 => keys_of::<i8>(keys, limit, nulls),
        DataType::Int16 => keys_of::<i16>(keys, limit, nulls),
        DataType::Int32 => keys_of::<i32>(keys, limit, nulls),
        DataType::Int64 => keys_of::<i64>(keys, limit, nulls),
        DataType::UInt8 => keys_of::<u8>(keys, limit, nulls),
        DataType::UInt16 => keys_of::<u16>(keys, limit, nulls),
        DataType::UInt32 => keys_of::<u32>(keys, limit, nulls),
        DataType::UInt64 => keys_of::<u64>(keys, limit, nulls),
        other => Err(Fault::schema(format!("dictionary keys cannot be {other}"))),
    }
}

fn keys_of<K: ArrowNativeType + Display>(keys: &Buffer, limit: usize, nulls: Option<&NullBuffer>) -> Checked {
    let keys = keys.typed_data::<K>();
    // A negative key is a huge one when it is read as unsigned, and no dictionary is that large.
    if keys.iter().fold(false, |outside, key| outside | (key.as_usize() >= limit)) {
        let outside = |index: usize, key: &K| key.as_usize() >= limit && nulls.is_none_or(|nulls| nulls.is_valid(index));
        if let Some((index, key)) = keys.iter().enumerate().find(|&(index, key)| outside(index, key)) {
            return Err(Fault::data(format!("keys[{index}] is {key}, outside of the dictionary's {limit} values")));
        }
    }
    Ok(())
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
