//! Reading a table.

use super::block::{BadBlock, BlockCursor};
use super::{BlockHandle, Compression, FOOTER_SIZE, MAGIC, RESTART_INTERVAL, TRAILER_SIZE};
use crate::bundle::coding::{get_fixed32, unmask};
use crate::bundle::file::ReadFile;
use crate::error::{Error, Result, bail};
use bytes::Bytes;
use std::path::Path;

/// Snappy's densest element is 3 bytes for a copy of 64.
const SNAPPY_MAX_RATIO: usize = 22;

/// A table opened for reading. Only the index is held in memory.
pub struct Table {
    file: ReadFile,
    /// For each data block the upper bound of its keys, and its place.
    index: Vec<(Vec<u8>, BlockHandle)>,
}

impl Table {
    /// Opens a table.
    ///
    /// # Errors
    /// `NotFound` if there is no such file; `DataLoss` if it isn't a table or its index is corrupt.
    pub fn open(path: impl AsRef<Path>) -> Result<Table> {
        let file = ReadFile::open(path.as_ref())?;
        let Some(start) = file.len().checked_sub(FOOTER_SIZE as u64) else {
            return Err(place(Error::data_loss("file is too short to be an sstable"), &file, 0));
        };
        let footer = file.read_range(start, FOOTER_SIZE as u64)?;
        let fail = |sentence: &str| place(Error::data_loss(sentence), &file, start);
        if footer[FOOTER_SIZE - 8..] != MAGIC.to_le_bytes() {
            return Err(fail("not an sstable (bad magic number)"));
        }
        let mut input = &footer[..FOOTER_SIZE - 8];
        let handles = (BlockHandle::decode(&mut input), BlockHandle::decode(&mut input));
        let (Some(_), Some(handle)) = handles else { return Err(fail("bad block handle")) };
        let block = read_block(&file, handle)?;
        let mut index: Vec<(Vec<u8>, BlockHandle)> = Vec::new();
        let mut budget = KeyBudget::new(&file, block.len());
        walk(&file, handle, &block, |key, value| {
            budget.take(key)?;
            if index.last().is_some_and(|(last, _)| key <= &last[..]) {
                bail!(DataLoss, "the keys of the index don't increase");
            }
            match BlockHandle::decode(&mut &value[..]) {
                Some(handle) => index.push((key.to_vec(), handle)),
                None => bail!(DataLoss, "bad block handle"),
            }
            Ok(true)
        })
        .map_err(|e| place(e, &file, handle.offset))?;
        Ok(Table { file, index })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The value of a key. Reads one block.
    ///
    /// # Errors
    /// `DataLoss` if the block is corrupt.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let i = self.index.partition_point(|(last, _)| &last[..] < key);
        let Some((_, handle)) = self.index.get(i) else { return Ok(None) };
        let block = read_block(&self.file, *handle)?;
        let mut found = None;
        walk(&self.file, *handle, &block, |k, value| {
            if k == key {
                found = Some(block.slice_ref(value));
            }
            Ok(k < key)
        })?;
        Ok(found)
    }

    /// All entries, in the order of their keys. Reads all blocks.
    ///
    /// # Errors
    /// `DataLoss` if a block is corrupt, keys don't increase, or they expand to more than a table can hold.
    pub fn entries(&self) -> Result<Vec<(Box<[u8]>, Bytes)>> {
        let mut entries: Vec<(Box<[u8]>, Bytes)> = Vec::new();
        for (_, handle) in &self.index {
            let block = read_block(&self.file, *handle)?;
            let mut budget = KeyBudget::new(&self.file, block.len());
            walk(&self.file, *handle, &block, |key, value| {
                budget.take(key)?;
                if entries.last().is_some_and(|(last, _)| key <= &last[..]) {
                    bail!(DataLoss, "the keys of the table don't increase");
                }
                entries.push((key.into(), block.slice_ref(value)));
                Ok(true)
            })
            .map_err(|e| place(e, &self.file, handle.offset))?;
        }
        Ok(entries)
    }
}

/// Bounds what the keys of one block, which share prefixes, expand to. In a table with restarts every 16 keys, no key
/// is longer than the stored bytes since the restart, so all together have at most 16 times the block's.
struct KeyBudget<'a> {
    file: &'a ReadFile,
    left: usize,
}

impl<'a> KeyBudget<'a> {
    fn new(file: &'a ReadFile, block: usize) -> KeyBudget<'a> {
        KeyBudget { file, left: block.saturating_mul(RESTART_INTERVAL) }
    }

    fn take(&mut self, key: &[u8]) -> Result<()> {
        match self.left.checked_sub(key.len()) {
            Some(left) => self.left = left,
            None => bail!(DataLoss, "the keys of a block of {} expand too far", self.file.path().display()),
        }
        Ok(())
    }
}

fn place(error: Error, file: &ReadFile, offset: u64) -> Error {
    error.within(format!("{} at offset {offset}", file.path().display()))
}

/// Calls `visit` with key and value of each entry until it returns false.
fn walk<'a>(
    file: &ReadFile,
    handle: BlockHandle,
    block: &'a [u8],
    mut visit: impl FnMut(&[u8], &'a [u8]) -> Result<bool>,
) -> Result<()> {
    let bad = |BadBlock(at): BadBlock| {
        place(Error::data_loss(format!("bad entry in block, {at} bytes from its start")), file, handle.offset)
    };
    let mut cursor = BlockCursor::new(block).map_err(bad)?;
    while cursor.advance().map_err(bad)? {
        if !visit(cursor.key(), cursor.value())? {
            break;
        }
    }
    Ok(())
}

/// Reads a block, verifies its checksum and undoes its compression.
fn read_block(file: &ReadFile, handle: BlockHandle) -> Result<Bytes> {
    let fail = |sentence: String| place(Error::data_loss(sentence), file, handle.offset);
    let whole = handle.size.checked_add(TRAILER_SIZE).filter(|&n| file.check_range(handle.offset, n).is_ok());
    let Some(whole) = whole else {
        return Err(fail(format!("truncated block read: {} bytes in a file of {}", handle.size, file.len())));
    };
    let mut bytes = file.read_range(handle.offset, whole)?;
    let size = bytes.len() - TRAILER_SIZE as usize;
    let kind = bytes[size];
    let stored = unmask(get_fixed32(&mut &bytes[size + 1..]).unwrap_or_default());
    let actual = crc32c::crc32c(&bytes[..=size]);
    if stored != actual {
        return Err(fail(format!("block checksum mismatch: expected {stored:#010x}, got {actual:#010x}")));
    }
    bytes.truncate(size);
    if kind == Compression::None as u8 {
        return Ok(bytes.into());
    }
    if kind != Compression::Snappy as u8 {
        return Err(fail(format!("bad block type: expected 0 or 1, got {kind}")));
    }
    let corrupt = |reason: String| fail(format!("corrupted compressed block contents: {reason}"));
    match snap::raw::decompress_len(&bytes) {
        Ok(length) if length > size.saturating_mul(SNAPPY_MAX_RATIO) => {
            Err(corrupt(format!("{size} bytes can't expand to {length}")))
        }
        Ok(_) => Ok(snap::raw::Decoder::new().decompress_vec(&bytes).map_err(|e| corrupt(e.to_string()))?.into()),
        Err(e) => Err(corrupt(e.to_string())),
    }
}
