//! One block of a table: sorted entries that share prefixes.
//!
//! ```text
//! entry     shared: varint32, unshared: varint32, value_length: varint32, key[unshared], value[value_length]
//! block     entry* restart: u32* count_of_restarts: u32
//! ```
//! A key is the first `shared` bytes of the one before it and its own `unshared` bytes. Every so many entries, and at
//! the first, `shared` is 0 and a restart holds the entry's offset.

use crate::bundle::coding::{get_varint32, put_varint};

/// Collects the entries of one block.
pub(super) struct BlockBuilder {
    buffer: Vec<u8>,
    restarts: Vec<u32>,
    interval: usize,
    since_restart: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    pub fn new(interval: usize) -> BlockBuilder {
        BlockBuilder { buffer: Vec::new(), restarts: vec![0], interval, since_restart: 0, last_key: Vec::new() }
    }

    /// Adds an entry; the key must be greater than the last.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut shared = 0;
        if self.since_restart < self.interval {
            shared = common_prefix(&self.last_key, key);
        } else {
            self.restarts.push(self.buffer.len() as u32);
            self.since_restart = 0;
        }
        for length in [shared, key.len() - shared, value.len()] {
            put_varint(&mut self.buffer, length as u64);
        }
        self.buffer.extend_from_slice(&key[shared..]);
        self.buffer.extend_from_slice(value);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.since_restart += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The size that the block would have now.
    pub fn size(&self) -> usize {
        self.buffer.len() + 4 * self.restarts.len() + 4
    }

    /// The block's bytes; the builder is empty afterwards.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut block = std::mem::take(&mut self.buffer);
        for restart in &self.restarts {
            block.extend_from_slice(&restart.to_le_bytes());
        }
        block.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        *self = BlockBuilder::new(self.interval);
        block
    }
}

/// The number of bytes that both start with.
pub(super) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Walks the entries of a block. The key is kept in one buffer, as keys may expand to more than the block.
pub(super) struct BlockCursor<'a> {
    entries: &'a [u8],
    position: usize,
    key: Vec<u8>,
    value: (usize, usize),
}

/// The bytes aren't a block; holds the offset in the block at which that shows.
#[derive(Debug)]
pub(super) struct BadBlock(pub usize);

impl<'a> BlockCursor<'a> {
    pub fn new(block: &'a [u8]) -> Result<BlockCursor<'a>, BadBlock> {
        let bad = BadBlock(block.len());
        let Some((rest, count)) = block.split_last_chunk::<4>() else { return Err(bad) };
        let restarts = (u32::from_le_bytes(*count) as usize).checked_mul(4);
        let Some(end) = restarts.and_then(|r| rest.len().checked_sub(r)) else { return Err(bad) };
        Ok(BlockCursor { entries: &rest[..end], position: 0, key: Vec::new(), value: (0, 0) })
    }

    /// Steps to the next entry; false at the end.
    pub fn advance(&mut self) -> Result<bool, BadBlock> {
        let bad = BadBlock(self.position);
        let mut rest = &self.entries[self.position..];
        if rest.is_empty() {
            return Ok(false);
        }
        let lengths = (get_varint32(&mut rest), get_varint32(&mut rest), get_varint32(&mut rest));
        let (Some(shared), Some(unshared), Some(value)) = lengths else { return Err(bad) };
        if shared > self.key.len() || unshared > rest.len() || value > rest.len() - unshared {
            return Err(bad);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(&rest[..unshared]);
        let start = self.entries.len() - rest.len() + unshared;
        self.value = (start, start + value);
        self.position = start + value;
        Ok(true)
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn value(&self) -> &'a [u8] {
        &self.entries[self.value.0..self.value.1]
    }
}
