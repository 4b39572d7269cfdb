//! The bytes of tensors in data files, and their checksums.

use super::coding::{get_fixed32, get_varint, mask, put_varint, unmask};
use super::file::{ReadFile, TempFile};
use super::runs::Runs;
use crate::compute::pool::{parallel_for, parallel_pieces};
use crate::error::{Result, bail};
use bytes::Bytes;
use crc32c::{crc32c, crc32c_append, crc32c_combine};
use std::sync::{Mutex, PoisonError};

/// Bytes that are read or written and summed at a time, so that the sum finds them in the cache.
const CHUNK: usize = 256 << 10;

/// Tensors of at least this many bytes are written without a copy.
const DIRECT: usize = 32 << 10;

/// A thread is worth its start from this many bytes on.
const PER_THREAD: usize = 2 << 20;

/// Appends to a data file. Small pieces are gathered, large ones go straight to the file.
pub(super) struct DataWriter {
    file: TempFile,
    buffer: Vec<u8>,
    /// The number of bytes so far, those in the buffer included.
    position: u64,
}

impl DataWriter {
    pub fn new(file: TempFile) -> DataWriter {
        DataWriter { file, buffer: Vec::with_capacity(CHUNK), position: 0 }
    }

    /// The number of bytes so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Appends bytes and extends a checksum by them.
    pub fn append(&mut self, bytes: &[u8], crc: u32) -> Result<u32> {
        if self.buffer.len() + bytes.len() > CHUNK || bytes.len() >= DIRECT {
            self.flush()?;
        }
        let start = self.position;
        self.position += bytes.len() as u64;
        if bytes.len() < DIRECT {
            self.buffer.extend_from_slice(bytes);
            return Ok(crc32c_append(crc, bytes));
        }
        self.file.reserve(start, bytes.len() as u64);
        let parts = Parts::default();
        parallel_for(bytes.len().div_ceil(CHUNK), PER_THREAD / CHUNK, |chunks| {
            let (from, to) = (chunks.start * CHUNK, (chunks.end * CHUNK).min(bytes.len()));
            parts.add(from, to - from, write_part(&self.file, &bytes[from..to], start + from as u64));
        });
        parts.sum(crc)
    }

    /// Appends zeros up to a multiple of `alignment`.
    pub fn pad(&mut self, alignment: u64) -> Result<()> {
        let mut left = self.position.next_multiple_of(alignment) - self.position;
        while left > 0 {
            let count = left.min(CHUNK as u64) as usize;
            self.append(&vec![0; count], 0)?;
            left -= count as u64;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let start = self.position - self.buffer.len() as u64;
        self.file.reserve(start, self.buffer.len() as u64);
        self.file.write_all_at(&self.buffer, start)?;
        self.buffer.clear();
        Ok(())
    }

    /// The file with everything in it, not yet under its name.
    pub fn finish(mut self, sync: bool) -> Result<TempFile> {
        self.flush()?;
        self.file.close(sync)?;
        Ok(self.file)
    }

    /// Appends strings and returns their checksum.
    ///
    /// ```text
    /// length: varint ... masked CRC32C of the lengths: u32, bytes ...
    /// ```
    /// The checksums take a length as u32, or as u64 where it needs that; the tensor's goes over the lengths, the
    /// lengths' checksum as it is stored, and the bytes.
    pub fn append_strings(&mut self, strings: &[Bytes]) -> Result<u32> {
        let mut lengths = Vec::with_capacity(strings.len());
        let mut crc = 0;
        for string in strings {
            put_varint(&mut lengths, string.len() as u64);
            crc = append_length(crc, string.len() as u64);
        }
        let stored = mask(crc).to_le_bytes();
        self.append(&lengths, 0)?;
        crc = self.append(&stored, crc)?;
        for string in strings {
            crc = self.append(string, crc)?;
        }
        Ok(crc)
    }
}

/// Four-bit elements, one a byte, as files have them: the upper half is zero.
pub(super) fn pack_int4(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|b| b & 0x0f).collect()
}

/// Four-bit elements as tensors have them: signed ones extended to the byte.
pub(super) fn unpack_int4(bytes: &mut [u8], signed: bool) {
    for byte in bytes {
        *byte = if signed { ((*byte << 4) as i8 >> 4) as u8 } else { *byte & 0x0f };
    }
}

fn append_length(crc: u32, length: u64) -> u32 {
    match u32::try_from(length) {
        Ok(short) => crc32c_append(crc, &short.to_le_bytes()),
        Err(_) => crc32c_append(crc, &length.to_le_bytes()),
    }
}

/// Checksums of parts that threads read or write: where each begins, its length, its sum.
#[derive(Default)]
struct Parts(Mutex<Vec<(usize, usize, Result<u32>)>>);

impl Parts {
    fn add(&self, at: usize, len: usize, crc: Result<u32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((at, len, crc));
    }

