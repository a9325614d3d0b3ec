//! The wire form of a batch: nodes in the schema's order and the ranges of memory that they use. Fixed layout, little endian, no pointers.
//!
//! | part | fields |
//! | --- | --- |
//! | header, 16 bytes | rows u64, number of nodes u32, number of buffers u32 |
//! | each node, 32 bytes | len u64, null count u64, first u64, number of buffers u32, first bit of the validity u8, three zero bytes |
//! | each buffer, 24 bytes | segment u32, four zero bytes, offset u64, length u64 |
//!
//! Nodes stand in pre-order: a column, then its children. Each takes the next `number of buffers` buffers. A buffer that is not
//! there (no nulls, or no bytes) has segment 4294967295, offset 0 and length 0. `first` is where the values begin: a bit from 0 to 7 for
//! booleans, an element for run-end encoded arrays, 0 for all others. The offsets of an array without elements are not there either. Bytes that must be zero are flags to come: a reader
//! refuses what it does not know.

use arrow_schema::Schema;

use super::fault::Fault;
use super::schema::node_count;
use super::{MAX_BUFFERS, MAX_NODES, MAX_ROWS};
use crate::failure::{Code, Error, Result};
use crate::memory::Extent;

const HEADER: usize = 16;
const NODE: usize = 32;
const BUFFER: usize = 24;
const ABSENT: u32 = u32::MAX;

/// A record batch without its schema and without its bytes: lengths, and where the bytes lie.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Descriptor {
    pub(super) rows: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) buffers: Vec<Option<Extent>>,
}

/// One array: a column, or a child of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Node {
    pub(super) len: u64,
    /// For people and tools; an importer counts for itself.
    pub(super) null_count: u64,
    /// Where the values begin: a bit for booleans, an element for run-end encoded arrays, else 0.
    pub(super) first: u64,
    pub(super) buffers: u32,
    /// Where the validity begins in its first byte.
    pub(super) validity_bit: u8,
}

impl Descriptor {
    /// Bytes of the header, of a node and of a buffer entry. Host and worker compare them before anything else.
    pub const SIZES: [u32; 3] = [HEADER as u32, NODE as u32, BUFFER as u32];

    /// The number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Every range of memory that the descriptor names.
    pub fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.buffers.iter().flatten().copied()
    }

    /// The column that has a buffer around `at`.
    pub(crate) fn column_at(&self, schema: &Schema, at: &Extent) -> Option<usize> {
        let mut node = 0;
        let mut buffer = 0;
        for (column, field) in schema.fields().iter().enumerate() {
            let nodes = self.nodes.get(node..node + node_count(field.data_type()))?;
            node += nodes.len();
            let buffers: usize = nodes.iter().map(|node| node.buffers as usize).sum();
            if self.buffers.get(buffer..buffer + buffers)?.iter().flatten().any(|extent| extent.contains(at)) {
                return Some(column);
            }
            buffer += buffers;
        }
        None
    }

    /// The length of the wire form in bytes.
    pub fn encoded_len(&self) -> usize {
        HEADER + NODE * self.nodes.len() + BUFFER * self.buffers.len()
    }

    /// Appends the wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&(self.nodes.len() as u32).to_le_bytes());
        out.extend_from_slice(&(self.buffers.len() as u32).to_le_bytes());
        for node in &self.nodes {
            out.extend_from_slice(&node.len.to_le_bytes());
            out.extend_from_slice(&node.null_count.to_le_bytes());
            out.extend_from_slice(&node.first.to_le_bytes());
            out.extend_from_slice(&node.buffers.to_le_bytes());
            out.extend_from_slice(&[node.validity_bit, 0, 0, 0]);
        }
        for buffer in &self.buffers {
            let Extent { segment, offset, len } = buffer.unwrap_or(Extent { segment: ABSENT, offset: 0, len: 0 });
            out.extend_from_slice(&u64::from(segment).to_le_bytes());
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&len.to_le_bytes());
        }
    }

    /// Reads a wire form, which must fill `bytes` exactly. What it takes in memory is bounded by the length of `bytes`.
    ///
    /// # Errors
    /// `BAD_DESCRIPTOR` where the bytes are no descriptor, `BATCH_TOO_LARGE` where it has more than [`MAX_ROWS`] rows.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { rest: bytes };
        let rows = reader.u64()?;
        check_rows(rows)?;
        let (node_count, buffer_count) = (reader.u32()? as usize, reader.u32()? as usize);
        if node_count > MAX_NODES || buffer_count > MAX_BUFFERS {
            return Err(bad(format!("{node_count} arrays with {buffer_count} buffers, more than {MAX_NODES} or {MAX_BUFFERS}")));
        }
        let expected = NODE * node_count + BUFFER * buffer_count;
        if reader.rest.len() != expected {
            return Err(bad(format!("{} bytes follow the header where {expected} must", reader.rest.len())));
        }
        let nodes = (0..node_count).map(|_| reader.node()).collect::<Result<Vec<_>>>()?;
        let named: u64 = nodes.iter().map(|node| u64::from(node.buffers)).sum();
        if named != buffer_count as u64 {
            return Err(bad(format!("the arrays name {named} buffers and {buffer_count} follow")));
        }
        let buffers = (0..buffer_count).map(|_| reader.buffer()).collect::<Result<Vec<_>>>()?;
        Ok(Self { rows, nodes, buffers })
    }
}

