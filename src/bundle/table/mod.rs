//! The sorted string table of checkpoint files: `.index` of a V2 checkpoint, all of a V1 checkpoint.
//!
//! ```text
//! table     data_block* metaindex_block index_block footer
//! block     contents, compression: u8, masked CRC32C of contents and compression: u32
//! footer    metaindex: handle, index: handle, zeros up to 40 bytes, magic: u64
//! handle    offset: varint, size: varint
//! ```
//! An entry of the index block has a data block's handle under a key that is no less than the block's last key and
//! less than the next block's first. Numbers are little-endian.

mod block;
mod reader;
mod writer;

pub use reader::Table;
pub use writer::TableWriter;

use super::coding::{get_varint, put_varint};

/// Data blocks are closed once they have this size.
const BLOCK_SIZE: usize = 256 << 10;

/// Keys between two restarts in a data block.
const RESTART_INTERVAL: usize = 16;

const FOOTER_SIZE: usize = 48;
const TRAILER_SIZE: u64 = 5;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// How a table's blocks are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    None = 0,
    /// Compressed with Snappy where that saves an eighth.
    Snappy = 1,
}

/// Where a block's contents lie.
#[derive(Clone, Copy, Debug)]
struct BlockHandle {
    offset: u64,
    size: u64,
}

impl BlockHandle {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20);
        put_varint(&mut bytes, self.offset);
        put_varint(&mut bytes, self.size);
        bytes
    }

    fn decode(input: &mut &[u8]) -> Option<BlockHandle> {
        Some(BlockHandle { offset: get_varint(input)?, size: get_varint(input)? })
    }
}
