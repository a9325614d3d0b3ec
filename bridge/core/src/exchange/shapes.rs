//! The part of the plan for arrays whose buffers point into others: text, views, lists, dense unions, run ends.

use arrow_buffer::ArrowNativeType;
use arrow_data::ArrayData;
use arrow_schema::UnionFields;

use super::copy::{INLINE, Moved, Source, target};
use super::fault::Fault;
use super::plan::{Child, Plan, Step, as_bytes, buffer, child, part, values};

/// The two widths of offsets.
pub(super) trait Offset: ArrowNativeType {
    fn rebased(offsets: &[Self], base: Self) -> Source<'_>;
    fn list_view<'a>(offsets: &'a [Self], sizes: &'a [Self], base: usize) -> Source<'a>;
}

impl Offset for i32 {
    fn rebased(offsets: &[Self], base: Self) -> Source<'_> {
        Source::Offsets32 { offsets, base }
    }
    fn list_view<'a>(offsets: &'a [Self], sizes: &'a [Self], base: usize) -> Source<'a> {
        Source::ListView32 { offsets, sizes, base: base as i32 }
    }
}

impl Offset for i64 {
    fn rebased(offsets: &[Self], base: Self) -> Source<'_> {
        Source::Offsets64 { offsets, base }
    }
    fn list_view<'a>(offsets: &'a [Self], sizes: &'a [Self], base: usize) -> Source<'a> {
        Source::ListView64 { offsets, sizes, base: base as i64 }
    }
}

/// The three widths of run ends.
pub(super) trait RunEnd: ArrowNativeType {
    fn cut(ends: &[Self], before: usize, len: usize) -> Source<'_>;
}

impl RunEnd for i16 {
    fn cut(ends: &[Self], before: usize, len: usize) -> Source<'_> {
        Source::RunEnds16 { ends, before, len }
    }
}

impl RunEnd for i32 {
    fn cut(ends: &[Self], before: usize, len: usize) -> Source<'_> {
        Source::RunEnds32 { ends, before, len }
    }
}

impl RunEnd for i64 {
    fn cut(ends: &[Self], before: usize, len: usize) -> Source<'_> {
        Source::RunEnds64 { ends, before, len }
    }
}

/// The offsets of a slice with elements, and the range that they cover.
struct Offsets<'a, O> {
    all: &'a [O],
    first: usize,
    last: usize,
}

fn offsets<O: Offset>(data: &ArrayData, at: usize, len: usize) -> Step<Offsets<'_, O>> {
    let all = values::<O>(buffer(data, 0)?, at, len + 1)?;
    match (all[0].to_usize(), all[len].to_usize()) {
        (Some(first), Some(last)) if first <= last => Ok(Offsets { all, first, last }),
        _ => Err(Fault::data(format!("offsets go from {:?} to {:?}", all[0], all[len])).into()),
    }
}

impl<'a> Plan<'a> {
    /// Text and binary: offsets and bytes. Where there are no elements neither is sent: an importer knows that the one offset is 0.
    pub(super) fn text<O: Offset>(&mut self, node: usize, data: &'a ArrayData, at: usize, len: usize) -> Step {
        if len == 0 {
            self.absent(node);
            self.absent(node);
            return Ok(());
        }
        let Offsets { all, first, last } = offsets::<O>(data, at, len)?;
        let bytes = buffer(data, 1)?;
        let there = self.locate(as_bytes(all));
        if let Some(extent) = there {
            if first == 0 {
                self.shared(node, extent);
                return self.bytes(node, part(bytes, 0, last)?);
            }
            if let Some(text) = self.locate(part(bytes, 0, last)?) {
                self.shared(node, extent);
                self.shared(node, text);
                return Ok(());
            }
        }
        self.offsets(node, all, there.is_some())?;
        self.bytes(node, part(bytes, first, last - first)?)
    }

