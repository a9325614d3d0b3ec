//! Arrow streams, one message at a time: Arrow's own reader believes the lengths in them.

use std::io::{BufReader, Read};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::root_as_message;
use arrow_schema::{ArrowError, SchemaRef};

use super::claims::{can_be_unpacked, take};

/// Marks the beginning of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// A stream whose schema was read.
pub(super) struct StreamReader {
    source: BufReader<Box<dyn Read + Send>>,
    decoder: StreamDecoder,
    schema: SchemaRef,
    over: bool,
}

impl StreamReader {
    /// Reads up to the schema.
    pub(super) fn try_new(source: Box<dyn Read + Send>) -> Result<Self, ArrowError> {
        let mut source = BufReader::with_capacity(1 << 20, source);
        let mut decoder = StreamDecoder::new();
        let first = message(&mut source)?.ok_or_else(truncated)?;
        if decode(&mut decoder, first)?.is_some() {
            return Err(ArrowError::IpcError("a batch comes before the schema".to_owned()));
        }
        let schema = decoder.schema().ok_or_else(|| ArrowError::IpcError("it does not begin with a schema".to_owned()))?;
        Ok(Self { source, decoder, schema, over: false })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn step(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        while let Some(message) = message(&mut self.source)? {
            if let Some(batch) = decode(&mut self.decoder, message)? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

impl Iterator for StreamReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let step = self.step().transpose();
        self.over = !matches!(step, Some(Ok(_)));
        step
    }
}

/// A message as it lies in the stream.
struct Message {
    /// Its length and what describes it, without the mark.
    head: Vec<u8>,
    body: Vec<u8>,
}

/// The next message. None at the end, which a mark or the end of the bytes says.
fn message(source: &mut impl Read) -> Result<Option<Message>, ArrowError> {
    let Some(mark) = take(source, 4)?.filter(|mark| !mark.is_empty()) else { return Ok(None) };
    if mark != CONTINUATION {
        return Err(ArrowError::IpcError("a message does not begin like one".to_owned()));
    }
    // The mark of the end may come without the zeros behind it.
    let Some(mut head) = take(source, 4)? else { return Ok(None) };
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if len == 0 {
        return Ok(None);
    }
    head.extend(take(source, len.into())?.ok_or_else(truncated)?);
    let message = root_as_message(&head[4..]).map_err(|error| ArrowError::ParseError(format!("a message cannot be read: {error}")))?;
    let len = u64::try_from(message.bodyLength()).map_err(|_| ArrowError::IpcError("a message's length is negative".to_owned()))?;
    let body = take(source, len)?.ok_or_else(truncated)?;
    let mut prefix = |offset: u64| body.get(usize::try_from(offset).ok()?..)?.get(..8).map(<[u8]>::to_vec);
    if !can_be_unpacked(&message, &mut prefix) {
        return Err(ArrowError::IpcError("its content is damaged".to_owned()));
    }
    Ok(Some(Message { head, body }))
}

/// Gives a message to the decoder. The body comes alone, so that its buffers begin where they may, and with the next message's mark behind it:
/// the decoder looks at a message without a body only when more comes.
fn decode(decoder: &mut StreamDecoder, Message { head, mut body }: Message) -> Result<Option<RecordBatch>, ArrowError> {
    body.extend(CONTINUATION);
    decoder.decode(&mut Buffer::from_vec(head))?;
    decoder.decode(&mut Buffer::from_vec(body))
}

fn truncated() -> ArrowError {
    let error = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    ArrowError::IoError(error.to_string(), error)
}
