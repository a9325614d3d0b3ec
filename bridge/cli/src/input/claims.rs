//! What Arrow data says of its own size. Arrow's readers take as much memory as a message asks for before they look whether the message tells
//! the truth, and a program that asks for absurdly much is aborted. So the sizes are compared with the file here, or asked for in a way that can
//! fail.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use arrow_ipc::reader::read_footer_length;
use arrow_ipc::{Block, Buffer, Message, RecordBatch, root_as_footer, root_as_message};
use transom::{Error, Result};

use super::{Format, malformed, open, unreadable};

/// The bytes before a compressed buffer that say how long it will be.
const PREFIX: usize = 8;

/// Looks through a file's table of contents and the heads of its messages. What cannot be read at all is left to the reader, which says it better.
pub(super) fn check_file(path: &Path) -> Result<()> {
    let mut file = open(path)?;
    let length = file.metadata().map_err(|error| unreadable(path, error))?.len();
    let Some(footer) = footer(&mut file, length) else { return Ok(()) };
    let Ok(footer) = root_as_footer(&footer) else { return Ok(()) };
    for block in footer.dictionaries().into_iter().chain(footer.recordBatches()).flatten() {
        let (start, body) = within(block, length).ok_or_else(|| untrue(path, Format::Arrow))?;
        let Some(head) = bytes(&mut file, start, (body - start) as usize) else { continue };
        let head = if head.starts_with(&[0xff; 4]) { head.get(8..) } else { head.get(4..) };
        let Ok(message) = root_as_message(head.unwrap_or_default()) else { continue };
        let mut prefix = |offset| bytes(&mut file, body.checked_add(offset)?, PREFIX);
        if !can_be_unpacked(&message, &mut prefix) {
            return Err(untrue(path, Format::Arrow));
        }
    }
    Ok(())
}

fn footer(file: &mut File, length: u64) -> Option<Vec<u8>> {
    let end = length.checked_sub(10)?;
    let len = read_footer_length(bytes(file, end, 10)?.try_into().ok()?).ok()?;
    bytes(file, end.checked_sub(len as u64)?, len)
}

fn bytes(file: &mut File, at: u64, len: usize) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(at)).ok()?;
    take(file, len as u64).ok().flatten()
}

/// Where a block's message begins and where its body does, if all of it lies in the file.
fn within(block: &Block, length: u64) -> Option<(u64, u64)> {
    let start = u64::try_from(block.offset()).ok()?;
    let body = start.checked_add(u64::try_from(block.metaDataLength()).ok()?)?;
    let end = body.checked_add(u64::try_from(block.bodyLength()).ok()?)?;
    (end <= length).then_some((start, body))
}

/// Takes `len` bytes, as long as there are so many; memory that cannot be had is an error and not an end.
pub(super) fn take(source: &mut impl Read, len: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut taken = Vec::new();
    // And for a mark behind it.
    let room = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(8);
    taken.try_reserve_exact(room).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    source.take(len).read_to_end(&mut taken)?;
    Ok((taken.len() as u64 == len).then_some(taken))
}

/// Whether there is memory for what the compressed buffers of a message claim to hold; `prefix` reads the claim of the buffer at an offset. The
/// memory is asked for and given back untouched.
pub(super) fn can_be_unpacked(message: &Message<'_>, prefix: &mut dyn FnMut(u64) -> Option<Vec<u8>>) -> bool {
    let batch: Option<RecordBatch<'_>> =
        message.header_as_record_batch().or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
    let Some(batch) = batch.filter(|batch| batch.compression().is_some()) else { return true };
    batch.buffers().into_iter().flatten().all(|buffer: &Buffer| {
        let claim = u64::try_from(buffer.offset()).ok().filter(|_| buffer.length() >= PREFIX as i64).and_then(&mut *prefix);
        let claim = claim.and_then(|bytes| Some(i64::from_le_bytes(bytes.try_into().ok()?)));
        // -1 says that the buffer is not compressed; what is no number of bytes the reader refuses.
        claim.and_then(|claim| usize::try_from(claim).ok()).is_none_or(|claim| Vec::<u8>::new().try_reserve_exact(claim).is_ok())
    })
}

/// Something claims to be larger than it can be.
pub(super) fn untrue(path: &Path, format: Format) -> Error {
    malformed(path, format, "its content is damaged")
}
