//! What a copy costs: into memory that is warm, and into memory that is fresh; and what reading costs.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use serde::Serialize;

use crate::checksum;
use crate::region::Region;
use crate::statistics::median;

/// Bytes at a time: one column of 8 Ki and 64 Ki rows, three columns of 64 Ki, one and three columns of 1 Mi, and more.
const SIZES: [usize; 6] = [64 << 10, 512 << 10, 2304 << 10, 8 << 20, 36 << 20, 64 << 20];

/// What is copied is taken in turn from a stretch larger than the caches near a core.
const SOURCE: usize = 256 << 20;

/// Warm destinations are used in turn, like the slots of an arena with three batches under way.
const SLOTS: usize = 4;

/// Gigabytes (10^9) a second for pieces of one size.
#[derive(Serialize)]
pub(crate) struct Copying {
    bytes: usize,
    /// Into shared memory that is mapped and was written before.
    warm: f64,
    /// Into fresh private memory: map, copy, unmap.
    fresh: f64,
    /// Into a fresh memfd: make, map, copy, unmap, close.
    fresh_memfd: f64,
    /// Nothing copied, every byte read.
    read: f64,
}

/// Measures every size in several rounds, the kinds of memory in turn.
pub(crate) fn measure(rounds: usize, bytes_a_round: usize) -> io::Result<Vec<Copying>> {
    let mut source = Region::private(SOURCE)?;
    source.as_mut_slice().fill(1);
    let source: &[u8] = source.as_mut_slice();
    let mut warm = Region::memfd(SLOTS * SIZES[SIZES.len() - 1])?;
    warm.as_mut_slice().fill(1);

    let mut samples: Vec<[Vec<f64>; 4]> = SIZES.iter().map(|_| Default::default()).collect();
    for _ in 0..rounds {
        for (size, samples) in SIZES.into_iter().zip(&mut samples) {
            let pieces = (bytes_a_round / size).max(2);
            let mut slots = warm.as_mut_slice().chunks_exact_mut(size).take(SLOTS).collect::<Vec<_>>();
            let mut next = (0..SLOTS).cycle();
            samples[0].push(rate(source, size, pieces, |piece| {
                if let Some(slot) = next.next() {
                    black_box(&mut *slots[slot]).copy_from_slice(piece);
                }
                Ok(())
            })?);
            // Every page of fresh memory is a fault, so fewer pieces say as much.
            let pieces = (pieces / 4).max(2);
            samples[1].push(rate(source, size, pieces, |piece| copy_to(Region::private(size)?, piece))?);
            samples[2].push(rate(source, size, pieces, |piece| copy_to(Region::memfd(size)?, piece))?);
            samples[3].push(rate(source, size, pieces, |piece| {
                black_box(checksum::bytes(piece));
                Ok(())
            })?);
        }
    }
    let rows = SIZES.into_iter().zip(samples);
    Ok(rows
        .map(|(bytes, samples)| {
            let [warm, fresh, fresh_memfd, read] = samples.map(median);
            Copying { bytes, warm, fresh, fresh_memfd, read }
        })
        .collect())
}

fn copy_to(mut region: Region, piece: &[u8]) -> io::Result<()> {
    black_box(region.as_mut_slice()).copy_from_slice(piece);
    Ok(())
}

/// Gigabytes a second when `action` gets pieces of the source in turn.
fn rate(source: &[u8], size: usize, pieces: usize, mut action: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<f64> {
    let mut places = source.chunks_exact(size).cycle().take(pieces);
    let start = Instant::now();
    places.try_for_each(|piece| action(black_box(piece)))?;
    Ok((size * pieces) as f64 / start.elapsed().as_nanos() as f64)
}
