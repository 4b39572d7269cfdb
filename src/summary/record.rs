//! Records (TFRecord): a length, the bytes, and a checksum of each.
//!
//! ```text
//! u64 little-endian   length of the bytes
//! u32 little-endian   masked CRC-32C of the length's 8 bytes
//! bytes
//! u32 little-endian   masked CRC-32C of the bytes
//! ```

use crate::bundle::{mask, unmask};
use crate::error::{Error, Result, bail};
use crate::proto::Event;
use prost::Message;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::Path;

/// Writes records.
pub struct RecordWriter<W: Write> {
    out: W,
}

impl<W: Write> RecordWriter<W> {
    /// A writer of records.
    pub fn new(out: W) -> RecordWriter<W> {
        RecordWriter { out }
    }

    /// Writes one record.
    ///
    /// # Errors
    /// What writing returns.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let length = (bytes.len() as u64).to_le_bytes();
        let mut head = length.to_vec();
        head.extend(mask(crc32c::crc32c(&length)).to_le_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(bytes)?;
        self.out.write_all(&mask(crc32c::crc32c(bytes)).to_le_bytes())?;
        Ok(())
    }

    /// Hands all on to the file.
    ///
    /// # Errors
    /// What flushing returns.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Reads records, one after the other.
pub struct RecordReader<R: Read> {
    input: R,
    offset: u64,
}

impl<R: Read> RecordReader<R> {
    /// A reader of records.
    pub fn new(input: R) -> RecordReader<R> {
        RecordReader { input, offset: 0 }
    }

    /// The next record, none at the end.
    ///
    /// # Errors
    /// `DataLoss` for a record that is cut off or whose checksums don't fit, with its place.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let start = self.offset;
        let place = |what: &str| Error::data_loss(format!("{what} at offset {start}"));
        let mut head = [0u8; 12];
        match self.read(&mut head)? {
            0 => return Ok(None),
            12 => {}
            _ => return Err(place("truncated record")),
        }
        let (length, crc) = head.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        if unmask(number(crc) as u32) != crc32c::crc32c(length) {
            return Err(place("corrupted record: the checksum of its length does not fit"));
        }
        let length = number(length);
        let mut bytes = Vec::new();
        let got = (&mut self.input).take(length).read_to_end(&mut bytes)?;
        self.offset += got as u64;
        let mut crc = [0u8; 4];
        if got as u64 != length || self.read(&mut crc)? != 4 {
            return Err(place("truncated record"));
        }
        if unmask(u32::from_le_bytes(crc)) != crc32c::crc32c(&bytes) {
            return Err(place("corrupted record: the checksum of its bytes does not fit"));
        }
        Ok(Some(bytes))
    }

    /// Reads as much as there is, and returns how much that was.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }
}

/// The events of a file, in order. After an error there are no more.
pub struct EventIterator {
    reader: Option<RecordReader<BufReader<File>>>,
    path: String,
}

/// Reads the events of a file (`tf.train.summary_iterator`).
///
/// # Errors
/// `NotFound` where there is no such file.
pub fn summary_iterator(path: impl AsRef<Path>) -> Result<EventIterator> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|e| Error::from(e).within(path.display().to_string()))?;
    Ok(EventIterator { reader: Some(RecordReader::new(BufReader::new(file))), path: path.display().to_string() })
}

impl EventIterator {
    fn event(&mut self) -> Result<Option<Event>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let offset = reader.offset;
        let Some(bytes) = reader.next()? else { return Ok(None) };
        match Event::decode(bytes::Bytes::from(bytes)) {
            Ok(event) => Ok(Some(event)),
            Err(e) => bail!(DataLoss, "the record at offset {offset} is no event: {e}"),
        }
    }
}

impl Iterator for EventIterator {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        let event = self.event().map_err(|e| e.within(self.path.clone())).transpose();
        if !matches!(event, Some(Ok(_))) {
            self.reader = None;
        }
        event
    }
}
