//! Looks over structs of the C data interface before arrow-rs reads them: lengths, counts, pointers that must be there, and how deep they go. It reads no
//! values, but the first and the last offset.

use std::ffi::CStr;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_data::layout;
use arrow_schema::{DataType, UnionMode};
use transom::exchange::{MAX_COLUMNS, MAX_DEPTH};
use transom::{Code, Error, Result};

use crate::entry::bad;

/// No buffer has more values: with values of the widest types it would not fit into an address space.
const MAX_LENGTH: i64 = 1 << 40;
/// Views may have many buffers each.
const MAX_BUFFERS: i64 = 1 << 20;

/// The caller's schema, once it is known to hold together.
///
/// # Errors
/// `BAD_ARGUMENT` where it is NULL or was released; `BAD_SCHEMA` where it does not hold together.
///
/// # Safety
/// `schema` is NULL or filled by the rules of the C data interface.
pub(crate) unsafe fn checked_schema<'a>(schema: *const FFI_ArrowSchema) -> Result<&'a FFI_ArrowSchema> {
    // SAFETY: the caller's promise.
    let schema = unsafe { schema.as_ref() }.ok_or_else(|| bad("the schema is NULL"))?;
    if schema.release.is_none() {
        return Err(bad("the schema was released already"));
    }
    // SAFETY: the caller's promise.
    unsafe { check_node(schema, 0) }?;
    Ok(schema)
}

/// # Safety
/// `schema` is filled by the rules of the C data interface.
unsafe fn check_node(schema: &FFI_ArrowSchema, depth: usize) -> Result<()> {
    let wrong = |what: &str| Err(Error::new(Code::BadSchema, format!("the schema does not hold together: {what}")));
    // The batch itself is one level.
    if depth > MAX_DEPTH + 1 {
        return Err(Error::new(Code::BadSchema, format!("types are nested in more than {MAX_DEPTH} levels")));
    }
    if schema.format.is_null() {
        return wrong("a format is NULL");
    }
    for text in [schema.format, schema.name].into_iter().filter(|text| !text.is_null()) {
        // SAFETY: the caller's promise: texts end with a zero byte.
        if unsafe { CStr::from_ptr(text) }.to_str().is_err() {
            return wrong("a format or a name is not UTF-8");
        }
    }
    if !(0..=MAX_COLUMNS as i64).contains(&schema.n_children) {
        return wrong(&format!("it has {} children", schema.n_children));
    }
    if schema.n_children > 0 && schema.children.is_null() {
        return wrong("its children are NULL");
    }
    for index in 0..schema.n_children as usize {
        // SAFETY: there are as many children, and the list is not NULL.
        let child = unsafe { schema.children.add(index).read().as_ref() };
        match child {
            // SAFETY: the caller's promise holds for children.
            Some(child) => unsafe { check_node(child, depth + 1) }?,
            None => return wrong(&format!("child {index} is NULL")),
        }
    }
    // SAFETY: the caller's promise holds for dictionaries.
    match unsafe { schema.dictionary.as_ref() } {
        // SAFETY: as above.
        Some(dictionary) => unsafe { check_node(dictionary, depth + 1) },
        None => Ok(()),
    }
}

/// Looks over an array of a type that was checked.
///
/// # Errors
/// `INVALID_DATA`.
///
/// # Safety
/// `array` is filled by the rules of the C data interface: its pointers point to as much as its counts say.
pub(crate) unsafe fn check_array(array: &FFI_ArrowArray, kind: &DataType) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { Node { array, kind }.check() }.map_err(|what| Error::new(Code::InvalidData, format!("the array does not hold together: {what}")))
}

struct Node<'a> {
    array: &'a FFI_ArrowArray,
    kind: &'a DataType,
}

