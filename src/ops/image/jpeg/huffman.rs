//! Huffman tables and the bits of a scan.

use crate::error::{Result, bail};

/// A Huffman table for decoding.
#[derive(Clone)]
pub(super) struct Table {
    /// By the next 8 bits: the code's length (0 for a longer one) and symbol.
    short: [(u8, u8); 256],
    /// The largest code of each length, -1 where there is none.
    max_code: [i32; 18],
    /// What leads from a code of each length to its symbol's place.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Table {
    /// The table of so many codes of each length from 1 to 16, and their symbols.
    pub fn new(counts: &[u8], symbols: &[u8]) -> Result<Table> {
        let mut table = Table { short: [(0, 0); 256], max_code: [-1; 18], offset: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut at) = (0i32, 0usize);
        for length in 1..=16usize {
            let count = usize::from(counts[length - 1]);
            if code + count as i32 > 1 << length {
                bail!(InvalidArgument, "Bogus Huffman table definition");
            }
            table.offset[length] = at as i32 - code;
            for _ in 0..count {
                if length <= 8 {
                    let first = (code as usize) << (8 - length);
                    table.short[first..first + (1 << (8 - length))].fill((length as u8, symbols[at]));
                }
                code += 1;
                at += 1;
            }
            if count > 0 {
                table.max_code[length] = code - 1;
            }
            code <<= 1;
        }
        Ok(table)
    }
}

/// The bits of a scan, up to the next marker.
pub(super) struct Bits<'a> {
    pub data: &'a [u8],
    pub at: usize,
    held: u64,
    count: u32,
    /// How many of the held bits are zeros from beyond the end.
    padding: u32,
    /// Bits were asked for where there are none; zeros are given.
    pub exhausted: bool,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8], at: usize) -> Bits<'a> {
        Bits { data, at, held: 0, count: 0, padding: 0, exhausted: false }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let byte = match (self.data.get(self.at), self.data.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => break,
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    fn need(&mut self, bits: u32) {
        if self.count < bits {
            self.fill();
            if self.count < bits {
                self.padding += 48 - self.count;
                self.held <<= 48 - self.count;
                self.count = 48;
            }
        }
    }

    fn drop_bits(&mut self, bits: u32) {
        self.count -= bits;
        self.exhausted |= self.count < self.padding;
    }

    /// The next bits as a number; at most 16.
    pub fn take(&mut self, bits: u32) -> i32 {
        if bits == 0 {
            return 0;
        }
        self.need(bits);
        self.drop_bits(bits);
        (self.held >> self.count & ((1 << bits) - 1)) as i32
    }

    /// The next bits as a number whose first bit tells the sign.
    pub fn signed(&mut self, bits: u32) -> i32 {
        let value = self.take(bits);
        if bits > 0 && value < 1 << (bits - 1) { value - (1 << bits) + 1 } else { value }
    }

    /// The next symbol; 0 where the bits are no code.
    pub fn symbol(&mut self, table: &Table) -> u8 {
        self.need(16);
        let (length, symbol) = table.short[(self.held >> (self.count - 8) & 0xff) as usize];
        if length > 0 {
            self.drop_bits(length.into());
            return symbol;
        }
        for length in 9..=16u32 {
            let code = (self.held >> (self.count - length) & ((1 << length) - 1)) as i32;
            if code <= table.max_code[length as usize] {
                self.drop_bits(length);
                let place = code + table.offset[length as usize];
                return usize::try_from(place).ok().and_then(|p| table.symbols.get(p)).copied().unwrap_or(0);
            }
        }
        self.drop_bits(16);
        0
    }

    /// Drops the bits that are left and goes behind the next restart marker, if that is what comes.
    pub fn restart(&mut self) {
        self.held = 0;
        self.count = 0;
        self.padding = 0;
        let mut at = self.at;
        while at + 1 < self.data.len() {
            if self.data[at] == 0xff && self.data[at + 1] != 0 && self.data[at + 1] != 0xff {
                if (0xd0..=0xd7).contains(&self.data[at + 1]) {
                    self.at = at + 2;
                }
                return;
            }
            at += 1;
        }
    }
}
