//! Copying so much that no cache would still have it when it is read.

/// Copies past the caches. An ordinary copy first reads the lines that it is about to write over, and throws out of the caches what others need; of a
/// copy that is larger than a core's own cache little is left there anyway. ("Non-temporal stores": Intel's optimization manual, 9.4.1.)
///
/// # Panics
/// Where the two are not of one length.
pub(crate) fn copy_past_caches(from: &[u8], to: &mut [u8]) {
    assert_eq!(from.len(), to.len(), "what is copied has one length");
    let ahead = to.as_ptr().align_offset(LINE).min(to.len());
    let ((from_ahead, from), (to_ahead, to)) = (from.split_at(ahead), to.split_at_mut(ahead));
    let ((from_lines, from_rest), (to_lines, to_rest)) = (from.as_chunks::<LINE>(), to.as_chunks_mut::<LINE>());
    to_ahead.copy_from_slice(from_ahead);
    copy_lines(from_lines, to_lines);
    to_rest.copy_from_slice(from_rest);
}

/// What a cache keeps together.
const LINE: usize = 64;

#[cfg(target_arch = "x86_64")]
fn copy_lines(from: &[[u8; LINE]], to: &mut [[u8; LINE]]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    const WIDE: usize = size_of::<__m128i>();
    for (from, to) in from.iter().zip(to) {
        let (from, to) = (from.as_ptr().cast::<__m128i>(), to.as_mut_ptr().cast::<__m128i>());
        debug_assert!(to.is_aligned());
        for part in 0..LINE / WIDE {
            // SAFETY: each part lies in its line, of which the one is only read and the other is this function's alone; lines of `to` begin at
            // multiples of 64. Every x86-64 processor has these instructions.
            unsafe { _mm_stream_si128(to.add(part), _mm_loadu_si128(from.add(part))) };
        }
    }
    // Such stores come in no order, not even before a later one by which another process is told.
    // SAFETY: every x86-64 processor has this instruction, which touches no memory.
    unsafe { _mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
fn copy_lines(from: &[[u8; LINE]], to: &mut [[u8; LINE]]) {
    to.copy_from_slice(from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives_wherever_it_begins_and_none_beside() {
        let from: Vec<u8> = (0..1000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for start in 0..70 {
            for len in [0, 1, 15, 63, 64, 65, 127, 128, 500, 900] {
                let mut to = vec![0xa5; 1000];
                copy_past_caches(&from[7..7 + len], &mut to[start..start + len]);
                assert_eq!(to[start..start + len], from[7..7 + len], "{len} bytes to {start}");
                assert!(to[..start].iter().chain(&to[start + len..]).all(|&byte| byte == 0xa5), "{len} bytes to {start}");
            }
        }
    }
}