impl Node<'_> {
    /// # Safety
    /// As [`check_array`].
    unsafe fn check(&self) -> Result<(), String> {
        let Node { array, kind } = self;
        for (what, count) in [("length", array.length), ("offset", array.offset)] {
            if !(0..=MAX_LENGTH).contains(&count) {
                return Err(format!("an array of {kind} has the {what} {count}"));
            }
        }
        if !(-1..=array.length).contains(&array.null_count) {
            return Err(format!("an array of {kind} has {} nulls in {} rows", array.null_count, array.length));
        }
        self.counts()?;
        if array.length == 0 {
            return Ok(());
        }
        // SAFETY: the caller's promise, and what the counts say is there.
        unsafe {
            self.views()?;
            let last = self.last_offset()?;
            self.children(last)
        }
    }

    /// The counts of buffers and children, and whether the lists of them are there.
    fn counts(&self) -> Result<(), String> {
        let Node { array, kind } = self;
        let layout = layout(kind);
        let buffers = layout.buffers.len() as i64 + i64::from(layout.can_contain_null_mask);
        // Views have a buffer of lengths at the end, and any number before it.
        let enough = if layout.variadic { (buffers + 1..=MAX_BUFFERS).contains(&array.n_buffers) } else { array.n_buffers == buffers };
        if !enough {
            return Err(format!("an array of {kind} has {} buffers", array.n_buffers));
        }
        if array.n_buffers > 0 && array.buffers.is_null() {
            return Err(format!("the buffers of an array of {kind} are NULL"));
        }
        let children = child_types(kind).len() as i64;
        if array.n_children != children {
            return Err(format!("an array of {kind} has {} children for {children}", array.n_children));
        }
        if children > 0 && array.children.is_null() {
            return Err(format!("the children of an array of {kind} are NULL"));
        }
        if matches!(kind, DataType::Dictionary(..)) == array.dictionary.is_null() {
            return Err(format!("an array of {kind} has {} dictionary", if array.dictionary.is_null() { "no" } else { "a" }));
        }
        Ok(())
    }

    /// # Safety
    /// As [`check_array`], and the counts were checked.
    unsafe fn views(&self) -> Result<(), String> {
        if !layout(self.kind).variadic || self.array.n_buffers <= 3 {
            return Ok(());
        }
        let lengths = self.array.buffer(self.array.num_buffers() - 1).cast::<i64>();
        if lengths.is_null() {
            return Err("the lengths of the buffers of views are NULL".to_owned());
        }
        for index in 0..self.array.num_buffers() - 3 {
            // SAFETY: the interface has a length for each buffer behind the first two and before the last.
            let length = unsafe { lengths.add(index).read_unaligned() };
            if !(0..=MAX_LENGTH).contains(&length) {
                return Err(format!("a buffer of views has {length} bytes"));
            }
        }
        Ok(())
    }

    /// What a child or the buffer of bytes must have at least, by the last offset.
    ///
    /// # Safety
    /// As [`check_array`], and the counts were checked, and there are rows.
    unsafe fn last_offset(&self) -> Result<Option<i64>, String> {
        let wide = match self.kind {
            DataType::Utf8 | DataType::Binary | DataType::List(_) | DataType::Map(..) => false,
            DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => true,
            _ => return Ok(None),
        };
        let offsets = self.array.buffer(1);
        if offsets.is_null() {
            return Err(format!("the offsets of an array of {} are NULL", self.kind));
        }
        // SAFETY: there is an offset for each row before and in the array, and one more.
        let at = |row: i64| unsafe {
            if wide {
                offsets.cast::<i64>().add(row as usize).read_unaligned()
            } else {
                offsets.cast::<i32>().add(row as usize).read_unaligned().into()
            }
        };
        let (first, last) = (at(self.array.offset), at(self.array.offset + self.array.length));
        if first < 0 || last < first || last > MAX_LENGTH {
            return Err(format!("the offsets of an array of {} go from {first} to {last}", self.kind));
        }
        Ok(Some(last))
    }

    /// # Safety
    /// As [`check_array`], and the counts were checked.
    unsafe fn children(&self, last: Option<i64>) -> Result<(), String> {
        let end = self.array.offset + self.array.length;
        let least = match self.kind {
            DataType::Struct(_) | DataType::Union(_, UnionMode::Sparse) => end,
            DataType::FixedSizeList(_, size) => end.checked_mul(i64::from(*size)).unwrap_or(i64::MAX),
            _ => last.unwrap_or(0),
        };
        for (index, kind) in child_types(self.kind).into_iter().enumerate() {
            // SAFETY: there are as many children, and the list is not NULL.
            let child = unsafe { self.array.children.add(index).read().as_ref() }.ok_or_else(|| format!("child {index} is NULL"))?;
            if child.is_released() {
                return Err(format!("child {index} was released, or was moved elsewhere"));
            }
            // SAFETY: the caller's promise holds for children.
            unsafe { Node { array: child, kind }.check() }?;
            if child.length < least {
                return Err(format!("a child of an array of {} has {} rows for {least}", self.kind, child.length));
            }
        }
        match self.kind {
            DataType::Dictionary(_, values) => {
                // SAFETY: the counts made sure that there is one; the caller's promise holds for it.
                unsafe { self.array.dictionary.as_ref().map_or(Ok(()), |array| Node { array, kind: values }.check()) }
            }
            _ => Ok(()),
        }
    }
}

fn child_types(kind: &DataType) -> Vec<&DataType> {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => vec![item.data_type()],
        DataType::ListView(item) | DataType::LargeListView(item) | DataType::Map(item, _) => vec![item.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}
