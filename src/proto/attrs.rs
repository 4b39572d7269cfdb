//! The attributes of a node. Most nodes of a graph have the same few, so equal ones are held once.

use super::AttrValue;
use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

/// Attributes by name, sorted by name. A clone shares what the original holds until one of them is changed.
#[derive(Clone, Default)]
pub struct Attrs(Option<Arc<Map>>);

type Map = BTreeMap<Name, Arc<AttrValue>>;

static EMPTY: Map = Map::new();

/// A name in the memory of a pointer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name(Arc<String>);

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Attrs {
    /// No attributes.
    pub const fn new() -> Attrs {
        Attrs(None)
    }

    fn map(&self) -> &Map {
        self.0.as_deref().unwrap_or(&EMPTY)
    }

    fn map_mut(&mut self) -> &mut Map {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.map().len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.map().is_empty()
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&AttrValue> {
        self.map().get(name).map(|value| &**value)
    }

    /// The value of that name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut AttrValue> {
        if !self.contains_key(name) {
            return None;
        }
        self.map_mut().get_mut(name).map(Arc::make_mut)
    }

    /// True when there is a value of that name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.map().contains_key(name)
    }

    /// Sets a value, and returns the one before.
    pub fn insert(&mut self, name: String, value: AttrValue) -> Option<AttrValue> {
        self.map_mut().insert(Name(Arc::new(name)), Arc::new(value)).map(Arc::unwrap_or_clone)
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<AttrValue> {
        if !self.contains_key(name) {
            return None;
        }
        self.map_mut().remove(name).map(Arc::unwrap_or_clone)
    }

    /// Keeps those for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&String, &AttrValue) -> bool) {
        let dropped: Vec<Name> =
            self.map().iter().filter(|(name, value)| !keep(&name.0, value)).map(|(n, _)| n.clone()).collect();
        for name in dropped {
            self.map_mut().remove(&name);
        }
    }

    /// Names and values, by name.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.map().iter())
    }

    /// Names, and values to be changed, by name.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut AttrValue)> {
        let map = if self.is_empty() { None } else { Some(self.map_mut()) };
        map.into_iter().flatten().map(|(name, value)| (&*name.0, Arc::make_mut(value)))
    }

    /// The names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.iter().map(|(name, _)| name)
    }

    /// The values, by name.
    pub fn values(&self) -> impl Iterator<Item = &AttrValue> {
        self.iter().map(|(_, value)| value)
    }

    /// The values, to be changed, by name.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut AttrValue> {
        self.iter_mut().map(|(_, value)| value)
    }

    /// A number that is the same for attributes that share their memory; none where nothing is shared.
    pub(crate) fn shared_key(&self) -> Option<usize> {
        match &self.0 {
            None => Some(0),
            Some(map) if Arc::strong_count(map) > 1 => Some(Arc::as_ptr(map) as usize),
            Some(_) => None,
        }
    }

    /// True where both are one memory, so that they are equal.
    pub(crate) fn is_same(&self, other: &Attrs) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl PartialEq for Attrs {
    fn eq(&self, other: &Attrs) -> bool {
        self.map() == other.map()
    }
}

impl fmt::Debug for Attrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<N: AsRef<str> + ?Sized> Index<&N> for Attrs {
    type Output = AttrValue;

    fn index(&self, name: &N) -> &AttrValue {
        self.get(name.as_ref()).expect("no attribute of that name")
    }
}

impl<N: Into<String>> FromIterator<(N, AttrValue)> for Attrs {
    fn from_iter<I: IntoIterator<Item = (N, AttrValue)>>(items: I) -> Attrs {
        let mut attrs = Attrs::new();
        attrs.extend(items);
        attrs
    }
}

impl<N: Into<String>> Extend<(N, AttrValue)> for Attrs {
    fn extend<I: IntoIterator<Item = (N, AttrValue)>>(&mut self, items: I) {
        for (name, value) in items {
            self.insert(name.into(), value);
        }
    }
}

impl<N: Into<String>, const COUNT: usize> From<[(N, AttrValue); COUNT]> for Attrs {
    fn from(items: [(N, AttrValue); COUNT]) -> Attrs {
        items.into_iter().collect()
    }
}

impl From<BTreeMap<String, AttrValue>> for Attrs {
    fn from(map: BTreeMap<String, AttrValue>) -> Attrs {
        map.into_iter().collect()
    }
}