    /// The checksum that begins with `crc` and goes on with all parts, or the error of the first part that has one.
    fn sum(self, crc: u32) -> Result<u32> {
        let mut parts = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        parts.sort_by_key(|&(at, ..)| at);
        parts.into_iter().try_fold(crc, |crc, (_, len, part)| Ok(crc32c_combine(crc, part?, len)))
    }
}

/// Fills a buffer from a file and returns the checksum of what was read; the threads of the pool share a large one.
pub(super) fn read_bytes(file: &ReadFile, buffer: &mut [u8], offset: u64) -> Result<u32> {
    let parts = Parts::default();
    parallel_pieces(buffer, CHUNK, PER_THREAD / CHUNK, |first, piece| {
        let at = first * CHUNK;
        parts.add(at, piece.len(), read_part(file, piece, offset + at as u64));
    });
    parts.sum(0)
}

fn write_part(file: &TempFile, bytes: &[u8], offset: u64) -> Result<u32> {
    let mut crc = 0;
    let mut at = offset;
    for chunk in bytes.chunks(CHUNK) {
        crc = crc32c_append(crc, chunk);
        file.write_all_at(chunk, at)?;
        at += chunk.len() as u64;
    }
    Ok(crc)
}

fn read_part(file: &ReadFile, buffer: &mut [u8], offset: u64) -> Result<u32> {
    let mut crc = 0;
    let mut at = offset;
    for chunk in buffer.chunks_mut(CHUNK) {
        file.read_exact_at(chunk, at)?;
        crc = crc32c_append(crc, chunk);
        at += chunk.len() as u64;
    }
    Ok(crc)
}

/// Reads `size` bytes of a file through a small buffer, puts those within the runs (counted in elements of `width`
/// bytes) into the destination, and returns the checksum of all of them.
pub(super) fn read_runs(
    file: &ReadFile,
    (offset, size): (u64, usize),
    width: usize,
    runs: Runs,
    destination: &mut [u8],
) -> Result<u32> {
    let mut buffer = vec![0; CHUNK.min(size)];
    let mut runs = runs.map(|r| (r.source * width, r.destination * width, r.len * width));
    let mut run = runs.next();
    let mut crc = 0;
    let mut start = 0;
    while start < size {
        let chunk = &mut buffer[..CHUNK.min(size - start)];
        file.read_exact_at(chunk, offset + start as u64)?;
        crc = crc32c_append(crc, chunk);
        let end = start + chunk.len();
        while let Some((from, to, len)) = run
            && from < end
        {
            let count = len.min(end - from);
            destination[to..to + count].copy_from_slice(&chunk[from - start..][..count]);
            run = if count == len { runs.next() } else { Some((from + count, to + count, len - count)) };
            if count < len {
                break;
            }
        }
        start = end;
    }
    Ok(crc)
}

/// Reads `count` strings and returns them with their checksum. They share one buffer.
///
/// # Errors
/// `DataLoss` if the lengths exceed the bytes or don't have their checksum.
pub(super) fn read_strings(file: &ReadFile, offset: u64, size: u64, count: usize) -> Result<(Vec<Bytes>, u32)> {
    if count == 0 && size == 0 {
        return Ok((Vec::new(), 0));
    }
    if count as u64 > size {
        bail!(DataLoss, "{count} strings can't be in {size} bytes");
    }
    let bytes = Bytes::from(file.read_range(offset, size)?);
    let mut input = &bytes[..];
    let mut strings = Vec::new();
    if strings.try_reserve_exact(count).is_err() {
        bail!(ResourceExhausted, "OOM when allocating a tensor of {count} strings");
    }
    let mut lengths = Vec::with_capacity(count);
    let mut crc = 0;
    for i in 0..count {
        let Some(length) = get_varint(&mut input) else {
            bail!(DataLoss, "the length of string {i} of {count} isn't within the entry's {size} bytes");
        };
        crc = append_length(crc, length);
        lengths.push(length);
    }
    let Some(stored) = get_fixed32(&mut input) else {
        bail!(DataLoss, "String lengths longer than expected offset {}", offset + size);
    };
    if unmask(stored) != crc {
        bail!(DataLoss, "The length checksum does not match: expected {:08} but actual is {crc:08}", unmask(stored));
    }
    crc = crc32c_append(crc, &stored.to_le_bytes());
    crc = crc32c_combine(crc, crc32c(input), input.len());
    for (i, length) in lengths.into_iter().enumerate() {
        match usize::try_from(length).ok().filter(|&n| n <= input.len()) {
            Some(length) => {
                let (string, rest) = input.split_at(length);
                strings.push(bytes.slice_ref(string));
                input = rest;
            }
            None => bail!(DataLoss, "string {i} has {length} bytes, but {} are left of the entry", input.len()),
        }
    }
    if !input.is_empty() {
        bail!(DataLoss, "{} bytes are left behind the {count} strings of the entry", input.len());
    }
    Ok((strings, crc))
}
