//! Little-endian fields one after another, and a reader that believes nothing.

use crate::failure::{Code, Error, Result};

/// Bytes that most messages are not longer than.
const USUAL: usize = 256;

/// Writes fields to a packet.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Default for Writer {
    fn default() -> Self {
        Self { bytes: Vec::with_capacity(USUAL) }
    }
}

impl Writer {
    pub(super) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    pub(super) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(super) fn blob(&mut self, value: &[u8]) -> &mut Self {
        self.u64(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.blob(value.as_bytes())
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
        self
    }

    pub(super) fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.u32(values.len() as u32);
        for value in values {
            write(self, value);
        }
        self
    }
}

/// Reads fields from a packet; every length is checked against what is there.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| violation("a message ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("`take` gives as many bytes as asked for"))
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(violation(&format!("{other} stands where a message has yes or no"))),
        }
    }

    pub(super) fn blob(&mut self) -> Result<Vec<u8>> {
        let len = usize::try_from(self.u64()?).map_err(|_| violation("a length does not fit"))?;
        Ok(self.take(len)?.to_vec())
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.blob()?).map_err(|_| violation("a text is not UTF-8"))
    }

    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.u32()? as usize;
        // Each item takes a byte at least, so a count beyond that is a lie and would only cost memory.
        if count > self.rest.len() {
            return Err(violation("a list is longer than its message"));
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub(super) fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(violation("a message has bytes behind its end")) }
    }
}

/// What the other side sent breaks the protocol.
pub(super) fn violation(what: &str) -> Error {
    Error::new(Code::ProtocolViolation, what.to_owned())
}