impl From<&BTreeMap<String, AttrValue>> for Attrs {
    fn from(map: &BTreeMap<String, AttrValue>) -> Attrs {
        map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl From<Attrs> for BTreeMap<String, AttrValue> {
    fn from(attrs: Attrs) -> BTreeMap<String, AttrValue> {
        attrs.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Attrs {
    type Item = (&'a String, &'a AttrValue);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for Attrs {
    type Item = (String, AttrValue);
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter(self.0.map(Arc::unwrap_or_clone).unwrap_or_default().into_iter())
    }
}

/// Names and values of [`Attrs`], by name.
pub struct Iter<'a>(btree_map::Iter<'a, Name, Arc<AttrValue>>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a String, &'a AttrValue);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (&*name.0, &**value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// Names and values taken out of [`Attrs`], by name.
pub struct IntoIter(btree_map::IntoIter<Name, Arc<AttrValue>>);

impl Iterator for IntoIter {
    type Item = (String, AttrValue);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (Arc::unwrap_or_clone(name.0), Arc::unwrap_or_clone(value)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// Longer encoded attributes are not looked for among the known ones, in bytes.
pub(super) const LONGEST_KNOWN: usize = 256;
/// Larger sets of attributes are not shared while they are read.
const LARGEST_SHARED: usize = 16;
/// So many attributes, and so many sets of them, are remembered a thread. A power of two.
const KNOWN: usize = 1 << 10;

thread_local! {
    static SEEN: RefCell<Seen> = const { RefCell::new(Seen { entries: Vec::new(), sets: Vec::new() }) };
}

/// What was read lately: tables in which a newcomer takes the place of what stood where it belongs.
struct Seen {
    entries: Vec<Option<Entry>>,
    sets: Vec<Option<Grown>>,
}

/// An attribute, and the bytes that it was read from.
struct Entry {
    bytes: Box<[u8]>,
    name: Name,
    value: Arc<AttrValue>,
}

/// What attributes become with one more.
struct Grown {
    before: Attrs,
    value: Arc<AttrValue>,
    after: Attrs,
}

fn place(words: impl Iterator<Item = u64>) -> usize {
    let hash = words.fold(0u64, |hash, word| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95));
    (hash >> 40) as usize % KNOWN
}

fn place_of_bytes(bytes: &[u8]) -> usize {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    place(bytes.chunks(8).map(word).chain([bytes.len() as u64]))
}

impl Attrs {
    /// Adds what these bytes hold, an entry as a NodeDef has it, if the like was read lately.
    pub(super) fn insert_known(&mut self, bytes: &[u8]) -> bool {
        SEEN.with_borrow_mut(|seen| {
            let at = place_of_bytes(bytes);
            let Some(Some(entry)) = seen.entries.get(at).filter(|e| e.as_ref().is_some_and(|e| *e.bytes == *bytes)) else {
                return false;
            };
            let (name, value) = (entry.name.clone(), entry.value.clone());
            self.insert_shared(name, value, &mut seen.sets);
            true
        })
    }

    /// Adds an attribute, and remembers it by the bytes that it was read from.
    pub(super) fn insert_new(&mut self, bytes: &[u8], name: String, value: AttrValue) {
        SEEN.with_borrow_mut(|seen| {
            let (name, value) = (Name(Arc::new(name)), Arc::new(value));
            seen.entries.resize_with(KNOWN, || None);
            seen.entries[place_of_bytes(bytes)] = Some(Entry { bytes: bytes.into(), name: name.clone(), value: value.clone() });
            self.insert_shared(name, value, &mut seen.sets);
        });
    }

    fn insert_shared(&mut self, name: Name, value: Arc<AttrValue>, sets: &mut Vec<Option<Grown>>) {
        let unshared = |map: &Arc<Map>| map.len() >= LARGEST_SHARED || Arc::strong_count(map) == 1;
        if self.0.as_ref().is_some_and(unshared) {
            self.map_mut().insert(name, value);
            return;
        }
        let before = self.0.as_ref().map_or(0, |map| Arc::as_ptr(map) as u64);
        sets.resize_with(KNOWN, || None);
        let slot = &mut sets[place([before, Arc::as_ptr(&value) as u64].into_iter())];
        match slot {
            Some(grown) if Arc::ptr_eq(&grown.value, &value) && grown.before.is_same(self) => *self = grown.after.clone(),
            _ => {
                let before = self.clone();
                self.map_mut().insert(name, value.clone());
                *slot = Some(Grown { before, value, after: self.clone() });
            }
        }
    }
}
