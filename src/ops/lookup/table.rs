//! Tables: static, mutable, and dense ones.

use super::key::{Cells, Key, key_tensor, keys_of};
use super::unordered::Unordered;
use crate::error::{Result, bail};
use crate::tensor::{DType, Dims, Resource, Shape, Tensor};
use std::sync::{Mutex, MutexGuard};

/// A table from keys to values, which lives in a session.
pub(super) struct Table {
    pub key_dtype: DType,
    pub value_dtype: DType,
    pub key_shape: Dims,
    pub value_shape: Dims,
    state: Mutex<State>,
}

enum State {
    /// Filled once; `bool` says whether it has been.
    Static(bool, Map),
    Mutable(Map),
    Dense(Dense),
}

struct Map {
    keys: Unordered,
    cells: Cells,
}

impl Map {
    fn insert(&mut self, keys: Vec<Key>, values: &Tensor) -> Result<()> {
        for (row, key) in keys.into_iter().enumerate() {
            let slot = self.keys.insert(key);
            self.cells.write(slot, values, row)?;
        }
        Ok(())
    }
}

/// Open addressing over a power of two of buckets, as sparsehash's `dense_hash_map` does it.
struct Dense {
    empty: Vec<Key>,
    deleted: Option<Vec<Key>>,
    /// The keys of all buckets, one behind the other.
    keys: Vec<Key>,
    cells: Cells,
    buckets: usize,
    len: usize,
    load: f64,
}

impl Resource for Table {
    fn kind(&self) -> &'static str {
        "lookup table"
    }
}

fn hash_of(key: &[Key]) -> u64 {
    if let [single] = key {
        return single.hash();
    }
    key.iter().fold(0u64, |a, part| {
        let mixed = part.hash().wrapping_add(0x9e37_79b9_7f4a_7800).wrapping_add(a << 10).wrapping_add(a >> 4);
        a ^ mixed
    })
}

impl Dense {
    fn allocate(&mut self, buckets: usize, cells: Cells) -> Result<()> {
        if buckets < 4 || !buckets.is_power_of_two() {
            bail!(InvalidArgument, "Number of buckets must be at least 4 and a power of 2, got: {buckets}");
        }
        self.cells = cells;
        self.cells.resize(buckets)?;
        let mut keys = Vec::new();
        if keys.try_reserve_exact(buckets.saturating_mul(self.empty.len())).is_err() {
            bail!(ResourceExhausted, "OOM when allocating a table of {buckets} buckets");
        }
        (0..buckets).for_each(|_| keys.extend_from_slice(&self.empty));
        self.keys = keys;
        self.buckets = buckets;
        self.len = 0;
        Ok(())
    }

    fn at(&self, bucket: usize) -> &[Key] {
        &self.keys[bucket * self.empty.len()..(bucket + 1) * self.empty.len()]
    }

    fn check(&self, key: &[Key]) -> Result<()> {
        if key == self.empty {
            bail!(InvalidArgument, "Using the empty_key as a table key is not allowed");
        }
        if self.deleted.as_deref() == Some(key) {
            bail!(InvalidArgument, "Using the deleted_key as a table key is not allowed");
        }
        Ok(())
    }

    /// Probes until `stop` says so of a bucket's key.
    fn probe(&self, key: &[Key], stop: impl Fn(&[Key]) -> bool) -> Result<usize> {
        let mask = self.buckets.wrapping_sub(1);
        let mut bucket = hash_of(key) as usize & mask;
        for probes in 1..=self.buckets {
            if bucket >= self.buckets || stop(self.at(bucket)) {
                break;
            }
            if probes == self.buckets {
                bail!(Internal, "Internal error in MutableDenseHashTable lookup");
            }
            bucket = (bucket + probes) & mask;
        }
        match bucket < self.buckets {
            true => Ok(bucket),
            false => bail!(Internal, "Internal error in MutableDenseHashTable: no bucket {bucket}"),
        }
    }

    fn find(&self, key: &[Key]) -> Result<Option<usize>> {
        let bucket = self.probe(key, |own| own == key || own == self.empty)?;
        Ok((self.at(bucket) == key).then_some(bucket))
    }

    fn insert(&mut self, key: &[Key], values: &Tensor, row: usize) -> Result<()> {
        let is_free = |own: &[Key]| own == self.empty || self.deleted.as_deref() == Some(own);
        let bucket = self.probe(key, |own| own == key || is_free(own))?;
        if is_free(self.at(bucket)) {
            self.len += 1;
            let width = self.empty.len();
            self.keys[bucket * width..(bucket + 1) * width].clone_from_slice(key);
        }
        self.cells.write(bucket, values, row)
    }
}

