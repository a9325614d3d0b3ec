//! The free ranges of one segment: private books, kept by whoever writes the segment.

/// Every piece begins and ends on a multiple of this, the alignment that Arrow recommends for buffers.
pub(super) const ALIGNMENT: usize = 64;

/// Sorted, never touching, never empty ranges.
#[derive(Debug)]
pub(super) struct FreeList {
    size: usize,
    ranges: Vec<(usize, usize)>,
}

impl FreeList {
    pub(super) fn new(size: usize) -> Self {
        Self { size, ranges: vec![(0, size)] }
    }

    /// Takes `len` bytes (a multiple of [`ALIGNMENT`]) from the first range that has them. First fit keeps the front of the segment in use, so
    /// the pages that are handed out again are the ones that are warm.
    pub(super) fn take(&mut self, len: usize) -> Option<usize> {
        let index = self.ranges.iter().position(|&(_, free)| free >= len)?;
        let (offset, free) = self.ranges[index];
        if free == len {
            self.ranges.remove(index);
        } else {
            self.ranges[index] = (offset + len, free - len);
        }
        Some(offset)
    }

    /// Gives a range back and joins it with its neighbours.
    pub(super) fn give(&mut self, offset: usize, len: usize) {
        let index = self.ranges.partition_point(|&(start, _)| start < offset);
        let joins_next = self.ranges.get(index).is_some_and(|&(start, _)| start == offset + len);
        let joins_previous = index > 0 && self.ranges[index - 1].0 + self.ranges[index - 1].1 == offset;
        match (joins_previous, joins_next) {
            (true, true) => {
                self.ranges[index - 1].1 += len + self.ranges[index].1;
                self.ranges.remove(index);
            }
            (true, false) => self.ranges[index - 1].1 += len,
            (false, true) => self.ranges[index] = (offset, len + self.ranges[index].1),
            (false, false) => self.ranges.insert(index, (offset, len)),
        }
    }

    /// Takes the `more` bytes behind a piece that ends at `end`, where they are free.
    pub(super) fn extend(&mut self, end: usize, more: usize) -> bool {
        let index = self.ranges.partition_point(|&(start, _)| start < end);
        match self.ranges.get(index) {
            Some(&(start, free)) if start == end && free == more => _ = self.ranges.remove(index),
            Some(&(start, free)) if start == end && free > more => self.ranges[index] = (start + more, free - more),
            _ => return false,
        }
        true
    }

    /// Bytes that are not in use.
    pub(super) fn free(&self) -> usize {
        self.ranges.iter().map(|&(_, free)| free).sum()
    }

    /// The ranges that are in use.
    pub(super) fn in_use(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let ends = std::iter::once(0).chain(self.ranges.iter().map(|&(start, free)| start + free));
        let starts = self.ranges.iter().map(|&(start, _)| start).chain([self.size]);
        ends.zip(starts).filter(|(end, start)| start > end).map(|(end, start)| (end, start - end))
    }

    /// Whether nothing of the segment is in use.
    pub(super) fn is_whole(&self) -> bool {
        self.ranges.first().is_some_and(|&(_, free)| free == self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_in_any_order_and_join() {
        let orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1]];
        for order in orders {
            let mut list = FreeList::new(256);
            let pieces: Vec<usize> = (0..3).map(|_| list.take(64).unwrap()).collect();
            assert_eq!(pieces, [0, 64, 128]);
            assert!(list.take(128).is_none());
            assert!(list.in_use().eq([(0, 192)]));
            for piece in order {
                list.give(pieces[piece], 64);
            }
            assert!(list.is_whole(), "{order:?} {list:?}");
        }
    }

    #[test]
    fn a_piece_grows_into_what_is_free_behind_it_and_nowhere_else() {
        let mut list = FreeList::new(256);
        assert_eq!([list.take(64), list.take(64)], [Some(0), Some(64)]);
        assert!(!list.extend(64, 64), "a neighbour is behind it");
        assert!(list.extend(128, 64) && !list.extend(192, 128) && list.extend(192, 64));
        assert!(!list.extend(256, 64), "nothing is behind the end");
        list.give(64, 192);
        assert!(list.extend(64, 192) && list.free() == 0);
    }
}