    /// Lists and maps: offsets into one child.
    pub(super) fn list<O: Offset>(&mut self, node: usize, data: &'a ArrayData, at: usize, len: usize, item: Child<'a, '_>) -> Step {
        if len == 0 {
            self.absent(node);
            return self.child(item, 0, 0);
        }
        let Offsets { all, first, last } = offsets::<O>(data, at, len)?;
        let there = self.locate(as_bytes(all));
        if let Some(extent) = there {
            if first == 0 {
                self.shared(node, extent);
                return self.child(item, 0, last);
            }
            let untouched = self.only_shared(node, |plan| {
                plan.shared(node, extent);
                plan.child(item, 0, last)
            })?;
            if untouched {
                return Ok(());
            }
        }
        self.offsets(node, all, there.is_some())?;
        self.child(item, first, last - first)
    }

    /// Offsets that are copied, to begin at 0.
    fn offsets<O: Offset>(&mut self, node: usize, all: &'a [O], was_shared: bool) -> Step {
        let source = if all[0] == O::default() { Source::Bytes(as_bytes(all)) } else { O::rebased(all, all[0]) };
        self.rewritten(node, source, was_shared)
    }

    /// List views: offsets and sizes into one child, in any order.
    pub(super) fn list_view<O: Offset>(&mut self, node: usize, data: &'a ArrayData, at: usize, len: usize, item: Child<'a, '_>) -> Step {
        let (starts, sizes) = (values::<O>(buffer(data, 0)?, at, len)?, values::<O>(buffer(data, 1)?, at, len)?);
        let there = self.locate(as_bytes(starts));
        if let Some(extent) = there {
            let untouched = self.only_shared(node, |plan| {
                plan.shared(node, extent);
                plan.bytes(node, as_bytes(sizes))?;
                plan.child(item, 0, item.data.len())
            })?;
            if untouched {
                return Ok(());
            }
        }
        let used = used_by_lists(starts, sizes, item.data.len())?;
        match there {
            Some(extent) if used.as_they_are => self.shared(node, extent),
            None if len == 0 => self.absent(node),
            _ if used.as_they_are => self.rewritten(node, Source::Bytes(as_bytes(starts)), there.is_some())?,
            _ => self.rewritten(node, O::list_view(starts, sizes, used.first), there.is_some())?,
        }
        self.bytes(node, as_bytes(sizes))?;
        self.child(item, used.first, used.last - used.first)
    }

    /// Dense unions: type ids, and offsets into the child of each type.
    pub(super) fn dense_union(&mut self, node: usize, data: &'a ArrayData, at: usize, len: usize, fields: &UnionFields) -> Step {
        let (ids, places) = (values::<i8>(buffer(data, 0)?, at, len)?, values::<i32>(buffer(data, 1)?, at, len)?);
        let children = || fields.iter().enumerate().map(|(index, (id, field))| (id, child(data, index, field.name(), field.data_type())));
        self.bytes(node, as_bytes(ids))?;
        let there = self.locate(as_bytes(places));
        if let Some(extent) = there {
            let untouched = self.only_shared(node, |plan| {
                plan.shared(node, extent);
                children().try_for_each(|(_, child)| child.and_then(|child| plan.child(child, 0, child.data.len())))
            })?;
            if untouched {
                return Ok(());
            }
        }
        let mut lens = [None; 128];
        for (id, child) in children() {
            *lens.get_mut(id as usize).ok_or_else(|| Fault::schema(format!("type id {id} is negative")))? = Some(child?.data.len());
        }
        let used = used_by_union(ids, places, &lens)?;
        let base: Box<[i32; 128]> = Box::new(std::array::from_fn(|id| used[id].0 as i32));
        let as_they_are = base.iter().all(|&base| base == 0);
        match there {
            Some(extent) if as_they_are => self.shared(node, extent),
            None if len == 0 => self.absent(node),
            _ if as_they_are => self.rewritten(node, Source::Bytes(as_bytes(places)), there.is_some())?,
            _ => self.rewritten(node, Source::Union { ids, offsets: places, base }, there.is_some())?,
        }
        for (id, child) in children() {
            let (first, end) = used[id as usize];
            self.child(child?, first, end - first)?;
        }
        Ok(())
    }