/// What a dense table is made from.
pub(super) struct DenseOptions<'a> {
    pub empty: &'a Tensor,
    pub deleted: Option<&'a Tensor>,
    pub buckets: i64,
    pub load: f32,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn of(key: DType, value: DType, value_shape: Dims, state: impl FnOnce(Map) -> State) -> Table {
        let width = value_shape.iter().product();
        let map = Map { keys: Unordered::default(), cells: Cells::new(value, width) };
        Table { key_dtype: key, value_dtype: value, key_shape: Dims::new(), value_shape, state: Mutex::new(state(map)) }
    }

    /// A table that is filled once.
    pub fn fixed(key: DType, value: DType) -> Table {
        Table::of(key, value, Dims::new(), |map| State::Static(false, map))
    }

    /// A table that changes.
    pub fn mutable(key: DType, value: DType, value_shape: Dims) -> Table {
        Table::of(key, value, value_shape, State::Mutable)
    }

    /// A dense table.
    ///
    /// # Errors
    /// `InvalidArgument` for keys that aren't different scalars or vectors of one shape, a load factor outside 0..1, a number
    /// of buckets that is no power of two of at least 4.
    pub fn dense(value: DType, value_shape: Dims, options: &DenseOptions) -> Result<Table> {
        if !(options.load > 0.0 && options.load < 1.0) {
            bail!(InvalidArgument, "max_load_factor must be between 0 and 1, got: {}", options.load);
        }
        if value_shape.len() > 1 {
            bail!(InvalidArgument, "Empty value must be a scalar or a vector, got shape {}", Shape::known(&value_shape));
        }
        if options.empty.rank() > 1 {
            bail!(InvalidArgument, "Empty key must be a scalar or a vector, got shape {}", options.empty.shape());
        }
        if let Some(deleted) = options.deleted {
            if deleted.dims() != options.empty.dims() {
                bail!(
                    InvalidArgument,
                    "Empty and deleted keys must have same shape, got shapes: {} and {}",
                    options.empty.shape(),
                    deleted.shape()
                );
            }
            if deleted == options.empty {
                bail!(InvalidArgument, "Empty and deleted keys cannot be equal");
            }
        }
        let width: usize = value_shape.iter().product();
        let mut dense = Dense {
            empty: keys_of(options.empty)?,
            deleted: options.deleted.map(keys_of).transpose()?,
            keys: Vec::new(),
            cells: Cells::new(value, width),
            buckets: 0,
            len: 0,
            load: f64::from(options.load),
        };
        dense.allocate(usize::try_from(options.buckets).unwrap_or(0), Cells::new(value, width))?;
        Ok(Table {
            key_dtype: options.empty.dtype(),
            value_dtype: value,
            key_shape: options.empty.dims().into(),
            value_shape,
            state: Mutex::new(State::Dense(dense)),
        })
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        match &*self.lock() {
            State::Static(_, map) | State::Mutable(map) => map.keys.len(),
            State::Dense(dense) => dense.len,
        }
    }

    fn check_types(&self, keys: DType, values: DType) -> Result<()> {
        if keys != self.key_dtype {
            bail!(InvalidArgument, "Key must be type {} but got {keys}", self.key_dtype);
        }
        if values != self.value_dtype {
            bail!(InvalidArgument, "Value must be type {} but got {values}", self.value_dtype);
        }
        Ok(())
    }

    /// The dimensions of the values that belong to keys of these dimensions.
    fn value_dims(&self, keys: &[usize]) -> Result<Dims> {
        let Some(leading) = keys.strip_suffix(&self.key_shape[..]) else {
            bail!(
                InvalidArgument,
                "Input key shape {} must end with the table's key shape {}",
                Shape::known(keys),
                Shape::known(&self.key_shape)
            );
        };
        Ok(leading.iter().chain(&self.value_shape).copied().collect())
    }

    /// The number of keys of a dense table's op, whose keys may have one dimension of their own.
    fn dense_batch(&self, keys: &Tensor) -> Result<usize> {
        let batch = keys.dims().first().copied().unwrap_or(1);
        if keys.len() != batch * self.key_shape.iter().product::<usize>() {
            bail!(InvalidArgument, "Expected key shape [{batch}] + {}, got {}", Shape::known(&self.key_shape), keys.shape());
        }
        Ok(batch)
    }

    /// Looks keys up.
    ///
    /// # Errors
    /// `FailedPrecondition` before a static table is filled; `InvalidArgument` for other types or shapes.
    pub fn find(&self, keys: &Tensor, default: &Tensor) -> Result<Tensor> {
        self.check_types(keys.dtype(), default.dtype())?;
        let dims = self.value_dims(keys.dims())?;
        let full = default.dims() == &dims[..];
        if default.dims() != &self.value_shape[..] && !full {
            bail!(
                InvalidArgument,
                "Expected shape {} or {} for default value, got {}",
                Shape::known(&self.value_shape),
                Shape::known(&dims),
                default.shape()
            );
        }
        let full = full && default.dims() != &self.value_shape[..];
        let wanted = keys_of(keys)?;
        match &*self.lock() {
            State::Static(false, _) => bail!(FailedPrecondition, "Table not initialized."),
            State::Static(_, map) | State::Mutable(map) => {
                let slots = wanted.iter().enumerate();
                let slots = slots.map(|(row, key)| map.keys.find(key).ok_or(if full { row } else { 0 }));
                map.cells.gather(&dims, slots, Some(default))
            }
            State::Dense(dense) => {
                self.dense_batch(keys)?;
                let mut slots = Vec::new();
                for key in wanted.chunks(dense.empty.len().max(1)) {
                    dense.check(key)?;
                    slots.push(dense.find(key)?.ok_or(0));
                }
                dense.cells.gather(&dims, slots.into_iter(), Some(default))
            }
        }
    }

    fn check_pairs(&self, keys: &Tensor, values: &Tensor) -> Result<()> {
        self.check_types(keys.dtype(), values.dtype())?;
        let dims = self.value_dims(keys.dims())?;
        if values.dims() != &dims[..] {
            bail!(InvalidArgument, "Expected shape {} for value, got {}", Shape::known(&dims), values.shape());
        }
        Ok(())
    }

    /// Adds entries or changes their values.
    ///
    /// # Errors
    /// `Unimplemented` for a static table; `InvalidArgument` for other types or shapes.
    pub fn insert(&self, keys: &Tensor, values: &Tensor) -> Result<()> {
        self.check_pairs(keys, values)?;
        match &mut *self.lock() {
            State::Static(..) => bail!(Unimplemented, "Insert not supported by InitializableLookupTable implementations"),
            State::Mutable(map) => map.insert(keys_of(keys)?, values),
            State::Dense(dense) => {
                let pending = (dense.len + self.dense_batch(keys)?) as f64;
                let mut buckets = dense.buckets;
                while pending > buckets as f64 * dense.load {
                    let Some(double) = buckets.max(2).checked_mul(2) else {
                        bail!(ResourceExhausted, "a table of {buckets} buckets")
                    };
                    buckets = double;
                }
                if buckets != dense.buckets {
                    self.rebucket(dense, buckets)?;
                }
                let width = dense.empty.len().max(1);
                for (row, key) in keys_of(keys)?.chunks(width).enumerate() {
                    dense.check(key)?;
                    dense.insert(key, values, row)?;
                }
                Ok(())
            }
        }
    }

    fn rebucket(&self, dense: &mut Dense, buckets: usize) -> Result<()> {
        let width: usize = self.value_shape.iter().product();
        let old_keys = std::mem::take(&mut dense.keys);
        let old = dense.cells.gather(&[dense.buckets, width], (0..dense.buckets).map(Ok), None)?;
        dense.allocate(buckets, Cells::new(self.value_dtype, width))?;
        for (row, key) in old_keys.chunks(dense.empty.len().max(1)).enumerate() {
            if dense.check(key).is_ok() {
                dense.insert(key, &old, row)?;
            }
        }
        Ok(())
    }

    /// Removes entries; keys that aren't there are passed over.
    ///
    /// # Errors
    /// `Unimplemented` for a static table; `InvalidArgument` for other types or shapes.
    pub fn remove(&self, keys: &Tensor) -> Result<()> {
        self.check_types(keys.dtype(), self.value_dtype)?;
        self.value_dims(keys.dims())?;
        match &mut *self.lock() {
            State::Static(..) => bail!(Unimplemented, "Remove not supported by InitializableLookupTable implementations"),
            State::Mutable(map) => {
                for key in keys_of(keys)? {
                    map.keys.remove(&key);
                }
                Ok(())
            }
            State::Dense(dense) => {
                self.dense_batch(keys)?;
                let Some(deleted) = dense.deleted.clone() else {
                    bail!(InvalidArgument, "a table without a deleted_key can't remove entries");
                };
                let width = dense.empty.len().max(1);
                for key in keys_of(keys)?.chunks(width) {
                    dense.check(key)?;
                    if let Some(bucket) = dense.find(key)? {
                        dense.len -= 1;
                        dense.keys[bucket * width..(bucket + 1) * width].clone_from_slice(&deleted);
                    }
                }
                Ok(())
            }
        }
    }

    /// Replaces the entries by these. A dense table takes buckets as it exports them; a static one is filled by it.
    ///
    /// # Errors
    /// `InvalidArgument` for other types or shapes; as [`Table::initialize`] for a static table.
    pub fn import(&self, keys: &Tensor, values: &Tensor) -> Result<()> {
        if matches!(&*self.lock(), State::Static(..)) {
            return self.initialize(keys, values);
        }
        let vectorized = |shape: &Dims| if shape.is_empty() { Dims::from_slice(&[1]) } else { shape.clone() };
        match &mut *self.lock() {
            State::Static(..) => Ok(()),
            State::Mutable(map) => {
                self.check_pairs(keys, values)?;
                map.keys.clear();
                map.insert(keys_of(keys)?, values)
            }
            State::Dense(dense) => {
                self.check_types(keys.dtype(), values.dtype())?;
                let (key_shape, value_shape) = (vectorized(&self.key_shape), vectorized(&self.value_shape));
                let buckets = keys.dims().first().copied().unwrap_or(0);
                let fits = keys.dims().strip_prefix(&[buckets]) == Some(&key_shape[..]);
                if !fits || values.dims().strip_prefix(&[buckets]) != Some(&value_shape[..]) {
                    bail!(
                        InvalidArgument,
                        "Expected shapes [{buckets}] + {} and [{buckets}] + {} for keys and values, got {} and {}",
                        Shape::known(&key_shape),
                        Shape::known(&value_shape),
                        keys.shape(),
                        values.shape()
                    );
                }
                if !buckets.is_power_of_two() {
                    bail!(InvalidArgument, "Number of buckets must be a power of 2, got: {buckets}");
                }
                let mut cells = Cells::new(self.value_dtype, value_shape.iter().product());
                cells.resize(buckets)?;
                (0..buckets).try_for_each(|row| cells.write(row, values, row))?;
                dense.cells = cells;
                dense.keys = keys_of(keys)?;
                dense.buckets = buckets;
                dense.len = (0..buckets).filter(|&b| dense.check(dense.at(b)).is_ok()).count();
                Ok(())
            }
        }
    }

    /// Fills a static table.
    ///
    /// # Errors
    /// `FailedPrecondition` for a key with two values, or a table that is already filled with another number of entries;
    /// `InvalidArgument` for other types or shapes or a table that isn't static.
    pub fn initialize(&self, keys: &Tensor, values: &Tensor) -> Result<()> {
        self.check_pairs(keys, values)?;
        let mut state = self.lock();
        let State::Static(filled, map) = &mut *state else {
            bail!(InvalidArgument, "only tables that are filled once can be initialized");
        };
        if *filled {
            if keys.len() != map.keys.len() {
                bail!(FailedPrecondition, "Table was already initialized with different data.");
            }
            return Ok(());
        }
        if keys.is_empty() {
            bail!(InvalidArgument, "keys and values cannot be empty tensors.");
        }
        for (row, key) in keys_of(keys)?.into_iter().enumerate() {
            if let Some(slot) = map.keys.find(&key) {
                let old = map.cells.gather(&[1], std::iter::once(Ok(slot)), None)?;
                let mut new = Cells::new(self.value_dtype, 1);
                new.write(0, values, row)?;
                if old != new.gather(&[1], std::iter::once(Ok(0)), None)? {
                    map.keys.clear();
                    bail!(
                        FailedPrecondition,
                        "HashTable has different value for same key. Key {key:?} has {old:?} and trying to add another value"
                    );
                }
                continue;
            }
            let slot = map.keys.insert(key);
            map.cells.write(slot, values, row)?;
        }
        *filled = true;
        Ok(())
    }

    /// All keys and values; the buckets as they are for a dense table.
    ///
    /// # Errors
    /// `Aborted` before a static table is filled.
    pub fn export(&self) -> Result<(Tensor, Tensor)> {
        match &*self.lock() {
            State::Static(false, _) => bail!(Aborted, "HashTable is not initialized."),
            State::Static(_, map) | State::Mutable(map) => {
                let count = map.keys.len();
                let keys = key_tensor(self.key_dtype, &[count], map.keys.iter().map(|(_, key)| key))?;
                let dims: Dims = std::iter::once(count).chain(self.value_shape.iter().copied()).collect();
                Ok((keys, map.cells.gather(&dims, map.keys.iter().map(|(slot, _)| Ok(slot)), None)?))
            }
            State::Dense(dense) => {
                let keys = key_tensor(self.key_dtype, &[dense.buckets, dense.empty.len()], dense.keys.iter())?;
                let width = self.value_shape.iter().product();
                let values = dense.cells.gather(&[dense.buckets, width], (0..dense.buckets).map(Ok), None)?;
                Ok((keys, values))
            }
        }
    }
}