/// Refuses a number of rows that no batch may have.
pub(super) fn check_rows(rows: u64) -> Result<()> {
    if rows <= MAX_ROWS {
        return Ok(());
    }
    let message = format!("the batch has {rows} rows, more than the {MAX_ROWS} that a batch may have");
    Err(Error::new(Code::BatchTooLarge, message).with_hint("send smaller batches"))
}

fn bad(what: impl Into<String>) -> Error {
    Fault::descriptor(what).whole()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| bad("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn node(&mut self) -> Result<Node> {
        let (len, null_count, first, buffers) = (self.u64()?, self.u64()?, self.u64()?, self.u32()?);
        match self.take()? {
            [validity_bit @ 0..=7, 0, 0, 0] => Ok(Node { len, null_count, first, buffers, validity_bit }),
            other => Err(bad(format!("an array has the unknown flags {other:?}"))),
        }
    }

    fn buffer(&mut self) -> Result<Option<Extent>> {
        let (segment, offset, len) = (self.u64()?, self.u64()?, self.u64()?);
        let segment = u32::try_from(segment).map_err(|_| bad(format!("a buffer has unknown flags, {segment:#x}")))?;
        match (segment, offset, len) {
            (ABSENT, 0, 0) => Ok(None),
            (ABSENT, ..) => Err(bad(format!("a buffer that is not there has offset {offset} and length {len}"))),
            _ => match offset.checked_add(len) {
                Some(end) if end <= isize::MAX as u64 => Ok(Some(Extent { segment, offset, len })),
                _ => Err(bad(format!("a buffer of {len} bytes at {offset} has no end"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Descriptor {
        let node = |len, buffers| Node { len, null_count: 1, first: 3, buffers, validity_bit: 7 };
        let extent = Extent { segment: 4, offset: 64, len: 12 };
        Descriptor { rows: 3, nodes: vec![node(3, 2), node(9, 1)], buffers: vec![None, Some(extent), Some(Extent { len: 0, ..extent })] }
    }

    fn encoded(descriptor: &Descriptor) -> Vec<u8> {
        let mut bytes = Vec::new();
        descriptor.encode(&mut bytes);
        bytes
    }

    #[test]
    fn the_wire_form_comes_back() {
        for descriptor in [Descriptor::default(), sample()] {
            let bytes = encoded(&descriptor);
            assert_eq!(bytes.len(), descriptor.encoded_len());
            assert_eq!(Descriptor::decode(&bytes).unwrap(), descriptor);
        }
    }

    #[test]
    fn every_shorter_or_longer_form_is_refused() {
        let mut bytes = encoded(&sample());
        for end in 0..bytes.len() {
            assert_eq!(Descriptor::decode(&bytes[..end]).unwrap_err().code(), Code::BadDescriptor, "cut at {end}");
        }
        bytes.push(0);
        assert_eq!(Descriptor::decode(&bytes).unwrap_err().code(), Code::BadDescriptor);
    }

    #[test]
    fn a_changed_byte_is_refused_or_comes_back_as_itself() {
        let bytes = encoded(&sample());
        for (at, value) in (0..bytes.len()).flat_map(|at| [1, 2, 4, 0x80, 0xff].map(|flip| (at, flip))) {
            let mut changed = bytes.clone();
            changed[at] ^= value;
            if let Ok(descriptor) = Descriptor::decode(&changed) {
                assert_eq!(encoded(&descriptor), changed, "byte {at} xor {value:#x}");
            }
        }
    }

    #[test]
    fn too_many_rows_have_their_own_code() {
        let descriptor = Descriptor { rows: MAX_ROWS + 1, ..Descriptor::default() };
        assert_eq!(Descriptor::decode(&encoded(&descriptor)).unwrap_err().code(), Code::BatchTooLarge);
        assert!(Descriptor::decode(&encoded(&Descriptor { rows: MAX_ROWS, ..Descriptor::default() })).is_ok());
    }
}
