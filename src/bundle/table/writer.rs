//! Writing a table.

use super::block::{BlockBuilder, common_prefix};
use super::{BLOCK_SIZE, BlockHandle, Compression, FOOTER_SIZE, MAGIC, RESTART_INTERVAL};
use crate::bundle::coding::mask;
use crate::error::{Result, bail};
use std::io::Write;

/// Writes a sorted string table with TensorFlow's block size (256 KiB) and restart interval (16), so that the same
/// entries give the same bytes.
///
/// ```
/// use metagraph::bundle::table::{Compression, TableWriter};
/// let mut bytes = Vec::new();
/// let mut table = TableWriter::new(&mut bytes, Compression::None);
/// table.add(b"a", b"1")?;
/// table.add(b"b", b"2")?;
/// table.finish()?;
/// assert_eq!(bytes.len(), 103);
/// # Ok::<(), metagraph::Error>(())
/// ```
pub struct TableWriter<W: Write> {
    out: W,
    offset: u64,
    compression: Compression,
    data: BlockBuilder,
    index: BlockBuilder,
    last_key: Option<Vec<u8>>,
    /// A finished block, whose index entry waits for the first key behind it.
    pending: Option<BlockHandle>,
}

impl<W: Write> TableWriter<W> {
    /// A table that is to be written to `out`.
    pub fn new(out: W, compression: Compression) -> TableWriter<W> {
        TableWriter {
            out,
            offset: 0,
            compression,
            data: BlockBuilder::new(RESTART_INTERVAL),
            index: BlockBuilder::new(1),
            last_key: None,
            pending: None,
        }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// `InvalidArgument` if the key isn't greater than the one before or the entry is 2 GiB or more; what `out` gives.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let size = key.len().saturating_add(value.len());
        if size >= i32::MAX as usize {
            bail!(InvalidArgument, "a table's entry may have less than 2 GiB, got {size} bytes");
        }
        if let Some(last) = self.last_key.as_ref().filter(|last| key <= &last[..]) {
            bail!(InvalidArgument, "a table's keys must increase, got {key:?} after {last:?}");
        }
        if let Some(last) = self.last_key.take() {
            if size >= 2 * BLOCK_SIZE {
                self.flush()?;
            }
            if let Some(handle) = self.pending.take() {
                self.index.add(&shortest_separator(&last, key), &handle.encode());
            }
        }
        self.data.add(key, value);
        self.last_key = Some(key.to_vec());
        if self.data.size() >= BLOCK_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.data.is_empty() {
            let block = self.data.finish();
            self.pending = Some(self.write_block(&block)?);
        }
        Ok(())
    }

    fn write_block(&mut self, raw: &[u8]) -> Result<BlockHandle> {
        if self.compression == Compression::Snappy
            && let Ok(compressed) = snap::raw::Encoder::new().compress_vec(raw)
            && compressed.len() < raw.len() - raw.len() / 8
        {
            return self.write_raw_block(&compressed, Compression::Snappy);
        }
        self.write_raw_block(raw, Compression::None)
    }

    fn write_raw_block(&mut self, contents: &[u8], kind: Compression) -> Result<BlockHandle> {
        let handle = BlockHandle { offset: self.offset, size: contents.len() as u64 };
        let kind = [kind as u8];
        let crc = crc32c::crc32c_append(crc32c::crc32c(contents), &kind);
        self.write(contents)?;
        self.write(&kind)?;
        self.write(&mask(crc).to_le_bytes())?;
        Ok(handle)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is left, the index and the footer, and returns the writer.
    ///
    /// # Errors
    /// What `out` gives.
    pub fn finish(mut self) -> Result<W> {
        self.flush()?;
        let metaindex = BlockBuilder::new(RESTART_INTERVAL).finish();
        let metaindex = self.write_block(&metaindex)?;
        if let Some(handle) = self.pending.take() {
            let key = short_successor(self.last_key.as_deref().unwrap_or_default());
            self.index.add(&key, &handle.encode());
        }
        let index = self.index.finish();
        let index = self.write_block(&index)?;
        let mut footer = metaindex.encode();
        footer.extend_from_slice(&index.encode());
        footer.resize(FOOTER_SIZE - 8, 0);
        footer.extend_from_slice(&MAGIC.to_le_bytes());
        self.write(&footer)?;
        Ok(self.out)
    }
}

/// A short key that is at least `start` and less than `limit`.
fn shortest_separator(start: &[u8], limit: &[u8]) -> Vec<u8> {
    let shared = common_prefix(start, limit);
    if let (Some(&byte), Some(&bound)) = (start.get(shared), limit.get(shared))
        && byte < 0xff
        && byte + 1 < bound
    {
        let mut key = start[..=shared].to_vec();
        key[shared] += 1;
        return key;
    }
    start.to_vec()
}

/// A short key that is at least `key`.
fn short_successor(key: &[u8]) -> Vec<u8> {
    match key.iter().position(|&b| b != 0xff) {
        Some(i) => {
            let mut short = key[..=i].to_vec();
            short[i] += 1;
            short
        }
        None => key.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_keys_are_short() {
        let table: &[(&[u8], &[u8], &[u8])] = &[
            (b"the quick brown fox", b"the who", b"the r"),
            (b"abc", b"abd", b"abc"),
            (b"abc", b"abcd", b"abc"),
            (b"a\xff", b"b", b"a\xff"),
            (b"", b"a", b""),
        ];
        for &(start, limit, expected) in table {
            assert_eq!(shortest_separator(start, limit), expected);
        }
        assert_eq!(short_successor(b"\xff\xffa\x01"), b"\xff\xffb");
        assert_eq!(short_successor(b"\xff\xff"), b"\xff\xff");
        assert_eq!(short_successor(b""), b"");
    }
}
