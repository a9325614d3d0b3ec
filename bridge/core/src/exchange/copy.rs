//! What one buffer in shared memory is made from, and the loops that make it. They run at the speed of memory.

use arrow_buffer::{ArrowNativeType, Buffer};

use crate::memory::copy_past_caches;

/// The content of one buffer that has to be written.
#[derive(Debug)]
pub(super) enum Source<'a> {
    /// These bytes as they are.
    Bytes(&'a [u8]),
    /// Bits from the given one on, moved to begin at bit 0.
    Bits {
        bytes: &'a [u8],
        bit: u8,
        len: usize,
    },
    /// Offsets, less the first of the slice.
    Offsets32 {
        offsets: &'a [i32],
        base: i32,
    },
    Offsets64 {
        offsets: &'a [i64],
        base: i64,
    },
    /// Offsets of list views, less the lowest one in use; those of empty lists become 0.
    ListView32 {
        offsets: &'a [i32],
        sizes: &'a [i32],
        base: i32,
    },
    ListView64 {
        offsets: &'a [i64],
        sizes: &'a [i64],
        base: i64,
    },
    /// Offsets of a dense union, less the lowest one in use for their type id.
    Union {
        ids: &'a [i8],
        offsets: &'a [i32],
        base: Box<[i32; 128]>,
    },
    /// Run ends, less the rows before the slice; the last is cut to the slice's length.
    RunEnds16 {
        ends: &'a [i16],
        before: usize,
        len: usize,
    },
    RunEnds32 {
        ends: &'a [i32],
        before: usize,
        len: usize,
    },
    RunEnds64 {
        ends: &'a [i64],
        before: usize,
        len: usize,
    },
    /// Views whose data buffers were moved; those that point nowhere (in null slots) become empty.
    Views {
        views: &'a [u128],
        moved: Vec<Moved>,
    },
    /// Views whose text is packed into one data buffer.
    PackedViews {
        views: &'a [u128],
    },
    /// That data buffer, of `len` bytes.
    PackedText {
        views: &'a [u128],
        texts: &'a [Buffer],
        len: usize,
    },
}

/// Where a data buffer of a view array went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Its number among the buffers that are sent.
    pub(super) index: u32,
    /// The bytes in use, before it moved.
    pub(super) start: u32,
    pub(super) end: u64,
}

/// The most bytes of text or binary that a view holds itself.
pub(super) const INLINE: u32 = 12;

/// What a view that holds no bytes itself points to: buffer, first byte, length.
pub(super) fn target(view: u128) -> (usize, u32, u32) {
    ((view >> 64) as u32 as usize, (view >> 96) as u32, view as u32)
}

impl Source<'_> {
    /// The number of bytes it writes.
    pub(super) fn len(&self) -> usize {
        match self {
            Source::Bytes(bytes) => bytes.len(),
            Source::Bits { len, .. } => len.div_ceil(8),
            Source::Offsets32 { offsets, .. } | Source::ListView32 { offsets, .. } | Source::Union { offsets, .. } => size_of_val(*offsets),
            Source::Offsets64 { offsets, .. } | Source::ListView64 { offsets, .. } => size_of_val(*offsets),
            Source::RunEnds16 { ends, .. } => size_of_val(*ends),
            Source::RunEnds32 { ends, .. } => size_of_val(*ends),
            Source::RunEnds64 { ends, .. } => size_of_val(*ends),
            Source::Views { views, .. } | Source::PackedViews { views } => size_of_val(*views),
            Source::PackedText { len, .. } => *len,
        }
    }

    /// Writes the content over `to`, which has exactly [`Source::len`] bytes and begins at a multiple of 64; `large` where that is part of more than
    /// caches hold until it is read.
    pub(super) fn write(&self, to: &mut [u8], large: bool) {
        match self {
            Source::Bytes(bytes) if large => copy_past_caches(bytes, to),
            Source::Bytes(bytes) => to.copy_from_slice(bytes),
            Source::Bits { bytes, bit, len } => copy_bits(bytes, *bit, *len, to),
            Source::Offsets32 { offsets, base } => map(offsets, to, |offset: i32| offset.wrapping_sub(*base)),
            Source::Offsets64 { offsets, base } => map(offsets, to, |offset: i64| offset.wrapping_sub(*base)),
            Source::ListView32 { offsets, sizes, base } => {
                map2(offsets, sizes, to, |offset: i32, size: i32| if size == 0 { 0 } else { offset.wrapping_sub(*base) });
            }
            Source::ListView64 { offsets, sizes, base } => {
                map2(offsets, sizes, to, |offset: i64, size: i64| if size == 0 { 0 } else { offset.wrapping_sub(*base) });
            }
            Source::Union { ids, offsets, base } => {
                map2(offsets, ids, to, |offset: i32, id: i8| offset.wrapping_sub(base[(id & 127) as usize]));
            }
            // A run that ends behind the slice ends with it, so its end always fits the type: it was the end of a longer array.
            Source::RunEnds16 { ends, before, len } => map(ends, to, |end: i16| (end as usize).saturating_sub(*before).min(*len) as i16),
            Source::RunEnds32 { ends, before, len } => map(ends, to, |end: i32| (end as usize).saturating_sub(*before).min(*len) as i32),
            Source::RunEnds64 { ends, before, len } => map(ends, to, |end: i64| (end as usize).saturating_sub(*before).min(*len) as i64),
            Source::Views { views, moved } => map(views, to, |view: u128| move_view(view, moved)),
            Source::PackedViews { views } => {
                let mut end = 0u32;
                map(views, to, |view: u128| match target(view) {
                    (_, _, len) if len <= INLINE => view,
                    (_, _, len) => {
                        let start = end;
                        end = end.wrapping_add(len);
                        view & u128::from(u64::MAX) | u128::from(start) << 96
                    }
                });
            }
            Source::PackedText { views, texts, .. } => pack(views, texts, to),
        }
    }
}

