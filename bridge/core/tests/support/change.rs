//! Changes to a descriptor, or to the memory that it names: what a peer with a defect may send.

/// Numbers at which arithmetic and limits turn.
pub const INTERESTING: [u64; 12] = [0, 1, 7, 8, 255, 0x7fff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 47, i64::MAX as u64, u64::MAX];

/// One change, in a form that shrinks.
#[derive(Clone, Debug)]
pub struct Change {
    /// In what the descriptor names, or in the descriptor.
    pub content: bool,
    /// Which buffer, where the content is changed.
    pub at: u16,
    /// Which field of it.
    pub within: u16,
    /// The field's width in bytes, at most 8.
    pub width: usize,
    pub value: Value,
}

/// What becomes of a field.
#[derive(Clone, Debug)]
pub enum Value {
    Set(u64),
    Add(i8),
    Flip(u8),
    /// The value of another field.
    From(u16),
}

impl Change {
    /// Does it to these bytes, where they are long enough.
    pub fn apply(&self, bytes: &mut [u8]) {
        let width = self.width;
        if bytes.len() < width {
            return;
        }
        // Mostly whole fields: they are aligned.
        let place = |index: u16| usize::from(index) % (bytes.len() / width) * width;
        let at = place(self.within);
        let read = |at: usize| bytes[at..at + width].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
        let value = match self.value {
            Value::Set(value) => value,
            Value::Add(by) => read(at).wrapping_add_signed(i64::from(by)),
            Value::Flip(bit) => read(at) ^ 1 << (usize::from(bit) % (8 * width)),
            Value::From(index) => read(place(index)),
        };
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }
}
