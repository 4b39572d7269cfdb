//! A hash map that lists its entries in the order of the C++ standard library that TensorFlow's builds use
//! (libstdc++'s `unordered_map`), since the export of a table shows that order.

use super::key::Key;

/// Numbers of buckets to which a map grows that doubles.
const PRIMES: &[u64] = &[
    13, 29, 59, 127, 257, 541, 1109, 2357, 5087, 10273, 20753, 42043, 85229, 172933, 351061, 712697, 1447153, 2938679, 5967347,
    12117689, 24607243, 49969847, 101473717, 206062531, 418446491, 849739703, 1725587117, 3504151727,
];

/// No entry.
const NONE: usize = usize::MAX;
/// The place before the first entry.
const BEFORE: usize = usize::MAX - 1;

struct Entry {
    key: Key,
    hash: u64,
    next: usize,
}

/// Keys, each with a slot number that stays its own until it is removed.
pub(super) struct Unordered {
    entries: Vec<Entry>,
    free: Vec<usize>,
    head: usize,
    /// For each bucket, the entry before its first one.
    buckets: Vec<usize>,
    len: usize,
}

impl Default for Unordered {
    fn default() -> Unordered {
        Unordered { entries: Vec::new(), free: Vec::new(), head: NONE, buckets: vec![NONE], len: 0 }
    }
}

impl Unordered {
    pub fn len(&self) -> usize {
        self.len
    }

    fn bucket(&self, hash: u64) -> usize {
        (hash % self.buckets.len() as u64) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at == BEFORE { self.head } else { self.entries[at].next }
    }

    fn link(&mut self, at: usize, next: usize) {
        if at == BEFORE {
            self.head = next;
        } else {
            self.entries[at].next = next;
        }
    }

    /// The entry before the one with this key.
    fn before(&self, key: &Key, hash: u64) -> Option<usize> {
        let bucket = self.bucket(hash);
        let mut before = self.buckets[bucket];
        if before == NONE {
            return None;
        }
        loop {
            let at = self.next(before);
            if at == NONE || self.bucket(self.entries[at].hash) != bucket {
                return None;
            }
            if self.entries[at].hash == hash && self.entries[at].key == *key {
                return Some(before);
            }
            before = at;
        }
    }

    /// The slot of a key.
    pub fn find(&self, key: &Key) -> Option<usize> {
        self.before(key, key.hash()).map(|before| self.next(before))
    }

    /// The slot of a key, which is added if it isn't there.
    pub fn insert(&mut self, key: Key) -> usize {
        let hash = key.hash();
        if let Some(before) = self.before(&key, hash) {
            return self.next(before);
        }
        if self.len + 1 > self.buckets.len() || self.buckets.len() == 1 {
            self.grow();
        }
        let entry = Entry { key, hash, next: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.put_first(at);
        self.len += 1;
        at
    }

    /// Links an entry as the first of its bucket.
    fn put_first(&mut self, at: usize) {
        let bucket = self.bucket(self.entries[at].hash);
        let before = self.buckets[bucket];
        if before != NONE {
            let next = self.next(before);
            self.link(at, next);
            self.link(before, at);
            return;
        }
        let head = self.head;
        self.link(at, head);
        self.head = at;
        if head != NONE {
            let displaced = self.bucket(self.entries[head].hash);
            self.buckets[displaced] = at;
        }
        self.buckets[bucket] = BEFORE;
    }

    fn grow(&mut self) {
        let wanted = (self.len as u64 + 2).max(2 * self.buckets.len() as u64).max(12);
        let size = PRIMES.iter().copied().find(|&p| p >= wanted).unwrap_or(wanted | 1);
        let mut at = std::mem::replace(&mut self.head, NONE);
        self.buckets = vec![NONE; size as usize];
        while at != NONE {
            let next = self.entries[at].next;
            self.put_first(at);
            at = next;
        }
    }

    /// Removes a key and gives its slot.
    pub fn remove(&mut self, key: &Key) -> Option<usize> {
        let hash = key.hash();
        let before = self.before(key, hash)?;
        let at = self.next(before);
        let (bucket, next) = (self.bucket(hash), self.entries[at].next);
        let next_bucket = (next != NONE).then(|| self.bucket(self.entries[next].hash));
        if before == self.buckets[bucket] {
            if next_bucket != Some(bucket) {
                if let Some(other) = next_bucket {
                    self.buckets[other] = self.buckets[bucket];
                }
                self.buckets[bucket] = NONE;
            }
        } else if let Some(other) = next_bucket.filter(|&b| b != bucket) {
            self.buckets[other] = before;
        }
        self.link(before, next);
        self.free.push(at);
        self.len -= 1;
        Some(at)
    }

    /// Removes all keys; the number of buckets stays.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.free.clear();
        self.head = NONE;
        self.buckets.fill(NONE);
        self.len = 0;
    }

    /// The slots and keys, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Key)> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            let entry = self.entries.get(at)?;
            let slot = std::mem::replace(&mut at, entry.next);
            Some((slot, &entry.key))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(map: &Unordered) -> Vec<i64> {
        map.iter().map(|(_, k)| if let Key::Int(i) = k { *i } else { 0 }).collect()
    }

    /// The orders that TensorFlow exports after the same steps.
    #[test]
    fn order_is_that_of_tensorflow() {
        let mut map = Unordered::default();
        [5, 18, 31, -1, 7, 100, 99, 1, 2, 3].into_iter().for_each(|k| {
            map.insert(Key::Int(k));
        });
        assert_eq!(keys(&map), [3, 1, 99, 100, 7, 2, -1, 31, 18, 5]);
        assert!(map.remove(&Key::Int(18)).is_some() && map.remove(&Key::Int(5)).is_some());
        assert_eq!(map.remove(&Key::Int(18)), None);
        [44, 20, 21, 22, 23, 24].into_iter().for_each(|k| {
            map.insert(Key::Int(k));
        });
        assert_eq!(keys(&map), [24, 44, 31, 2, 7, 20, 100, 22, 99, 21, 1, 3, -1, 23]);
        map.clear();
        [44, 20, 21, 22, 23, 24].into_iter().for_each(|k| {
            map.insert(Key::Int(k));
        });
        assert_eq!(keys(&map), [24, 23, 22, 21, 20, 44]);
    }
}
