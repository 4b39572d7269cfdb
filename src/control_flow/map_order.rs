//! The order in which TensorFlow's Python writes a map of a message: that of the hash table of protobuf's upb library.
//!
//! A message with a map has no order of its own, but files are compared byte by byte.

const SALT: [u64; 5] =
    [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89, 0x4528_21E6_38D0_1377];

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn word(bytes: &[u8], size: usize) -> u64 {
    bytes[..size].iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// wyhash with a seed of zero, of which the table takes the lower half.
fn hash(key: &[u8]) -> u32 {
    let mut state = SALT[0];
    let mut rest = key;
    if rest.len() > 64 {
        let mut other = state;
        while rest.len() > 64 {
            let w = |i: usize| word(&rest[8 * i..], 8);
            state = mix(w(0) ^ SALT[1], w(1) ^ state) ^ mix(w(2) ^ SALT[2], w(3) ^ state);
            other = mix(w(4) ^ SALT[3], w(5) ^ other) ^ mix(w(6) ^ SALT[4], w(7) ^ other);
            rest = &rest[64..];
        }
        state ^= other;
    }
    while rest.len() > 16 {
        state = mix(word(rest, 8) ^ SALT[1], word(&rest[8..], 8) ^ state);
        rest = &rest[16..];
    }
    let n = rest.len();
    let (a, b) = match n {
        0 => (0, 0),
        1..=3 => (u64::from(rest[0]) << 16 | u64::from(rest[n >> 1]) << 8 | u64::from(rest[n - 1]), 0),
        4..=8 => (word(rest, 4), word(&rest[n - 4..], 4)),
        _ => (word(rest, 8), word(&rest[n - 8..], 8)),
    };
    mix(mix(a ^ SALT[1], b ^ state), SALT[1] ^ key.len() as u64) as u32
}

#[derive(Clone, Copy)]
struct Entry {
    item: usize,
    hash: u32,
    next: Option<usize>,
}

/// A table with chains through its own slots: who stands in his own slot stays, others make room.
struct Table(Vec<Option<Entry>>);

impl Table {
    fn own(&self, hash: u32) -> usize {
        hash as usize & (self.0.len() - 1)
    }

    fn insert(&mut self, item: usize, hash: u32) {
        let own = self.own(hash);
        let new = Entry { item, hash, next: None };
        let Some(there) = self.0[own] else {
            self.0[own] = Some(new);
            return;
        };
        let Some(free) = (own + 1..self.0.len()).chain(0..own).find(|&i| self.0[i].is_none()) else { return };
        let mut before = self.own(there.hash);
        if before == own {
            self.0[free] = Some(Entry { next: there.next, ..new });
            self.0[own] = Some(Entry { next: Some(free), ..there });
            return;
        }
        self.0[free] = Some(there);
        while let Some(entry) = &mut self.0[before] {
            match entry.next {
                Some(next) if next != own => before = next,
                _ => {
                    entry.next = Some(free);
                    break;
                }
            }
        }
        self.0[own] = Some(new);
    }
}

/// The order in the table after these were put into it one after the other.
fn in_table(items: &[usize], hashes: &[u32]) -> Vec<usize> {
    let mut table = Table(vec![None; 8]);
    for (count, &item) in items.iter().enumerate() {
        if count == table.0.len() * 85 / 100 {
            let mut larger = Table(vec![None; table.0.len() * 2]);
            table.0.iter().flatten().for_each(|e| larger.insert(e.item, e.hash));
            table = larger;
        }
        table.insert(item, hashes[item]);
    }
    table.0.iter().flatten().map(|e| e.item).collect()
}

/// The positions of the keys of a map in the order in which they are written. The map was filled in the order given, then
/// merged into a message, which was copied with the messages around it as often as it stands within others.
pub(super) fn written_order(keys: &[String], depth: usize) -> Vec<usize> {
    let hashes: Vec<u32> = keys.iter().map(|k| hash(k.as_bytes())).collect();
    let mut items = in_table(&(0..keys.len()).collect::<Vec<_>>(), &hashes);
    items.reverse();
    items = in_table(&items, &hashes);
    for _ in 0..depth {
        items = in_table(&items, &hashes);
    }
    items.reverse();
    items
}