    /// Run-end encoding. Shared run ends stay as they are, with the number of the first row beside them.
    pub(super) fn run_ends<R: RunEnd>(&mut self, node: usize, data: &'a ArrayData, at: usize, len: usize, values_child: Child<'a, '_>) -> Step {
        let ends_data = data.child_data().first().ok_or_else(|| Fault::data("child `run_ends` is missing"))?;
        let all = values::<R>(buffer(ends_data, 0)?, ends_data.offset(), ends_data.len())?;
        let ends_at = |row: usize| all.partition_point(|end| end.to_usize().is_some_and(|end| end <= row));
        let (from, to) = if len == 0 { (0, 0) } else { (ends_at(at), ends_at(at + len - 1) + 1) };
        let Some(ends) = all.get(from..to) else {
            return Err(Fault::data(format!("the run ends do not reach row {}", at + len)).into());
        };
        let ends_node = self.bare_node(ends.len());
        self.absent(ends_node);
        match self.locate(as_bytes(ends)) {
            Some(extent) => {
                self.nodes[node].first = at as u64;
                self.shared(ends_node, extent);
            }
            None if len == 0 => self.absent(ends_node),
            None => self.rewritten(ends_node, R::cut(ends, at, len), false)?,
        }
        self.child(values_child, from, ends.len())
    }

    /// View arrays: views, and the data buffers that the longer ones point to.
    pub(super) fn views(&mut self, node: usize, data: &'a ArrayData, start: usize, len: usize) -> Step {
        let views = values::<u128>(buffer(data, 0)?, data.offset() + start, len)?;
        let texts = &data.buffers()[1..];
        let there = self.locate(as_bytes(views));
        if let Some(extent) = there {
            let untouched = self.only_shared(node, |plan| {
                plan.shared(node, extent);
                texts.iter().try_for_each(|text| plan.bytes(node, text.as_slice()))
            })?;
            if untouched {
                return Ok(());
            }
        }
        let used = used_by_views(views, texts.iter().map(|text| text.len()), |index| data.is_null(start + index))?;
        let to_copy = texts.iter().zip(&used.moved).filter(|(text, _)| self.locate(text.as_slice()).is_none());
        let to_copy: u64 = to_copy.map(|(_, moved)| moved.end.saturating_sub(u64::from(moved.start))).sum();
        // A filter leaves views that point to a few rows of large buffers: packing those is cheaper than copying the ranges.
        if let Some(len) = used.text.filter(|&text| 2 * u64::from(text) < to_copy) {
            let len = len as usize;
            self.rewritten(node, Source::PackedViews { views }, there.is_some())?;
            return self.rewritten(node, Source::PackedText { views, texts, len }, false);
        }
        match there {
            Some(extent) if used.as_they_are => self.shared(node, extent),
            None if len == 0 => self.absent(node),
            _ if used.as_they_are => self.rewritten(node, Source::Bytes(as_bytes(views)), there.is_some())?,
            _ => self.rewritten(node, Source::Views { views, moved: used.moved.clone() }, there.is_some())?,
        }
        for (text, moved) in texts.iter().zip(&used.moved).filter(|(_, moved)| moved.end > 0) {
            self.bytes(node, part(text, moved.start as usize, moved.end as usize - moved.start as usize)?)?;
        }
        Ok(())
    }
}

/// What list views use of their child.
struct UsedByLists {
    first: usize,
    last: usize,
    /// Whether the offsets can be sent without a change.
    as_they_are: bool,
}

fn used_by_lists<O: Offset>(starts: &[O], sizes: &[O], limit: usize) -> Step<UsedByLists> {
    let (mut first, mut last, mut highest_empty) = (usize::MAX, 0, 0);
    for (index, (start, size)) in starts.iter().zip(sizes).enumerate() {
        if *size == O::default() {
            highest_empty = highest_empty.max(start.to_usize().unwrap_or(usize::MAX));
            continue;
        }
        let end = start.to_usize().zip(size.to_usize()).and_then(|(start, size)| start.checked_add(size));
        let Some(end) = end.filter(|&end| end <= limit) else {
            return Err(Fault::data(format!("list {index} has {size:?} values from {start:?} on, and there are {limit}")).into());
        };
        first = first.min(start.as_usize());
        last = last.max(end);
    }
    let first = first.min(last);
    Ok(UsedByLists { first, last, as_they_are: first == 0 && highest_empty <= last })
}