/// Puts the text of the longer views side by side. They were checked to be there.
fn pack(views: &[u128], texts: &[Buffer], mut to: &mut [u8]) {
    for (buffer, offset, len) in views.iter().map(|&view| target(view)).filter(|&(_, _, len)| len > INLINE) {
        let start = offset as usize;
        let text = texts.get(buffer).and_then(|text| text.as_slice().get(start..start + len as usize));
        let (Some(text), Some((place, rest))) = (text, to.split_at_mut_checked(len as usize)) else { return };
        place.copy_from_slice(text);
        to = rest;
    }
}

fn move_view(view: u128, moved: &[Moved]) -> u128 {
    let (buffer, offset, len) = target(view);
    if len <= INLINE {
        return view;
    }
    match moved.get(buffer) {
        Some(&Moved { index, start, end }) if start <= offset && u64::from(offset) + u64::from(len) <= end => {
            (view & u128::from(u64::MAX)) | u128::from(index) << 64 | u128::from(offset - start) << 96
        }
        _ => 0,
    }
}

fn map<T: ArrowNativeType>(from: &[T], to: &mut [u8], mut change: impl FnMut(T) -> T) {
    for (to, &from) in values_mut::<T>(to).iter_mut().zip(from) {
        *to = change(from);
    }
}

fn map2<T: ArrowNativeType, U: Copy>(from: &[T], with: &[U], to: &mut [u8], change: impl Fn(T, U) -> T) {
    for ((to, &from), &with) in values_mut::<T>(to).iter_mut().zip(from).zip(with) {
        *to = change(from, with);
    }
}

fn values_mut<T: ArrowNativeType>(bytes: &mut [u8]) -> &mut [T] {
    // SAFETY: every bit pattern is a value of a native Arrow type.
    let (before, values, after) = unsafe { bytes.align_to_mut::<T>() };
    debug_assert!(before.is_empty() && after.is_empty(), "buffers begin at a multiple of 64");
    values
}

/// Copies `len` bits that begin at bit `bit` of `from` to the beginning of `to`. Bits behind the last one become 0.
pub(super) fn copy_bits(from: &[u8], bit: u8, len: usize, to: &mut [u8]) {
    let bytes = len.div_ceil(8);
    let to = &mut to[..bytes];
    if bit == 0 {
        to.copy_from_slice(&from[..bytes]);
    } else {
        let low = u32::from(bit);
        // Whole words: eight bytes and the one behind them give 64 moved bits. The compiler makes wide instructions of it.
        let words = from.len().saturating_sub(1).min(bytes) / 8;
        for (index, to) in to.chunks_exact_mut(8).take(words).enumerate() {
            let at = &from[index * 8..index * 8 + 9];
            let word = u64::from_le_bytes([at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]]);
            to.copy_from_slice(&(word >> low | u64::from(at[8]) << (64 - low)).to_le_bytes());
        }
        for index in words * 8..bytes {
            let next = from.get(index + 1).copied().unwrap_or(0);
            to[index] = from[index] >> low | next << (8 - low);
        }
    }
    if !len.is_multiple_of(8) {
        to[bytes - 1] &= (1 << (len % 8)) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_arrive_one_by_one() {
        let from: Vec<u8> = (0..64u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let get = |bytes: &[u8], i: usize| bytes[i / 8] >> (i % 8) & 1;
        for bit in 0..8u8 {
            for len in 0..from.len() * 8 - usize::from(bit) {
                // Only the bytes that hold the bits: reading one more would be reading a neighbour.
                let from = &from[..(usize::from(bit) + len).div_ceil(8)];
                let mut to = vec![0xff; len.div_ceil(8)];
                copy_bits(from, bit, len, &mut to);
                for i in 0..to.len() * 8 {
                    let expected = if i < len { get(from, usize::from(bit) + i) } else { 0 };
                    assert_eq!(get(&to, i), expected, "bit {bit}, len {len}, at {i}");
                }
            }
        }
    }

    #[test]
    fn a_view_that_points_nowhere_becomes_empty() {
        let view = |len: u32, buffer: u32, offset: u32| u128::from(len) | 0x6162_6364 << 32 | u128::from(buffer) << 64 | u128::from(offset) << 96;
        let moved = [Moved { index: 0, start: 0, end: 0 }, Moved { index: 5, start: 100, end: 200 }];
        assert_eq!(move_view(view(50, 1, 150), &moved), view(50, 5, 50));
        assert_eq!(move_view(view(51, 1, 150), &moved), 0);
        assert_eq!(move_view(view(50, 1, 99), &moved), 0);
        assert_eq!(move_view(view(50, 7, 150), &moved), 0);
        assert_eq!(move_view(view(u32::MAX, 1, u32::MAX), &moved), 0);
        assert_eq!(move_view(view(12, 7, 150), &moved), view(12, 7, 150));
    }
}