/// What a dense union uses of the child of each type id: the first element and the one behind the last.
fn used_by_union(ids: &[i8], places: &[i32], lens: &[Option<usize>; 128]) -> Step<[(usize, usize); 128]> {
    let mut used = [(usize::MAX, 0); 128];
    for (index, (&id, &place)) in ids.iter().zip(places).enumerate() {
        let len = usize::try_from(id).ok().and_then(|id| lens[id]);
        match (len, usize::try_from(place)) {
            (Some(len), Ok(place)) if place < len => {
                let (first, end) = &mut used[id as usize];
                *first = place.min(*first);
                *end = (place + 1).max(*end);
            }
            (None, _) => return Err(Fault::data(format!("type id {id} at row {index} is none of the union's")).into()),
            (Some(len), _) => return Err(Fault::data(format!("offset {place} at row {index} is outside of {len} values")).into()),
        }
    }
    Ok(used.map(|(first, end)| (first.min(end), end)))
}

/// What views use of their data buffers.
struct UsedByViews {
    /// For each data buffer, where it goes; `end` is 0 for one that is not in use.
    moved: Vec<Moved>,
    /// Whether the views can be sent without a change.
    as_they_are: bool,
    /// The bytes of text that the views do not hold themselves, where they could be packed into one data buffer.
    text: Option<u32>,
}

const UNUSED: Moved = Moved { index: 0, start: u32::MAX, end: 0 };

fn used_by_views(views: &[u128], lens: impl Iterator<Item = usize>, is_null: impl Fn(usize) -> bool) -> Step<UsedByViews> {
    let lens: Vec<u64> = lens.map(|len| len as u64).collect();
    let (mut moved, mut as_they_are, text) = match ranges_of_views(views, &lens) {
        Some((moved, bytes)) => (moved, true, u32::try_from(bytes).ok()),
        None => {
            let (moved, as_they_are) = careful_ranges_of_views(views, &lens, is_null)?;
            (moved, as_they_are, None)
        }
    };
    let used = moved.iter_mut().enumerate().filter(|(_, used)| used.end > 0);
    for (next, (buffer, used)) in used.enumerate() {
        used.index = next as u32;
        as_they_are &= used.start == 0 && next == buffer;
    }
    Ok(UsedByViews { moved, as_they_are, text })
}

/// The ranges in use and the bytes of text, where every view points into a data buffer. Neighbours mostly share one, so its range is kept at
/// hand.
fn ranges_of_views(views: &[u128], lens: &[u64]) -> Option<(Vec<Moved>, u64)> {
    let mut moved = vec![UNUSED; lens.len()];
    let mut bytes = 0;
    let (mut at, mut range, mut limit) = (usize::MAX, UNUSED, u64::MAX);
    for &view in views {
        let (buffer, offset, len) = target(view);
        if len <= INLINE {
            continue;
        }
        if buffer != at {
            if range.end > limit {
                return None;
            }
            if let Some(left) = moved.get_mut(at) {
                *left = range;
            }
            (at, range, limit) = (buffer, *moved.get(buffer)?, lens[buffer]);
        }
        range.start = range.start.min(offset);
        range.end = range.end.max(u64::from(offset) + u64::from(len));
        bytes += u64::from(len);
    }
    if let Some(left) = moved.get_mut(at) {
        *left = range;
    }
    (range.end <= limit).then_some((moved, bytes))
}

/// The same where some view points nowhere. Others may leave anything in the views of null slots; the copy has an empty view there.
fn careful_ranges_of_views(views: &[u128], lens: &[u64], is_null: impl Fn(usize) -> bool) -> Step<(Vec<Moved>, bool)> {
    let mut moved = vec![UNUSED; lens.len()];
    let mut as_they_are = true;
    for (index, &view) in views.iter().enumerate().filter(|&(_, &view)| target(view).2 > INLINE) {
        let (buffer, offset, len) = target(view);
        let end = u64::from(offset) + u64::from(len);
        match moved.get_mut(buffer) {
            Some(used) if end <= lens[buffer] => {
                used.start = used.start.min(offset);
                used.end = used.end.max(end);
            }
            _ if is_null(index) => as_they_are = false,
            _ => return Err(Fault::data(format!("view {index} points to {offset}..{end} of buffer {buffer}, which is not there")).into()),
        }
    }
    Ok((moved, as_they_are))
}
